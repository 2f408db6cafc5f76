"""What AWS itself makes, in Python: the aws command in its versions, boto3, s3transfer, and the CRT."""

import functools
import io
import os

from .base import Absent, Client, command, output, package


class AwsCli(Client):
    """The aws command, version 1."""

    name = "aws-cli 1"
    options = ()

    @classmethod
    def program(cls):
        return command("aws")

    @classmethod
    def version(cls):
        return package("awscli")

    def aws(self, *arguments, **settings):
        # Version 2 before 2.13 knows no AWS_ENDPOINT_URL.
        return self.run(self.program(), "--endpoint-url", self.gateway.s3, *arguments, **settings)

    def uri(self, key):
        return f"s3://{self.bucket}/{key}"

    def put(self, key, path):
        self.aws("s3", "cp", path, self.uri(key), *self.options)

    def get(self, key, path):
        self.aws("s3", "cp", self.uri(key), path)

    def put_all(self, folder, prefix):
        self.aws("s3", "sync", folder, self.uri(prefix), *self.options)

    def get_all(self, prefix, folder, names):
        self.aws("s3", "sync", self.uri(prefix), folder)

    def list(self, prefix):
        # Date, time, size, and the key, which may contain blanks.
        lines = self.aws("s3", "ls", "--recursive", self.uri(prefix)).decode().splitlines()
        return [line.split(maxsplit=3)[3] for line in lines]

    def range(self, key, first, last):
        path = self.directory / "range"
        where = ["--bucket", self.bucket, "--key", key, "--range", f"bytes={first}-{last}"]
        self.aws("s3api", "get-object", *where, path)
        return path.read_bytes()

    def copy(self, source, target):
        self.aws("s3", "cp", self.uri(source), self.uri(target))

    def delete(self, key):
        self.aws("s3", "rm", self.uri(key))


class AwsCli2Defaults(AwsCli):
    """Version 1 with what the current version 2 does by itself.

    Version 2 is on no Python registry, and Debian's is older than the checksums in trailers. What it does differently on
    the wire: CRC-64/NVME as its checksum, and retries in the standard mode.
    """

    name = "aws-cli 1 with the defaults of current 2"
    options = ("--checksum-algorithm", "CRC64NVME")

    def aws(self, *arguments):
        return super().aws(*arguments, AWS_RETRY_MODE="standard")


class AwsCli2(AwsCli):
    """The aws command, version 2, as Debian has it."""

    name = "aws-cli 2"

    @classmethod
    @functools.cache
    def program(cls):
        for directory in os.get_exec_path():
            path = os.path.join(directory, "aws")
            if os.access(path, os.X_OK) and output(path, "--version").startswith("aws-cli/2"):
                return path
        raise Absent("no aws command of version 2 is installed")

    @classmethod
    def version(cls):
        return output(cls.program(), "--version").split()[0].removeprefix("aws-cli/")


class Boto3(Client):
    """boto3's client: one request per call, but for its managed transfers of files."""

    name = "boto3"

    @classmethod
    def version(cls):
        return package("boto3")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.s3 = self.gateway.client()

    def put(self, key, path):
        with path.open("rb") as file:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=file)

    def get(self, key, path):
        with path.open("wb") as file:
            for piece in self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(piece)

    def list(self, prefix):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def range(self, key, first, last):
        return self.s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{last}")["Body"].read()

    def multipart(self, key, path):
        upload = {"Bucket": self.bucket, "Key": key}
        upload["UploadId"] = self.s3.create_multipart_upload(**upload)["UploadId"]
        parts = []
        with path.open("rb") as file:
            while piece := file.read(8 << 20):
                number = len(parts) + 1
                part = self.s3.upload_part(**upload, PartNumber=number, Body=piece)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
        self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def copy(self, source, target):
        self.s3.copy_object(Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": source})

    def delete(self, key):
        self.s3.delete_object(Bucket=self.bucket, Key=key)


class S3Transfer(Boto3):
    """s3transfer: parallel parts and ranges above 8 MiB, copies in parts too."""

    name = "s3transfer"
    range = list = delete = None

    @classmethod
    def version(cls):
        return package("s3transfer")

    def put(self, key, path):
        self.s3.upload_file(str(path), self.bucket, key)

    def get(self, key, path):
        self.s3.download_file(self.bucket, key, str(path))

    def multipart(self, key, path):
        # Without a length, as from a pipe.
        with path.open("rb") as file:
            self.s3.upload_fileobj(io.BufferedReader(file), self.bucket, key)

    def copy(self, source, target):
        self.s3.copy({"Bucket": self.bucket, "Key": source}, self.bucket, target)


class Crt(Client):
    """The CRT as PyTorch's S3 connector uses it: through Mountpoint's client, without PyTorch."""

    name = "s3torchconnectorclient (CRT)"
    # It sends the source of a copy as it is, and refuses its own request if that has a blank.
    copies_any_name = False

    @classmethod
    def version(cls):
        return package("s3torchconnectorclient")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        # It reads credentials from nowhere but the environment and files.
        os.environ |= {
            "AWS_ACCESS_KEY_ID": self.gateway.access_key,
            "AWS_SECRET_ACCESS_KEY": self.gateway.secret_key,
        }
        from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

        self.s3 = MountpointS3Client("us-east-1", endpoint=self.gateway.s3)

    def put(self, key, path):
        writer = self.s3.put_object(self.bucket, key)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                writer.write(piece)
        writer.close()

    def get(self, key, path):
        with path.open("wb") as file:
            for piece in self.s3.get_object(self.bucket, key):
                file.write(piece)

    def list(self, prefix):
        pages = self.s3.list_objects(self.bucket, prefix)
        return [found.key for page in pages for found in page.object_info]

    def range(self, key, first, last):
        return b"".join(self.s3.get_object(self.bucket, key, start=first, end=last + 1))

    def copy(self, source, target):
        self.s3.copy_object(self.bucket, source, self.bucket, target)

    def delete(self, key):
        self.s3.delete_object(self.bucket, key)
