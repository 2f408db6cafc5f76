"""boto3's paginators, attributes, and reads by part: what each listing says, page by page."""

import uuid

import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20


def items(client, operation, name, size, **arguments):
    """Returns all items of a listing, read in pages of at most `size`."""
    config = {"PageSize": size}
    pages = client.get_paginator(operation).paginate(PaginationConfig=config, **arguments)
    found = []
    for page in pages:
        assert len(page.get(name, [])) <= size
        found += page.get(name, [])
    return found


def send_parts(s3, bucket, key, sizes):
    """Begins an upload and sends parts of these sizes; returns its id and what a completion names."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, size in enumerate(sizes, 1):
        sent = s3.upload_part(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=bytes([number]) * size
        )
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    return upload, parts


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_parts_are_paged(s3, bucket, size):
    upload, parts = send_parts(s3, bucket, "k", [10, 20, 30, 40, 50])
    listed = items(s3, "list_parts", "Parts", size, Bucket=bucket, Key="k", UploadId=upload)
    assert [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed] == parts
    assert [part["Size"] for part in listed] == [10, 20, 30, 40, 50]
    page = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert page["StorageClass"] == "STANDARD"
    assert page["Owner"] == page["Initiator"]
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_uploads_are_paged(s3, bucket, size):
    keys = ["a", "a", "d/ü +&", "d/2", "z"]
    begun = [(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys]
    listed = items(s3, "list_multipart_uploads", "Uploads", size, Bucket=bucket)
    # Those of one key come as they were begun.
    assert [(found["Key"], found["UploadId"]) for found in listed] == sorted(begun, key=lambda one: one[0])
    below = items(s3, "list_multipart_uploads", "Uploads", size, Bucket=bucket, Prefix="d/")
    assert [found["Key"] for found in below] == ["d/2", "d/ü +&"]
    folded = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [found["Key"] for found in folded["Uploads"]] == ["a", "a", "z"]
    assert [found["Prefix"] for found in folded["CommonPrefixes"]] == ["d/"]
    for key, upload in begun:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_versions_are_paged(s3, bucket, size):
    keys = ["a", "b/1", "b/2", "ü +&"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    listed = items(s3, "list_object_versions", "Versions", size, Bucket=bucket)
    assert [found["Key"] for found in listed] == keys
    assert {(found["VersionId"], found["IsLatest"]) for found in listed} == {("null", True)}
    folded = s3.list_object_versions(Bucket=bucket, Delimiter="/")
    assert [found["Prefix"] for found in folded["CommonPrefixes"]] == ["b/"]
    wanted = {"Objects": [{"Key": found["Key"], "VersionId": found["VersionId"]} for found in listed]}
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete=wanted)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchVersion"):
        s3.delete_object(Bucket=bucket, Key="a", VersionId="another")


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_keys_are_paged_in_byte_order(s3, bucket, operation, size):
    keys = ["a", "a-b", "a/1", "a/2", "a0", "~", "ü", "\U00010000"]
    for key in reversed(keys):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    listed = items(s3, operation, "Contents", size, Bucket=bucket)
    assert [found["Key"] for found in listed] == keys
    folded = items(s3, operation, "Contents", size, Bucket=bucket, Delimiter="/")
    assert [found["Key"] for found in folded] == [key for key in keys if "/" not in key]


def test_buckets_are_paged(s3):
    prefix = f"paged-{uuid.uuid4().hex[:8]}-"
    names = [f"{prefix}{n}" for n in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    try:
        listed = items(s3, "list_buckets", "Buckets", 2, Prefix=prefix)
        assert [found["Name"] for found in listed] == names
        assert {found["BucketRegion"] for found in listed} == {"us-east-1"}
        assert s3.list_buckets(Prefix=prefix, BucketRegion="eu-west-1")["Buckets"] == []
    finally:
        for name in names:
            s3.delete_bucket(Bucket=name)


def test_objects_are_read_by_their_parts(s3, bucket):
    sizes = [5 * MIB, 6 * MIB, 7]
    upload, parts = send_parts(s3, bucket, "k", sizes)
    s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    for number, size in enumerate(sizes, 1):
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (size, 3)
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == bytes([number]) * size
    with pytest.raises(ClientError, match="InvalidPartNumber"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)


def test_attributes_are_those_that_were_asked_for(s3, bucket):
    upload, parts = send_parts(s3, bucket, "k", [5 * MIB, 7])
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert found["ETag"] == done["ETag"].strip('"')
    assert found["ObjectSize"] == 5 * MIB + 7
    assert found["StorageClass"] == "STANDARD"
    assert found["ObjectParts"]["TotalPartsCount"] == 2
    assert [part["Size"] for part in found["ObjectParts"]["Parts"]] == [5 * MIB, 7]
    s3.put_object(Bucket=bucket, Key="whole", Body=b"x")
    found = s3.get_object_attributes(Bucket=bucket, Key="whole", ObjectAttributes=["ObjectParts", "ObjectSize"])
    assert found["ObjectSize"] == 1 and "ObjectParts" not in found
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Colour"])
