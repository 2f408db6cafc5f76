"""Checksums as boto3 sends, asks for, and verifies them; kept where `HUGBUCKET_STORE_CHECKSUMS` says so.

The expected values are computed here, with zlib and hashlib, and never taken from an answer.
"""

import base64
import hashlib
import uuid
import zlib
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20
PARTS = [bytes([65 + n]) * (5 * MIB + n) for n in range(2)] + [b"the last part"]
ALL = ["ETag", "Checksum", "ObjectParts", "ObjectSize", "StorageClass"]


def crc32(data):
    return zlib.crc32(data).to_bytes(4, "big")


def sha256(data):
    return hashlib.sha256(data).digest()


def sha1(data):
    return hashlib.sha1(data).digest()


ALGORITHMS = {"CRC32": crc32, "SHA1": sha1, "SHA256": sha256}


def text(value):
    return base64.b64encode(value).decode()


@pytest.fixture(scope="module")
def keeping(start_gateway):
    """A gateway that keeps checksums."""
    with start_gateway(HUGBUCKET_STORE_CHECKSUMS="true") as running:
        yield running


@pytest.fixture(scope="module")
def kept(keeping):
    return keeping.client()


@pytest.fixture
def place(kept):
    """The name of a new bucket of the gateway that keeps checksums."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    kept.create_bucket(Bucket=name)
    return name


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_kept_shown_and_copied(kept, place, algorithm):
    data, field = b"some content", f"Checksum{algorithm}"
    expected = text(ALGORITHMS[algorithm](data))
    put = kept.put_object(Bucket=place, Key="k", Body=data, ChecksumAlgorithm=algorithm)
    assert put[field] == expected
    kept.copy_object(Bucket=place, Key="copy", CopySource={"Bucket": place, "Key": "k"})
    for key in ("k", "copy"):
        head = kept.head_object(Bucket=place, Key=key, ChecksumMode="ENABLED")
        assert (head[field], head["ChecksumType"]) == (expected, "FULL_OBJECT")
        # boto3 asks for it by itself, and compares.
        assert kept.get_object(Bucket=place, Key=key)["Body"].read() == data
        attributes = kept.get_object_attributes(Bucket=place, Key=key, ObjectAttributes=ALL)
        assert attributes["Checksum"] == {field: expected, "ChecksumType": "FULL_OBJECT"}
    kept.put_object_tagging(Bucket=place, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert kept.head_object(Bucket=place, Key="k", ChecksumMode="ENABLED")[field] == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_checksum_stores_nothing(kept, place, algorithm):
    wrong = {f"Checksum{algorithm}": text(ALGORITHMS[algorithm](b"other content"))}
    assert refused(kept.put_object, Bucket=place, Key="k", Body=b"some content", **wrong) == (400, "BadDigest")
    assert "Contents" not in kept.list_objects_v2(Bucket=place)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_checksums_of_parts_are_listed_and_make_that_of_the_object(kept, place, algorithm):
    digest, field = ALGORITHMS[algorithm], f"Checksum{algorithm}"
    upload = {"Bucket": place, "Key": "k"}
    begun = kept.create_multipart_upload(**upload, ChecksumAlgorithm=algorithm)
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm, "COMPOSITE")
    upload["UploadId"] = begun["UploadId"]
    named = []
    for number, data in enumerate(PARTS, 1):
        sent = kept.upload_part(**upload, PartNumber=number, Body=data, ChecksumAlgorithm=algorithm)
        assert sent[field] == text(digest(data))
        named.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
    listed = kept.list_parts(**upload)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, "COMPOSITE")
    assert [part[field] for part in listed["Parts"]] == [text(digest(data)) for data in PARTS]

    composite = text(digest(b"".join(map(digest, PARTS)))) + f"-{len(PARTS)}"
    wrong = named[:1] + [named[1] | {field: named[0][field]}] + named[2:]
    assert refused(kept.complete_multipart_upload, **upload, MultipartUpload={"Parts": wrong}) == (400, "InvalidPart")
    done = kept.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
    assert (done[field], done["ChecksumType"]) == (composite, "COMPOSITE")
    head = kept.head_object(Bucket=place, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (composite, "COMPOSITE")
    attributes = kept.get_object_attributes(Bucket=place, Key="k", ObjectAttributes=ALL)
    assert attributes["Checksum"] == {field: composite, "ChecksumType": "COMPOSITE"}
    parts = attributes["ObjectParts"]
    assert parts["TotalPartsCount"] == len(PARTS)
    assert [(part["Size"], part[field]) for part in parts["Parts"]] == [(len(data), text(digest(data))) for data in PARTS]
    assert kept.get_object(Bucket=place, Key="k")["Body"].read() == b"".join(PARTS)


def test_a_checksum_of_the_full_object_follows_from_its_parts(kept, place):
    upload = {"Bucket": place, "Key": "k"}
    begun = kept.create_multipart_upload(**upload, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    upload["UploadId"] = begun["UploadId"]
    named = []
    for number, data in enumerate(PARTS, 1):
        sent = kept.upload_part(**upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
        named.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
    whole = text(crc32(b"".join(PARTS)))
    claim = {"ChecksumType": "FULL_OBJECT", "MultipartUpload": {"Parts": named}}
    wrong = text(crc32(b"other"))
    assert refused(kept.complete_multipart_upload, **upload, **claim, ChecksumCRC32=wrong) == (400, "BadDigest")
    done = kept.complete_multipart_upload(**upload, **claim, ChecksumCRC32=whole)
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (whole, "FULL_OBJECT")
    # boto3 verifies this one when it reads.
    assert kept.get_object(Bucket=place, Key="k")["Body"].read() == b"".join(PARTS)


def post(s3, bucket, data, **fields):
    """Sends a form as a browser does, and returns the status."""
    form = s3.generate_presigned_post(bucket, "k", Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    boundary = uuid.uuid4().hex
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in form["fields"].items()
    )
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()
    body += data + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    try:
        with urlopen(Request(form["url"], body, headers, method="POST")) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_forms_are_verified_and_keep_their_checksum(keeping, place):
    from botocore.config import Config

    signing = keeping.client(config=Config(signature_version="s3v4"))
    right, wrong = text(crc32(b"content")), text(crc32(b"other"))
    assert post(signing, place, b"content", **{"x-amz-checksum-crc32": wrong}) == 400
    assert "Contents" not in signing.list_objects_v2(Bucket=place)
    assert post(signing, place, b"content", **{"x-amz-checksum-crc32": right}) == 204
    head = signing.head_object(Bucket=place, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == right
    # A form without one gets one all the same.
    assert post(signing, place, b"content") == 204
    head = signing.head_object(Bucket=place, Key="k", ChecksumMode="ENABLED")
    assert "ChecksumCRC64NVME" in head and "ChecksumCRC32" not in head


def test_without_the_setting_parts_are_listed_with_theirs_and_objects_keep_none(s3, bucket):
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x", ChecksumAlgorithm="SHA256")
    assert "ChecksumSHA256" not in s3.head_object(Bucket=bucket, Key="plain", ChecksumMode="ENABLED")
    upload = {"Bucket": bucket, "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256")["UploadId"]
    sent = s3.upload_part(**upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256")
    assert s3.list_parts(**upload)["Parts"][0]["ChecksumSHA256"] == text(sha256(b"x"))
    named = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert "Checksum" not in attributes
    assert [part["Size"] for part in attributes["ObjectParts"]["Parts"]] == [1]
    assert "ChecksumSHA256" not in attributes["ObjectParts"]["Parts"][0]
