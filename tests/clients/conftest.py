"""Fixtures for tests with real clients: a running gateway over the development Hub, clients for it, and buckets.

The binary is `target/debug/hugbucket`, or what `HUGBUCKET_BIN` names; `make clients` builds it and runs everything here.
Every gateway listens on ports that the system chose, keeps its data in a temporary directory, and says where it is in a
file (`HUGBUCKET_READY_FILE`), so that tests need no fixed port and no sleep.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.request import urlopen

import boto3
import pytest

# Hooks that note the cells of the compatibility table.
from cells import pytest_configure, pytest_runtest_makereport, pytest_sessionfinish  # noqa: F401
from drivers import Absent

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("HUGBUCKET_BIN", ROOT / "target/debug/hugbucket"))
START_TIMEOUT_SECS = 30
STOP_TIMEOUT_SECS = 40

# Settings of the machine that must not leak into a test.
FOREIGN = ("HUGBUCKET_", "AWS_", "HF_", "FTP_", "OTEL_", "RCLONE_")


def clean_environment(**settings):
    """Returns this process's environment without settings of any client or gateway, plus the given ones."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {name: str(text) for name, text in settings.items()}


class Gateway:
    """A running gateway.

    `s3`, `ftp`, `ftps`, `admin`, and `hub` are addresses without a trailing slash; `namespace` owns the buckets; `hub_token` opens the
    development Hub.
    """

    access_key = "hugbucket"
    secret_key = "hugbucket"

    def __init__(self, directory, **settings):
        self.directory = Path(directory)
        self.log = self.directory / "gateway.log"
        # DVC takes no device for a file of settings.
        self.no_settings = self.directory / "no-settings"
        self.no_settings.touch()
        self._settings = settings
        self.process = None
        self.start()

    def start(self):
        """Starts the process on its directory, and waits until it serves."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        settings = {
            "HUGBUCKET_S3_ADDR": "127.0.0.1:0",
            "HUGBUCKET_FTP_ADDR": "127.0.0.1:0",
            "HUGBUCKET_ADMIN_ADDR": "127.0.0.1:0",
            "HUGBUCKET_DEV_DIR": self.directory / "hub",
            "HUGBUCKET_READY_FILE": ready,
        } | self._settings
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY], env=clean_environment(**settings), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_SECS
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the gateway does not start:\n{self.log.read_text()}")
            time.sleep(0.01)
        facts = json.loads(ready.read_text())
        self.s3, self.admin, self.hub = facts["s3"], facts["admin"], facts["hub"]
        self.ftp, self.ftps = facts["ftp"], facts.get("ftps")
        self.namespace, self.hub_token = facts["namespace"], facts["development_token"]

    def stop(self):
        """Ends the process as an orchestrator does, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_SECS)

    def kill(self):
        """Ends the process as a power cut does."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Stops the process and starts another on the same directory. Addresses change."""
        assert self.stop() == 0
        self.start()

    def client(self, **arguments):
        """Returns a boto3 client with the SDK's default settings."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            **arguments,
        )

    def aws_environment(self, **settings):
        """Returns the environment in which AWS tools talk to this gateway, and read nobody's configuration."""
        known = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.s3,
            "AWS_CONFIG_FILE": self.no_settings,
            "AWS_SHARED_CREDENTIALS_FILE": self.no_settings,
        }
        return clean_environment(**(known | settings))

    def hf_environment(self, **settings):
        """Returns the environment in which Hugging Face tools talk to the development Hub behind this gateway."""
        return clean_environment(
            HF_ENDPOINT=self.hub,
            HF_TOKEN=self.hub_token,
            HF_HOME=self.directory / "hf-home",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            NO_COLOR="1",
            **settings,
        )


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory):
    """Returns a context manager that starts a gateway of one's own: `with start_gateway(HUGBUCKET_LOG="debug") as g`."""
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: run `cargo build`")

    @contextlib.contextmanager
    def start(**settings):
        gateway = Gateway(tmp_path_factory.mktemp("gateway"), **settings)
        try:
            yield gateway
        finally:
            if gateway.process.poll() is None:
                gateway.kill()

    return start


@pytest.fixture(scope="session")
def gateway(start_gateway):
    """One gateway for all tests that do not change or stop it. It must still run at the end, and stop cleanly."""
    with start_gateway() as running:
        yield running
        assert running.process.poll() is None, running.log.read_text()
        assert running.stop() == 0


@pytest.fixture(scope="session")
def s3(gateway):
    """A boto3 client with default settings."""
    return gateway.client()


@pytest.fixture
def bucket(s3):
    """The name of a bucket that is there for one test, with all that the test puts into it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
    for page in pages:
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def counted(gateway, operation):
    """Returns how many requests of an S3 operation the gateway has answered well."""
    with urlopen(f"{gateway.admin}/metrics") as metrics:
        lines = metrics.read().decode().splitlines()
    labels = f'operation="{operation}",protocol="s3",status="ok"'
    return sum(int(line.split()[-1]) for line in lines if line.startswith("hugbucket_requests_total{") and labels in line)


@pytest.fixture
def client(request, gateway, bucket, tmp_path, record_property):
    """A client of the compatibility table, ready for the test's bucket; the test's `cell` says which."""
    try:
        record_property("version", request.param.version())
    except Absent as absent:
        pytest.skip(f"{request.param.name}: {absent}")
    return request.param(gateway, bucket, tmp_path)


@pytest.fixture(scope="session")
def tool():
    """Returns the path of a command of the clients' environment, or of the system; skips the test without it."""

    def find(name):
        beside = Path(sys.executable).with_name(name)
        path = str(beside) if beside.exists() else shutil.which(name)
        return path or pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def run():
    """Runs a command, and fails with all that it said if it fails. Returns its standard output."""

    def call(*command, **arguments):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=300, **arguments
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return call
