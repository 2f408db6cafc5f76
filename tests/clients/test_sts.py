"""Temporary credentials, asked for and used by real SDKs and the aws command."""

import json
from email.utils import parsedate_to_datetime
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/any"


def policy(bucket, *actions, prefix=""):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": list(actions),
                    "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
                }
            ],
        }
    )


@pytest.fixture
def sts(gateway):
    return boto3.client(
        "sts",
        endpoint_url=gateway.s3,
        region_name="us-east-1",
        aws_access_key_id=gateway.access_key,
        aws_secret_access_key=gateway.secret_key,
    )


def temporary(gateway, credentials, **changed):
    """Returns a client with temporary credentials."""
    arguments = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    } | changed
    # Without being told, boto3 presigns with the retired version 2.
    signing = Config(signature_version="s3v4")
    return boto3.client(
        "s3", endpoint_url=gateway.s3, region_name="us-east-1", config=signing, **arguments
    )


def code(refused):
    return refused.value.response["Error"]["Code"]


def test_an_assumed_role_does_what_its_policy_allows(gateway, s3, sts, bucket):
    s3.put_object(Bucket=bucket, Key="other", Body=b"secret")
    answer = sts.assume_role(
        RoleArn=ROLE,
        RoleSessionName="job-1",
        DurationSeconds=900,
        Policy=policy(bucket, "s3:GetObject", "s3:PutObject", prefix="in/"),
    )
    assert answer["AssumedRoleUser"]["Arn"].endswith("assumed-role/any/job-1")
    credentials = answer["Credentials"]
    remaining = credentials["Expiration"].timestamp() - answer_time(answer)
    assert 890 < remaining <= 901
    session = temporary(gateway, credentials)
    data = bytes(range(256)) * 40_000
    session.put_object(Bucket=bucket, Key="in/k", Body=data)
    assert session.get_object(Bucket=bucket, Key="in/k")["Body"].read() == data
    url = session.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "in/k"})
    assert urlopen(url).read() == data
    for refused in (
        lambda: session.get_object(Bucket=bucket, Key="other"),
        lambda: session.put_object(Bucket=bucket, Key="other", Body=b"x"),
        lambda: session.delete_object(Bucket=bucket, Key="in/k"),
        lambda: session.list_objects_v2(Bucket=bucket),
        lambda: session.list_buckets(),
    ):
        with pytest.raises(ClientError) as error:
            refused()
        assert code(error) == "AccessDenied"
    assert s3.get_object(Bucket=bucket, Key="other")["Body"].read() == b"secret"


def answer_time(answer):
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def test_a_browsers_form_carries_the_token(gateway, s3, sts, bucket):
    credentials = sts.assume_role(RoleArn=ROLE, RoleSessionName="form")["Credentials"]
    post = temporary(gateway, credentials).generate_presigned_post(bucket, "posted")
    assert "x-amz-security-token" in post["fields"]
    boundary = "b-o-u-n-d-a-r-y"
    lines = []
    for name, value in (post["fields"] | {"file": "of a form"}).items():
        lines += [f"--{boundary}", f'Content-Disposition: form-data; name="{name}"', "", value]
    body = "\r\n".join([*lines, f"--{boundary}--", ""]).encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert urlopen(Request(post["url"], body, kind)).status == 204
    assert s3.get_object(Bucket=bucket, Key="posted")["Body"].read() == b"of a form"


def test_a_federated_user_needs_a_policy(gateway, s3, sts, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    nothing = sts.get_federation_token(Name="bob", DurationSeconds=129_600)
    with pytest.raises(ClientError) as error:
        temporary(gateway, nothing["Credentials"]).get_object(Bucket=bucket, Key="k")
    assert code(error) == "AccessDenied"
    some = sts.get_federation_token(Name="bob", Policy=policy(bucket, "s3:Get*"))
    assert some["FederatedUser"]["Arn"].endswith("federated-user/bob")
    got = temporary(gateway, some["Credentials"]).get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"x"


def test_whoever_asks_is_named(gateway, sts):
    assert sts.get_caller_identity()["UserId"] == gateway.access_key
    credentials = sts.assume_role(RoleArn=ROLE, RoleSessionName="job-2")["Credentials"]
    session = boto3.Session(
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
        "us-east-1",
    )
    identity = session.client("sts", endpoint_url=gateway.s3).get_caller_identity()
    assert identity["UserId"] == f"{gateway.access_key}/job-2"


def test_bad_questions_have_awss_own_codes(gateway, sts):
    credentials = sts.assume_role(RoleArn=ROLE, RoleSessionName="job-3")["Credentials"]
    for arguments, expected in [
        ({"Policy": '{"Statement":{"NotAction":"s3:*"}}'}, "MalformedPolicyDocument"),
        ({"DurationSeconds": 43_201}, "ValidationError"),
        ({"ExternalId": "x1"}, "ValidationError"),
    ]:
        with pytest.raises(ClientError) as error:
            sts.assume_role(RoleArn=ROLE, RoleSessionName="job-3", **arguments)
        assert code(error) == expected
    for changed, expected in [
        ({"aws_session_token": credentials["SessionToken"][:-4] + "AAAA"}, "InvalidToken"),
        ({"aws_session_token": None}, "InvalidAccessKeyId"),
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
    ]:
        with pytest.raises(ClientError) as error:
            temporary(gateway, credentials, **changed).list_buckets()
        assert code(error) == expected


def test_the_aws_command_assumes_a_role(gateway, tool, run, s3, bucket, tmp_path):
    aws = tool("aws")
    asked = ["sts", "assume-role", "--role-arn", ROLE, "--role-session-name", "cli"]
    answer = run(aws, *asked, "--output", "json", env=gateway.aws_environment(AWS_DEFAULT_REGION="us-east-1"))
    credentials = json.loads(answer)["Credentials"]
    environment = gateway.aws_environment(
        AWS_ACCESS_KEY_ID=credentials["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=credentials["SecretAccessKey"],
        AWS_SESSION_TOKEN=credentials["SessionToken"],
    )
    (tmp_path / "file").write_text("hello")
    run(aws, "s3", "cp", tmp_path / "file", f"s3://{bucket}/file", env=environment)
    assert s3.get_object(Bucket=bucket, Key="file")["Body"].read() == b"hello"
