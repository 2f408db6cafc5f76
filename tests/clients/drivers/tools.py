"""Commands that are no AWS tools: rclone, s5cmd, s3cmd, and curl."""

import os
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from .base import MIB, Client, command, output


class Rclone(Client):
    """rclone; provider Other is its word for "not AWS"."""

    name = "rclone"
    settings = "provider *Other*"

    @classmethod
    def version(cls):
        return output(command("rclone"), "version").split()[1].removeprefix("v")

    def rclone(self, *arguments):
        return self.with_remote(command("rclone"), *arguments)

    def with_remote(self, *words):
        """Runs a command for which `hub:` is the gateway."""
        return self.run(
            *words,
            RCLONE_CONFIG=os.devnull,
            RCLONE_CONFIG_HUB_TYPE="s3",
            RCLONE_CONFIG_HUB_PROVIDER="Other",
            RCLONE_CONFIG_HUB_ENDPOINT=self.gateway.s3,
            RCLONE_CONFIG_HUB_ACCESS_KEY_ID=self.gateway.access_key,
            RCLONE_CONFIG_HUB_SECRET_ACCESS_KEY=self.gateway.secret_key,
        )

    def at(self, key):
        return f"hub:{self.bucket}/{key}"

    def put(self, key, path):
        self.rclone("copyto", path, self.at(key))

    def get(self, key, path):
        self.rclone("copyto", self.at(key), path)

    def put_all(self, folder, prefix):
        self.rclone("copy", folder, self.at(prefix))

    def get_all(self, prefix, folder, names):
        self.rclone("copy", self.at(prefix), folder)

    def list(self, prefix):
        names = self.rclone("lsf", "--recursive", "--files-only", self.at(prefix)).decode()
        return [prefix + name for name in names.splitlines()]

    def range(self, key, first, last):
        return self.rclone("cat", "--offset", first, "--count", last - first + 1, self.at(key))

    def multipart(self, key, path):
        # A file is cut into parts from 200 MiB on, but a stream at once.
        self.with_remote("sh", "-c", '"$0" rcat "$1" < "$2"', command("rclone"), self.at(key), path)

    def copy(self, source, target):
        self.rclone("copyto", self.at(source), self.at(target))

    def delete(self, key):
        self.rclone("deletefile", self.at(key))


class S5cmd(Client):
    """s5cmd, on AWS's SDK for Go."""

    name = "s5cmd"
    # Its parts are 50 MiB.
    multipart_bytes = 60 * MIB
    takes_wildcards = True

    @classmethod
    def version(cls):
        return output(command("s5cmd"), "version").split("-")[0].removeprefix("v")

    def s5cmd(self, *arguments):
        return self.run(command("s5cmd"), "--endpoint-url", self.gateway.s3, *arguments)

    def at(self, key):
        return f"s3://{self.bucket}/{key}"

    def put(self, key, path):
        self.s5cmd("cp", path, self.at(key))

    def get(self, key, path):
        # A `?` in a key is a pattern unless it is told otherwise.
        self.s5cmd("cp", "--raw", self.at(key), path)

    def list(self, prefix):
        lines = self.s5cmd("ls", f"{self.at(prefix)}*").decode().splitlines()
        # Date, time, size, and the key below the last `/` before the pattern.
        folder = prefix[: prefix.rfind("/") + 1]
        return [folder + line.split(maxsplit=3)[3] for line in lines]

    def copy(self, source, target):
        self.s5cmd("cp", "--raw", self.at(source), self.at(target))

    def delete(self, key):
        self.s5cmd("rm", "--raw", self.at(key))


class S3cmd(Client):
    """s3cmd."""

    name = "s3cmd"
    takes_wildcards = True

    @classmethod
    def version(cls):
        return output(command("s3cmd"), "--version").split()[-1]

    def s3cmd(self, *arguments):
        host = self.gateway.s3.removeprefix("http://")
        # An address has no subdomains: a bucket template without the bucket means path style.
        where = ["--config", os.devnull, "--no-ssl", "--host", host, "--host-bucket", host]
        return self.run(command("s3cmd"), *where, *arguments)

    def at(self, key):
        return f"s3://{self.bucket}/{key}"

    def put(self, key, path):
        self.s3cmd("put", path, self.at(key))

    def get(self, key, path):
        self.s3cmd("get", "--force", self.at(key), path)

    def list(self, prefix):
        lines = self.s3cmd("ls", "--recursive", self.at(prefix)).decode().splitlines()
        return [line.split(f"s3://{self.bucket}/", 1)[1] for line in lines]

    def copy(self, source, target):
        self.s3cmd("cp", self.at(source), self.at(target))

    def delete(self, key):
        self.s3cmd("del", self.at(key))


class Curl(Client):
    """curl signs requests, and knows nothing else of S3."""

    name = "curl --aws-sigv4"
    settings = "before curl 8: the header `x-amz-content-sha256: UNSIGNED-PAYLOAD`"

    @classmethod
    def version(cls):
        return output(command("curl"), "--version").split()[1]

    def curl(self, key, *arguments, query=()):
        query = urlencode(query, quote_via=quote)
        return self.run(
            command("curl"), "--silent", "--show-error", "--fail-with-body",
            "--aws-sigv4", "aws:amz:us-east-1:s3",
            "--user", f"{self.gateway.access_key}:{self.gateway.secret_key}",
            "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            *arguments,
            f"{self.gateway.s3}/{self.bucket}/{quote(key)}" + (f"?{query}" if query else ""),
        )  # fmt: skip

    def put(self, key, path):
        self.curl(key, "--upload-file", path)

    def get(self, key, path):
        self.curl(key, "--output", path)

    def list(self, prefix):
        document = ElementTree.fromstring(self.curl("", query={"list-type": 2, "prefix": prefix}))
        return [found.text for found in document.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]

    def range(self, key, first, last):
        return self.curl(key, "--range", f"{first}-{last}")

    def multipart(self, key, path):
        document = ElementTree.fromstring(self.curl(key, "--request", "POST", query={"uploads": ""}))
        upload = document.findtext("{*}UploadId")
        done = ElementTree.Element("CompleteMultipartUpload")
        with path.open("rb") as file:
            for number in range(1, -(-self.multipart_bytes // (8 * MIB)) + 1):
                piece = self.directory / "part"
                piece.write_bytes(file.read(8 * MIB))
                numbered = {"partNumber": number, "uploadId": upload}
                head = self.curl(key, "--upload-file", piece, "--dump-header", "-", query=numbered).decode()
                etag = next(line[5:].strip() for line in head.splitlines() if line.lower().startswith("etag:"))
                part = ElementTree.SubElement(done, "Part")
                ElementTree.SubElement(part, "PartNumber").text = str(number)
                ElementTree.SubElement(part, "ETag").text = etag
        body = ElementTree.tostring(done).decode()
        self.curl(key, "--request", "POST", "--data-raw", body, query={"uploadId": upload})

    def copy(self, source, target):
        self.curl(target, "--request", "PUT", "--header", f"x-amz-copy-source: /{self.bucket}/{quote(source)}")

    def delete(self, key):
        self.curl(key, "--request", "DELETE")
