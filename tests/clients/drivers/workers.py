"""Clients that live in programs of their own, because of their language or because their dependencies exclude ours.

Each program takes an operation and its arguments on its command line, and answers on its standard output:

    put BUCKET KEY FILE…         and more of such pairs        list BUCKET PREFIX             prints a JSON array of keys
    get BUCKET KEY FILE…         likewise                      range BUCKET KEY FIRST LAST    prints the bytes
    multipart BUCKET KEY FILE                                  copy BUCKET FROM TO
    delete BUCKET KEY                                          version                        prints it

Endpoint and credentials come in the AWS variables of the environment.
"""

import functools
import itertools
import json
import os
import sys
from pathlib import Path

from .base import MIB, Absent, Client, command, files, output

HERE = Path(__file__).parent


class Worker(Client):
    """A client behind such a program."""

    @classmethod
    def program(cls):
        """Returns the words that start the program, or raises `Absent`."""
        raise NotImplementedError

    @classmethod
    def version(cls):
        return output(*cls.program(), "version").strip()

    def ask(self, *arguments):
        return self.run(*self.program(), *arguments)

    def put(self, key, path):
        self.ask("put", self.bucket, key, path)

    def get(self, key, path):
        self.ask("get", self.bucket, key, path)

    def put_all(self, folder, prefix):
        pairs = [(prefix + path.relative_to(folder).as_posix(), path) for path in files(folder)]
        self.ask("put", self.bucket, *itertools.chain(*pairs))

    def get_all(self, prefix, folder, names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        self.ask("get", self.bucket, *itertools.chain(*[(prefix + name, folder / name) for name in names]))

    def list(self, prefix):
        return json.loads(self.ask("list", self.bucket, prefix))

    def range(self, key, first, last):
        return self.ask("range", self.bucket, key, first, last)

    def multipart(self, key, path):
        self.ask("multipart", self.bucket, key, path)

    def copy(self, source, target):
        self.ask("copy", self.bucket, source, target)

    def delete(self, key):
        self.ask("delete", self.bucket, key)


@functools.cache
def fsspec_python():
    """Returns the interpreter of the environment with aiobotocore, which needs an older botocore than boto3."""
    path = Path(sys.prefix) / "fsspec/bin/python"
    if not path.exists():
        raise Absent("the environment with aiobotocore is not installed")
    return str(path)


class S3fs(Worker):
    """s3fs, the S3 of fsspec."""

    name = "s3fs (fsspec)"
    # Its parts are 50 MiB.
    multipart_bytes = 60 * MIB

    @classmethod
    def program(cls):
        return (fsspec_python(), str(HERE / "fsspec_worker.py"), "s3fs")


class Aiobotocore(Worker):
    """aiobotocore by itself."""

    name = "aiobotocore"

    @classmethod
    def program(cls):
        return (fsspec_python(), str(HERE / "fsspec_worker.py"), "aiobotocore")


class AwsSdkJs(Worker):
    """AWS's SDK for JavaScript, version 3, with its lib-storage for uploads in parts."""

    name = "AWS SDK for JavaScript 3"
    settings = "`forcePathStyle` unless buckets have host names"

    @classmethod
    def program(cls):
        node, modules = command("node"), Path(sys.prefix) / "node/node_modules"
        if not (modules / "@aws-sdk/client-s3").exists():
            raise Absent("the npm package @aws-sdk/client-s3 is not installed")
        return ("env", f"NODE_PATH={modules}", node, str(HERE / "node/worker.cjs"))


class Go(Worker):
    """A client of Go, in the program that `make e2e` compiles."""

    is_compiled = True
    library = ""

    @classmethod
    def program(cls):
        path = os.environ.get("HUGBUCKET_GO_WORKER", "")
        if not os.access(path, os.X_OK):
            raise Absent("not compiled; `make e2e` does that")
        return (path, cls.library)


class AwsSdkGo(Go):
    """AWS's SDK for Go, version 2."""

    name, library = "AWS SDK for Go 2", "aws"
    settings = "`UsePathStyle` unless buckets have host names"


class MinioGo(Go):
    """MinIO's client for Go."""

    name, library = "minio-go", "minio"
