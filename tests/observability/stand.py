"""What the tests run against: gateways, Prometheus, and a collector of traces, each on ports that the system chose."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("HUGBUCKET_BIN", ROOT / "target/debug/hugbucket"))
FOREIGN = ("HUGBUCKET_", "AWS_", "HF_", "FTP_", "OTEL_")
PATIENCE_SECS = 30

# Told apart from everything else in what is exported, so that a leak is seen.
ACCESS_KEY = "canary-key"
SECRET_KEY = "canary-secret-0f9c"
FTP_USER = "canary-user"
FTP_PASSWORD = "canary-password-77d1"


def wait_for(answer, what, seconds=PATIENCE_SECS):
    """Asks until there is an answer; `what` is a text, or returns one. Other processes are waited for, whose time cannot be told."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = answer()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what() if callable(what) else what}")


def clean_environment(**settings):
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {name: str(text) for name, text in settings.items()}


class Gateway:
    """A gateway with a development Hub inside, or in front of the one at `HF_ENDPOINT`."""

    def __init__(self, directory, **settings):
        self.directory = Path(directory)
        self.log = self.directory / "gateway.log"
        ready = self.directory / "ready.json"
        own = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "FTP_USERNAME": FTP_USER,
            "FTP_PASSWORD": FTP_PASSWORD,
            "HUGBUCKET_S3_ADDR": "127.0.0.1:0",
            "HUGBUCKET_FTP_ADDR": "127.0.0.1:0",
            "HUGBUCKET_ADMIN_ADDR": "127.0.0.1:0",
            "HUGBUCKET_DEV_DIR": self.directory / "hub",
            "HUGBUCKET_READY_FILE": ready,
            "HUGBUCKET_LOG_FORMAT": "json",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([BINARY], env=clean_environment(**(own | settings)), stdout=log, stderr=log)
        try:
            wait_for(lambda: self.process.poll() is not None or ready.exists(), "the gateway")
            facts = json.loads(ready.read_text())
        except Exception as error:
            self.kill()
            raise RuntimeError(f"the gateway does not start:\n{self.log.read_text()}") from error
        self.s3, self.admin, self.hub = facts["s3"], facts["admin"], facts["hub"]
        self.ftp = facts["ftp"]
        self.hub_token = facts["development_token"] or settings.get("HF_TOKEN")

    def client(self, secret=SECRET_KEY, **arguments):
        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **arguments),
        )

    def metrics(self):
        with urlopen(f"{self.admin}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def inject(self, route, times=1, **effect):
        """Has the next calls of a route of the development Hub fail."""
        self.order(inject=[{"route": route, "times": times, "effect": effect}])

    def order(self, **command):
        """Tells the development Hub what to do wrong from now on."""
        headers = {"authorization": f"Bearer {self.hub_token}", "content-type": "application/json"}
        with urlopen(Request(f"{self.hub}/devhub/faults", json.dumps(command).encode(), headers), timeout=10):
            pass

    def lines(self):
        """Returns what was logged, as JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, seconds=PATIENCE_SECS):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Prometheus:
    """A real Prometheus that scrapes a gateway every second, with the rules and the settings of `deploy/`."""

    def __init__(self, directory, gateway, config):
        program = shutil.which("prometheus") or pytest.skip("prometheus is not here (Debian package prometheus)")
        directory = Path(directory)
        (directory / "prometheus.yml").write_text(config(gateway))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = directory / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path, **parameters):
        with urlopen(f"http://{self.address}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """Returns the samples of an instant query."""
        return self.ask("query", query=expression)["result"]

    def is_scraping(self):
        try:
            targets = self.ask("targets")["activeTargets"]
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False
        return any(target["health"] == "up" for target in targets)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Span:
    """A span as it was exported."""

    def __init__(self, span, resource):
        self.name, self.kind, self.status = span.name, span.kind, span.status.code
        self.trace_id, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.attributes = {one.key: plain(one.value) for one in span.attributes}
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.resource = {one.key: plain(one.value) for one in resource.attributes}

    def __repr__(self):
        return f"{self.name} {self.attributes}"


def plain(value):
    return getattr(value, value.WhichOneof("value"))


class Collector:
    """Takes traces over OTLP/HTTP. With `hangs`, it takes connections and answers nothing."""

    def __init__(self, hangs=False):
        self.spans, self.bodies, self.asked = [], [], Counter()
        self.released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked[self.path] += 1
                if hangs:
                    collector.released.wait()
                    return
                collector.take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body):
        self.bodies.append(body)
        export = ExportTraceServiceRequest.FromString(body)
        for resource in export.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(Span(span, resource.resource) for span in scope.spans)

    def tree(self, name, where=lambda span: True):
        """Waits for a server span, and returns it with all spans of its trace."""
        found = wait_for(lambda: next((s for s in list(self.spans) if s.name == name and where(s)), None), f"the span {name}")
        return found, [span for span in self.spans if span.trace_id == found.trace_id]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
