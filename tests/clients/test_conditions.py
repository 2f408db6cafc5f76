"""Conditional writes as boto3 has them: what fails changes nothing, and says which condition it was."""

import threading

import pytest
from botocore.exceptions import ClientError

OTHER = '"0123456789abcdef0123456789abcdef-1"'


def refused(call, *arguments, **parameters):
    """Calls, expects a refusal, and returns its status, code, and condition."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    answer = caught.value.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status, answer["Error"]["Code"], answer["Error"].get("Condition")


def failed(condition):
    return 412, "PreconditionFailed", condition


NO_SUCH_KEY = (404, "NoSuchKey", None)


def read(s3, bucket, key="k"):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def test_put_object(s3, bucket):
    put = {"Bucket": bucket, "Key": "k"}
    assert refused(s3.put_object, **put, Body=b"x", IfMatch=OTHER) == NO_SUCH_KEY
    one = s3.put_object(**put, Body=b"one", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, **put, Body=b"x", IfNoneMatch="*") == failed("If-None-Match")
    assert refused(s3.put_object, **put, Body=b"x", IfMatch=OTHER) == failed("If-Match")
    assert read(s3, bucket) == b"one"
    s3.put_object(**put, Body=b"two", IfMatch=one)
    assert refused(s3.put_object, **put, Body=b"x", IfMatch=one) == failed("If-Match")
    assert read(s3, bucket) == b"two"


def test_a_large_put_is_refused_before_it_is_sent(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"small")
    body = bytes(64 << 20)
    put = {"Bucket": bucket, "Key": "k", "Body": body, "IfNoneMatch": "*"}
    assert refused(s3.put_object, **put) == failed("If-None-Match")
    assert read(s3, bucket) == b"small"


def test_copy_object(s3, bucket):
    new = s3.put_object(Bucket=bucket, Key="from", Body=b"new")["ETag"]
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    copy = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "from"}}
    assert refused(s3.copy_object, **copy, IfNoneMatch="*") == failed("If-None-Match")
    assert refused(s3.copy_object, **copy, IfMatch=OTHER) == failed("If-Match")
    source = "x-amz-copy-source-If-None-Match"
    assert refused(s3.copy_object, **copy, IfMatch=old, CopySourceIfNoneMatch=new) == failed(source)
    assert read(s3, bucket) == b"old"
    s3.copy_object(**copy, IfMatch=old, CopySourceIfMatch=new)
    assert read(s3, bucket) == b"new"


def test_complete_multipart_upload(s3, bucket):
    def begin(body):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        target = {"Bucket": bucket, "Key": "k", "UploadId": upload}
        part = s3.upload_part(**target, PartNumber=1, Body=body)
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        return target | {"MultipartUpload": {"Parts": parts}}

    first, second = begin(b"first"), begin(b"second")
    assert refused(s3.complete_multipart_upload, **first, IfMatch="*") == NO_SUCH_KEY
    tag = s3.complete_multipart_upload(**first, IfNoneMatch="*")["ETag"]
    assert s3.complete_multipart_upload(**first, IfNoneMatch="*")["ETag"] == tag
    assert refused(s3.complete_multipart_upload, **second, IfNoneMatch="*") == failed("If-None-Match")
    assert read(s3, bucket) == b"first"
    s3.complete_multipart_upload(**second, IfMatch=tag)
    assert read(s3, bucket) == b"second"


def test_delete_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"bytes")
    head = s3.head_object(Bucket=bucket, Key="k")
    delete = {"Bucket": bucket, "Key": "k"}
    assert refused(s3.delete_object, **delete, IfMatch=OTHER) == failed("If-Match")
    assert refused(s3.delete_object, **delete, IfMatchSize=4) == failed("x-amz-if-match-size")
    assert refused(s3.delete_object, Bucket=bucket, Key="absent", IfMatch="*") == NO_SUCH_KEY
    assert read(s3, bucket) == b"bytes"
    right = {"IfMatch": head["ETag"], "IfMatchSize": 5, "IfMatchLastModifiedTime": head["LastModified"]}
    s3.delete_object(**delete, **right)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_delete_objects(s3, bucket):
    tags = {key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"] for key in "abc"}
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    modified = {found["Key"]: found["LastModified"] for found in listed}
    objects = [
        {"Key": "a", "ETag": tags["a"], "Size": 1, "LastModifiedTime": modified["a"]},
        {"Key": "b", "ETag": tags["c"]},
        {"Key": "c", "Size": 2},
        {"Key": "absent", "ETag": OTHER},
    ]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [found["Key"] for found in answer["Deleted"]] == ["a"]
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [
        ("b", "PreconditionFailed"),
        ("c", "PreconditionFailed"),
        ("absent", "NoSuchKey"),
    ]


def test_one_of_many_threads_creates_the_lock(s3, bucket):
    won = []

    def take(name):
        try:
            s3.put_object(Bucket=bucket, Key="lock", Body=name.encode(), IfNoneMatch="*")
            won.append(name)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"

    threads = [threading.Thread(target=take, args=(f"thread {n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read(s3, bucket, "lock").decode()] == won
