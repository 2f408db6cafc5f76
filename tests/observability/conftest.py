"""Fixtures: gateways that end with the test."""

import contextlib
import os
import resource
import shutil
import subprocess

import pytest
from stand import BINARY, Gateway


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory):
    """Returns a context manager that starts a gateway of one's own."""
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


class Image:
    """The image that HUGBUCKET_TEST_IMAGE names, run by podman as the chart runs it."""

    def __init__(self, name):
        # A sandbox may lack the right to raise limits, and control groups of its own.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.command = ["podman", "run", "--rm", "--network", "host", "--read-only", "--cap-drop", "ALL"]
        if shutil.which("runc"):
            self.command += ["--runtime", "runc"]
        self.command += ["--security-opt", "no-new-privileges", "--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=1000:1000"]
        self.name = name

    def run(self, *arguments, options=()):
        command = [*self.command, *options, self.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def image():
    name = os.environ.get("HUGBUCKET_TEST_IMAGE") or pytest.skip("no image was built")
    if not shutil.which("podman"):
        pytest.skip("podman is not here")
    return Image(name)
