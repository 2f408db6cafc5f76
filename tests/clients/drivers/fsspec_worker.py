"""The worker for s3fs and aiobotocore; see `workers.py` for what it is asked, and in which environment it runs."""

import asyncio
import json
import shutil
import sys
from importlib import metadata
from pathlib import Path


class S3fs:
    """Answers with s3fs."""

    def __init__(self):
        import s3fs

        self.files = s3fs.S3FileSystem()

    def put(self, bucket, key, path):
        self.files.put_file(path, f"{bucket}/{key}")

    def multipart(self, bucket, key, path):
        # A file is cut into parts from 100 MiB on, a stream from 50 MiB on.
        with Path(path).open("rb") as file, self.files.open(f"{bucket}/{key}", "wb") as stream:
            shutil.copyfileobj(file, stream, 1 << 20)

    def get(self, bucket, key, path):
        self.files.get_file(f"{bucket}/{key}", path)

    def list(self, bucket, prefix):
        found = self.files.find(f"{bucket}/{prefix}")
        print(json.dumps([name.removeprefix(f"{bucket}/") for name in found]))

    def range(self, bucket, key, first, last):
        sys.stdout.buffer.write(self.files.cat_file(f"{bucket}/{key}", start=int(first), end=int(last) + 1))

    def copy(self, bucket, source, target):
        self.files.cp_file(f"{bucket}/{source}", f"{bucket}/{target}")

    def delete(self, bucket, key):
        self.files.rm_file(f"{bucket}/{key}")


class Aiobotocore:
    """Answers with aiobotocore: one request for each call, the parts of an upload at once."""

    PART_BYTES = 8 << 20

    def __getattr__(self, operation):
        return lambda *arguments: asyncio.run(self.call(operation, arguments))

    async def call(self, operation, arguments):
        from aiobotocore.session import get_session

        async with get_session().create_client("s3") as s3:
            await getattr(type(self), f"do_{operation}")(self, s3, *arguments)

    async def do_put(self, s3, bucket, key, path):
        with Path(path).open("rb") as file:
            await s3.put_object(Bucket=bucket, Key=key, Body=file)

    async def do_get(self, s3, bucket, key, path):
        answer = await s3.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            Path(path).write_bytes(await body.read())

    async def do_list(self, s3, bucket, prefix):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        print(json.dumps([found["Key"] async for page in pages for found in page.get("Contents", [])]))

    async def do_range(self, s3, bucket, key, first, last):
        answer = await s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")
        sys.stdout.buffer.write(await answer["Body"].read())

    async def do_multipart(self, s3, bucket, key, path):
        data = Path(path).read_bytes()
        upload = {"Bucket": bucket, "Key": key}
        upload["UploadId"] = (await s3.create_multipart_upload(**upload))["UploadId"]

        async def part(number, piece):
            done = await s3.upload_part(**upload, PartNumber=number, Body=piece)
            return {"PartNumber": number, "ETag": done["ETag"]}

        pieces = [data[at : at + self.PART_BYTES] for at in range(0, len(data), self.PART_BYTES)]
        parts = await asyncio.gather(*[part(number, piece) for number, piece in enumerate(pieces, 1)])
        await s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    async def do_copy(self, s3, bucket, source, target):
        await s3.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source})

    async def do_delete(self, s3, bucket, key):
        await s3.delete_object(Bucket=bucket, Key=key)


def main(library, operation, *words):
    if operation == "version":
        print(metadata.version(library))
        return
    client = {"s3fs": S3fs, "aiobotocore": Aiobotocore}[library]()
    if operation in ("put", "get"):
        bucket, *words = words
        for key, path in zip(words[::2], words[1::2]):
            getattr(client, operation)(bucket, key, path)
    else:
        getattr(client, operation)(*words)


main(*sys.argv[1:])
