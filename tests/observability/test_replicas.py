"""Several gateways over one Hub: what one began another ends, and none is missed when it is replaced."""

import hashlib
import os
import random
import threading
import time

import boto3
import pytest
from balancer import Balancer
from botocore.config import Config
from botocore.exceptions import ClientError
from stand import ACCESS_KEY, SECRET_KEY, wait_for
from test_reload import devhub  # noqa: F401: the Hub that all of them use
from traffic import MIB

SECONDS = 30


@pytest.fixture
def start_replica(start_gateway, devhub):  # noqa: F811
    """Returns a context manager that starts a replica, with the settings that the chart gives several."""

    def start():
        return start_gateway(
            HF_TOKEN="hf_first",
            HF_ENDPOINT=devhub,
            HUGBUCKET_FILE_INFO_CACHE_TTL="0",
            HUGBUCKET_SHUTDOWN_DELAY="1 s",
            HUGBUCKET_FTP_ADDR="off",
        )

    return start


def test_an_upload_that_one_began_another_completes(start_replica):
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(MIB)]
    with start_replica() as second:
        with start_replica() as first:
            s3 = first.client()
            s3.create_bucket(Bucket="shared")
            upload = s3.create_multipart_upload(Bucket="shared", Key="k", Metadata={"by": "first"})["UploadId"]
            named = {"Bucket": "shared", "Key": "k", "UploadId": upload}
            tags = [first.client().upload_part(PartNumber=1, Body=parts[0], **named)["ETag"]]
            tags.append(second.client().upload_part(PartNumber=2, Body=parts[1], **named)["ETag"])
            tags.append(first.client().upload_part(PartNumber=3, Body=parts[2], **named)["ETag"])
            first.kill()
        s3 = second.client()
        listed = s3.list_parts(**named)["Parts"]
        assert [part["ETag"] for part in listed] == tags
        whole = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
        s3.complete_multipart_upload(MultipartUpload={"Parts": whole}, **named)
        got = s3.get_object(Bucket="shared", Key="k")
        assert got["Body"].read() == b"".join(parts) and got["Metadata"] == {"by": "first"}
        with start_replica() as third:
            again = third.client().complete_multipart_upload(MultipartUpload={"Parts": whole}, **named)
            assert again["ETag"] == got["ETag"], "a completion that is repeated elsewhere has the same answer"


def test_what_one_writes_another_reads_at_once(start_replica):
    with start_replica() as first, start_replica() as second:
        one, other = first.client(), second.client()
        one.create_bucket(Bucket="seen")
        for n in range(10):
            writer, reader = (one, other) if n % 2 else (other, one)
            writer.put_object(Bucket="seen", Key="k", Body=f"{n}".encode())
            assert reader.get_object(Bucket="seen", Key="k")["Body"].read() == f"{n}".encode()
            assert [found["Key"] for found in reader.list_objects_v2(Bucket="seen")["Contents"]] == ["k"]
        one.delete_object(Bucket="seen", Key="k")
        with pytest.raises(ClientError, match="404"):
            other.head_object(Bucket="seen", Key="k")


class Client(threading.Thread):
    """Mixed traffic on keys of its own, with an SDK of default settings. `wrong` says what went wrong."""

    def __init__(self, number, endpoint, until):
        super().__init__(daemon=True)
        self.random, self.until = random.Random(number), until
        self.prefix, self.acknowledged, self.wrong, self.requests = f"client-{number}", {}, [], 0
        self.s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def run(self):
        steps = [self.put] * 4 + [self.get] * 6 + [self.list] * 2 + [self.delete] + [self.large]
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.random.choice(steps)()
                self.requests += 1
            except Exception as error:  # noqa: BLE001: whatever the SDK gives up on is what the test is about
                self.wrong.append(repr(error))

    def write(self, key, body):
        self.acknowledged.pop(key, None)
        self.s3.put_object(Bucket="rolling", Key=key, Body=body)
        self.acknowledged[key] = hashlib.sha256(body).hexdigest()

    def put(self):
        self.write(f"{self.prefix}/{self.random.randrange(20)}", self.random.randbytes(self.random.randrange(1, 64 << 10)))

    def large(self):
        body = self.random.randbytes(6 * MIB)
        key = f"{self.prefix}/large"
        self.acknowledged.pop(key, None)
        named = {"Bucket": "rolling", "Key": key}
        named["UploadId"] = self.s3.create_multipart_upload(**named)["UploadId"]
        parts = []
        for n, part in enumerate([body[: 5 * MIB], body[5 * MIB :]], 1):
            parts.append({"PartNumber": n, "ETag": self.s3.upload_part(PartNumber=n, Body=part, **named)["ETag"]})
        self.s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
        self.acknowledged[key] = hashlib.sha256(body).hexdigest()

    def get(self):
        if self.acknowledged:
            self.check(self.random.choice(list(self.acknowledged)))

    def check(self, key):
        body = self.s3.get_object(Bucket="rolling", Key=key)["Body"].read()
        if hashlib.sha256(body).hexdigest() != self.acknowledged[key]:
            self.wrong.append(f"{key} is not what was acknowledged")

    def list(self):
        found = self.s3.list_objects_v2(Bucket="rolling", Prefix=f"{self.prefix}/").get("Contents", [])
        missing = set(self.acknowledged) - {one["Key"] for one in found}
        if missing:
            self.wrong.append(f"the listing lacks {missing}")

    def delete(self):
        key = f"{self.prefix}/{self.random.randrange(20)}"
        self.acknowledged.pop(key, None)
        self.s3.delete_object(Bucket="rolling", Key=key)


@pytest.mark.e2e
def test_replacing_one_after_the_other_loses_nothing_and_nobody_notices(start_replica):
    balancer = Balancer()
    running = {name: start_replica() for name in ("a", "b")}
    gateways = {name: context.__enter__() for name, context in running.items()}
    try:
        for name, gateway in gateways.items():
            balancer.put(name, gateway)
        gateways["a"].client().create_bucket(Bucket="rolling")
        wait_for(lambda: len(balancer.ready) == 2, "both replicas")
        until = time.monotonic() + SECONDS
        clients = [Client(n, balancer.address, until) for n in range(4)]
        for client in clients:
            client.start()
        replaced = 0
        while time.monotonic() < until - 5:
            for name in ("a", "b"):
                assert gateways[name].stop(60) == 0
                running[name] = start_replica()
                gateways[name] = running[name].__enter__()
                balancer.put(name, gateways[name])
                wait_for(lambda: len(balancer.ready) == 2, "both replicas")
                replaced += 1
        for client in clients:
            client.join(120)
        assert not [wrong for client in clients for wrong in client.wrong]
        for client in clients:
            for key in client.acknowledged:
                client.check(key)
            client.list()
            assert not client.wrong and not client.is_alive()
        assert replaced >= 4 and sum(client.requests for client in clients) > 100
    finally:
        balancer.close()
        for context in running.values():
            context.__exit__(None, None, None)
