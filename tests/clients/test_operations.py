"""What operators see: health, metrics, restarts, and the end of the process."""

import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from botocore.config import Config

from conftest import BINARY, clean_environment


def get(url):
    try:
        with urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_the_admin_listener_tells_how_it_is(gateway):
    assert get(f"{gateway.admin}/livez")[0] == 200
    status, body = get(f"{gateway.admin}/readyz")
    assert status == 200 and json.loads(body)["hub"] == "development"
    assert "hugbucket_build_info" in get(f"{gateway.admin}/metrics")[1]


def test_prometheus_accepts_the_metrics(gateway, s3, bucket, tool):
    promtool = tool("promtool")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    metrics = get(f"{gateway.admin}/metrics")[1]
    checked = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert len(metrics.splitlines()) < 5000


def test_data_outlives_the_process(start_gateway):
    with start_gateway() as gateway:
        gateway.client().create_bucket(Bucket="kept")
        gateway.client().put_object(Bucket="kept", Key="k", Body=b"data")
        gateway.restart()
        assert gateway.client().get_object(Bucket="kept", Key="k")["Body"].read() == b"data"
        gateway.kill()
        gateway.start()
        assert gateway.client().get_object(Bucket="kept", Key="k")["Body"].read() == b"data"


class SlowBody:
    """Four pieces of 1 MiB. Between the second and the third it says so, and waits until it may go on."""

    PIECE = b"x" * (1 << 20)

    def __init__(self):
        self.half, self.go_on, self.sent = threading.Event(), threading.Event(), 0

    def read(self, _size=-1):
        self.sent += 1
        if self.sent == 3:
            self.half.set()
            self.go_on.wait(30)
        return self.PIECE if self.sent <= 4 else b""


def put(url, body, size):
    """Sends a body piece by piece, and returns the status."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("PUT", f"{address.path}?{address.query}", body=body, headers={"Content-Length": size})
    return connection.getresponse().status


def test_an_upload_under_way_survives_the_signal(start_gateway):
    """The drain waits for the request, and the object is there afterwards."""
    with start_gateway() as gateway, ThreadPoolExecutor() as pool:
        s3 = gateway.client(config=Config(signature_version="s3v4"))
        s3.create_bucket(Bucket="drained")
        url = s3.generate_presigned_url("put_object", Params={"Bucket": "drained", "Key": "k"})
        body = SlowBody()
        uploading = pool.submit(put, url, body, 4 << 20)
        assert body.half.wait(30)
        gateway.process.terminate()
        while get(f"{gateway.admin}/readyz")[0] != 503:
            pass
        body.go_on.set()
        assert uploading.result(60) == 200
        assert gateway.process.wait(60) == 0
        gateway.start()
        assert gateway.client().head_object(Bucket="drained", Key="k")["ContentLength"] == 4 << 20


def test_the_health_command_asks_the_running_gateway(gateway):
    def check(address):
        environment = clean_environment(HUGBUCKET_ADMIN_ADDR=address)
        return subprocess.run([BINARY, "healthcheck"], env=environment, capture_output=True).returncode

    assert check(gateway.admin.removeprefix("http://")) == 0
    assert check("127.0.0.1:1") == 1


def test_no_secret_is_logged(start_gateway):
    secret = "hugbucket-secret-of-this-test"
    with start_gateway(
        AWS_ACCESS_KEY_ID="own", AWS_SECRET_ACCESS_KEY=secret, HUGBUCKET_LOG="trace"
    ) as gateway:
        gateway.access_key, gateway.secret_key = "own", secret
        gateway.client().create_bucket(Bucket="secrets")
        gateway.client().put_object(Bucket="secrets", Key="k", Body=b"x")
        assert gateway.stop() == 0
        log = gateway.log.read_text()
        assert "own" in log
        assert secret not in log and gateway.hub_token not in log
