"""Tags as boto3 has them: on every kind of write, and changed without a change of the object."""

import io

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

MIB = 1 << 20


def tags(s3, bucket, key="k"):
    found = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def tagging(**pairs):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in pairs.items()]}


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_a_put_carries_tags_and_reads_count_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b%20c=%C3%BC")
    assert tags(s3, bucket) == {"a": "1", "b c": "ü"}
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    headers = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-tagging-count"] == "2"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert tags(s3, bucket) == {}
    assert "TagCount" not in s3.get_object(Bucket=bucket, Key="k")


def test_tags_change_and_the_object_does_not(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"who": "me"}, ContentType="text/plain")
    kept = ("ETag", "LastModified", "Metadata", "ContentType", "ContentLength")

    def state():
        head = s3.head_object(Bucket=bucket, Key="k")
        return [head[name] for name in kept]

    before = state()
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging(a="1", b="2"))
    assert (tags(s3, bucket), state()) == ({"a": "1", "b": "2"}, before)
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging(c=""))
    assert (tags(s3, bucket), state()) == ({"c": ""}, before)
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert (tags(s3, bucket), state()) == ({}, before)


def test_copies_keep_or_replace_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    assert tags(s3, bucket, "kept") == {"a": "1"}
    replace = {"TaggingDirective": "REPLACE", "Tagging": "b=2"}
    s3.copy_object(Bucket=bucket, Key="new", CopySource=source, **replace)
    assert tags(s3, bucket, "new") == {"b": "2"}
    s3.copy_object(Bucket=bucket, Key="none", CopySource=source, TaggingDirective="REPLACE")
    assert tags(s3, bucket, "none") == {}


def test_large_files_and_large_copies_carry_tags(s3, bucket):
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    data = io.BytesIO(bytes(11 * MIB))
    s3.upload_fileobj(data, bucket, "k", ExtraArgs={"Tagging": "a=1"}, Config=parts)
    assert tags(s3, bucket) == {"a": "1"}
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["PartsCount"] == 3
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging(b="2"))
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=3)["PartsCount"] == 3
    # Of a large source, boto3 reads the tags, and puts them onto the copy, if it is told so.
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy(source, bucket, "kept", ExtraArgs={"TaggingDirective": "COPY"}, Config=parts)
    assert tags(s3, bucket, "kept") == {"b": "2"}
    replace = {"TaggingDirective": "REPLACE", "Tagging": "c=3"}
    s3.copy(source, bucket, "new", ExtraArgs=replace, Config=parts)
    assert tags(s3, bucket, "new") == {"c": "3"}
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=3)["PartsCount"] == 3


def test_wrong_tags_change_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1")
    put = {"Bucket": bucket, "Key": "k"}
    many = tagging(**{f"k{n}": "" for n in range(11)})
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    for wrong, verdict in [
        (tagging(**{"k" * 129: ""}), (400, "InvalidTag")),
        (tagging(k="v" * 257), (400, "InvalidTag")),
        (tagging(**{"aws:k": ""}), (400, "InvalidTag")),
        (tagging(**{"a&b": ""}), (400, "InvalidTag")),
        (twice, (400, "InvalidTag")),
        (many, (400, "BadRequest")),
    ]:
        assert refused(s3.put_object_tagging, **put, Tagging=wrong) == verdict
    assert refused(s3.put_object, **put, Body=b"y", Tagging="a=1&a=2") == (400, "InvalidArgument")
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="absent", Tagging=tagging(a="1")) == (404, "NoSuchKey")
    version = {"VersionId": "7", "Tagging": tagging(a="2")}
    assert refused(s3.put_object_tagging, **put, **version) == (404, "NoSuchVersion")
    assert tags(s3, bucket) == {"a": "1"}
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
