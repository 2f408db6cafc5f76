"""Traffic that touches what the dashboard shows: every kind of request, and every kind of failure."""

import io
import os
from ftplib import FTP

import pytest
from botocore.exceptions import ClientError
from stand import FTP_PASSWORD, FTP_USER, SECRET_KEY, Gateway

MIB = 1 << 20


def refused(call, **arguments):
    with pytest.raises(ClientError):
        call(**arguments)


def drive(gateway: Gateway, bucket="traffic", rounds=1):
    """Sends it. The bucket is made if it is not there."""
    s3 = gateway.client()
    s3.create_bucket(Bucket=bucket)
    for n in range(rounds):
        s3.put_object(Bucket=bucket, Key=f"small-{n}", Body=b"hello")
        body = os.urandom(3 * MIB)
        s3.put_object(Bucket=bucket, Key="large", Body=body)
        for _ in range(2):
            assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == body
        s3.put_object(Bucket=bucket, Key=f"again-{n}", Body=body)
        s3.head_object(Bucket=bucket, Key="large")
        s3.list_objects_v2(Bucket=bucket)
        s3.copy_object(Bucket=bucket, Key=f"copy-{n}", CopySource={"Bucket": bucket, "Key": "large"})
        multipart(s3, bucket)
        s3.delete_object(Bucket=bucket, Key=f"copy-{n}")
        refused(s3.get_object, Bucket=bucket, Key="nowhere")
        refused(gateway.client(secret=SECRET_KEY[::-1]).head_bucket, Bucket=bucket)
        # Once retried, and once given up.
        gateway.inject("paths-info", status=503, kind="status")
        refused(s3.head_object, Bucket=bucket, Key=f"not-cached-{n}")
        gateway.inject("batch", status=403, kind="status")
        refused(s3.put_object, Bucket=bucket, Key="refused", Body=b"x")
        over_ftp(gateway, bucket)


def multipart(s3, bucket, key="joined"):
    """Completes an upload of a part that is sent and one that is copied, and aborts another."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    named = {"Bucket": bucket, "Key": key, "UploadId": upload}
    first = s3.upload_part(PartNumber=1, Body=os.urandom(5 * MIB), **named)
    second = s3.upload_part_copy(PartNumber=2, CopySource={"Bucket": bucket, "Key": "large"}, **named)
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
    given_up = s3.create_multipart_upload(Bucket=bucket, Key="given-up")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="given-up", UploadId=given_up)


def over_ftp(gateway, bucket):
    """Puts a file, gets it, and lists its folder."""
    host, port = gateway.ftp.removeprefix("ftp://").split(":")
    with FTP() as ftp:
        ftp.connect(host, int(port), timeout=30)
        ftp.login(FTP_USER, FTP_PASSWORD)
        ftp.storbinary(f"STOR /{bucket}/by-ftp", io.BytesIO(b"hello"))
        got = []
        ftp.retrbinary(f"RETR /{bucket}/by-ftp", got.append)
        assert b"".join(got) == b"hello"
        assert any(name.endswith("by-ftp") for name in ftp.nlst(f"/{bucket}"))
