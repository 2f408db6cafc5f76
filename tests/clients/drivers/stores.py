"""Object stores as libraries: minio-py, PyArrow on AWS's SDK for C++, and obstore on Rust's object_store."""

from .base import Client, package


class MinioPy(Client):
    """MinIO's client for Python."""

    name = "minio-py"

    @classmethod
    def version(cls):
        return package("minio")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        from minio import Minio

        host = self.gateway.s3.removeprefix("http://")
        self.s3 = Minio(host, self.gateway.access_key, self.gateway.secret_key, secure=False)

    def put(self, key, path):
        self.s3.fput_object(self.bucket, key, str(path))

    def get(self, key, path):
        self.s3.fget_object(self.bucket, key, str(path))

    def list(self, prefix):
        return [found.object_name for found in self.s3.list_objects(self.bucket, prefix, recursive=True)]

    def range(self, key, first, last):
        with self.s3.get_object(self.bucket, key, offset=first, length=last - first + 1) as answer:
            return answer.read()

    def copy(self, source, target):
        from minio.commonconfig import CopySource

        self.s3.copy_object(self.bucket, target, CopySource(self.bucket, source))

    def delete(self, key):
        self.s3.remove_object(self.bucket, key)


class PyArrow(Client):
    """PyArrow's S3FileSystem. It writes streams in parts, and thinks in directories."""

    name = "PyArrow S3FileSystem"

    @classmethod
    def version(cls):
        return package("pyarrow")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        from pyarrow import fs

        self.files = fs.S3FileSystem(
            access_key=self.gateway.access_key,
            secret_key=self.gateway.secret_key,
            endpoint_override=self.gateway.s3,
        )

    def at(self, key):
        return f"{self.bucket}/{key}"

    def put(self, key, path):
        with self.files.open_output_stream(self.at(key)) as stream:
            stream.write(path.read_bytes())

    def get(self, key, path):
        with self.files.open_input_stream(self.at(key)) as stream:
            path.write_bytes(stream.read())

    def list(self, prefix):
        from pyarrow import fs

        found = self.files.get_file_info(fs.FileSelector(self.at(prefix.rstrip("/")), recursive=True))
        return [info.path.removeprefix(f"{self.bucket}/") for info in found if info.type == fs.FileType.File]

    def range(self, key, first, last):
        with self.files.open_input_file(self.at(key)) as file:
            return file.read_at(last - first + 1, first)

    def copy(self, source, target):
        self.files.copy_file(self.at(source), self.at(target))

    def delete(self, key):
        self.files.delete_file(self.at(key))


class Obstore(Client):
    """obstore: the crate object_store, on which Polars and deltalake stand too."""

    name = "obstore"
    settings = "`allow_http` for an endpoint without TLS"

    @classmethod
    def version(cls):
        return package("obstore")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        from obstore.store import S3Store

        self.store = S3Store(
            self.bucket,
            endpoint=self.gateway.s3,
            region="us-east-1",
            access_key_id=self.gateway.access_key,
            secret_access_key=self.gateway.secret_key,
            client_options={"allow_http": True},
        )

    def put(self, key, path):
        self.store.put(key, path)

    def get(self, key, path):
        with path.open("wb") as file:
            for piece in self.store.get(key):
                file.write(piece)

    def list(self, prefix):
        return [found["path"] for page in self.store.list(prefix) for found in page]

    def range(self, key, first, last):
        return bytes(self.store.get_range(key, start=first, end=last + 1))

    def copy(self, source, target):
        self.store.copy(source, target)

    def delete(self, key):
        self.store.delete(key)
