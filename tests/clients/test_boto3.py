"""boto3 with its default settings: checksums in trailers, virtual hosts where possible, automatic multipart."""

import io
import random
from urllib.request import Request, urlopen

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20


def content(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 5 * MIB])
def test_an_object_comes_back_as_it_was_written(s3, bucket, size):
    data = content(size)
    put = s3.put_object(Bucket=bucket, Key="dir/name", Body=data)
    got = s3.get_object(Bucket=bucket, Key="dir/name")
    assert got["Body"].read() == data
    assert got["ContentLength"] == size
    assert put["ETag"] == got["ETag"] == s3.head_object(Bucket=bucket, Key="dir/name")["ETag"]


def test_metadata_and_headers_come_back(s3, bucket):
    headers = {"ContentType": "text/plain", "CacheControl": "no-cache", "ContentLanguage": "de"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"who": "me"}, **headers)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == {"who": "me"}
    assert {name: head[name] for name in headers} == headers


def test_a_range_is_a_part_of_the_object(s3, bucket):
    data = content(300_000)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=100000-200000")
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["Body"].read() == data[100_000:200_001]
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=300000-")


def test_large_files_are_uploaded_in_parts(s3, bucket):
    data = content(20 * MIB)
    s3.upload_fileobj(io.BytesIO(data), bucket, "large")
    back = io.BytesIO()
    s3.download_fileobj(bucket, "large", back)
    assert back.getvalue() == data


def test_large_objects_are_copied_in_parts(s3, bucket):
    data = content(20 * MIB + 12345)
    s3.put_object(Bucket=bucket, Key="from", Body=data)
    # The sizes at which boto3 would do the same with objects of gigabytes.
    parts = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    s3.copy({"Bucket": bucket, "Key": "from"}, bucket, "to", Config=parts)
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == data
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    with pytest.raises(ClientError, match="InvalidArgument.*not valid for source object of size: 20983865"):
        s3.upload_part_copy(
            Bucket=bucket,
            Key="k",
            UploadId=upload,
            PartNumber=1,
            CopySource={"Bucket": bucket, "Key": "from"},
            CopySourceRange=f"bytes=0-{len(data)}",
        )


def test_an_aborted_upload_leaves_nothing(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=content(MIB))
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_listings_page_and_fold(s3, bucket):
    keys = ["a", "b/1", "b/2", "b/c/3", "d", "ü"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [found["Key"] for page in pages for found in page["Contents"]] == keys
    folded = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [found["Key"] for found in folded["Contents"]] == ["a", "d", "ü"]
    assert [found["Prefix"] for found in folded["CommonPrefixes"]] == ["b/"]
    old = s3.list_objects(Bucket=bucket, Prefix="b/", Delimiter="/")
    assert [found["Key"] for found in old["Contents"]] == ["b/1", "b/2"]


def test_copies_and_deletes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"data", ContentType="text/plain")
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"data"
    assert s3.head_object(Bucket=bucket, Key="to")["ContentType"] == "text/plain"
    wanted = {"Objects": [{"Key": "from"}, {"Key": "to"}, {"Key": "never there"}]}
    answer = s3.delete_objects(Bucket=bucket, Delete=wanted)
    assert len(answer["Deleted"]) == 3 and "Errors" not in answer
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="to")


def test_buckets_are_listed_and_not_deleted_with_content(s3, bucket):
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)


def test_errors_have_their_codes(gateway, s3, bucket):
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="absent")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket=f"{bucket}-absent")
    stranger = gateway.client()
    stranger._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_buckets()


def test_presigned_urls_work_without_credentials(gateway, bucket):
    # For presigned URLs alone, boto3 still defaults to the signature of before 2012.
    s3 = gateway.client(config=Config(signature_version="s3v4"))
    target = {"Bucket": bucket, "Key": "a key+with/ü"}
    put = Request(s3.generate_presigned_url("put_object", Params=target), data=b"data", method="PUT")
    put.add_header("Content-Type", "")
    assert urlopen(put).status == 200
    assert urlopen(s3.generate_presigned_url("get_object", Params=target)).read() == b"data"
