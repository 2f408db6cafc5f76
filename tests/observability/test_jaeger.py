"""A real Jaeger takes the traces, over both protocols of OTLP, and finds them again."""

import json
import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from stand import wait_for

JAEGER = Path(os.environ.get("HUGBUCKET_GO_TOOLS", "/nowhere")) / "jaeger"

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not JAEGER.exists(), reason="jaeger is not here")]


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Jaeger:
    def __init__(self, directory):
        self.http, self.grpc, query, query_grpc = free_ports(4)
        self.query = f"http://127.0.0.1:{query}/api"
        places = {
            "receivers.otlp.protocols.http.endpoint": self.http,
            "receivers.otlp.protocols.grpc.endpoint": self.grpc,
            "extensions.jaeger_query.http.endpoint": query,
            "extensions.jaeger_query.grpc.endpoint": query_grpc,
        }
        arguments = [argument for key, port in places.items() for argument in ("--set", f"{key}=127.0.0.1:{port}")]
        with (directory / "jaeger.log").open("wb") as log:
            self.process = subprocess.Popen([JAEGER, *arguments], stdout=log, stderr=log)
        wait_for(self.is_up, lambda: (directory / "jaeger.log").read_text()[-2000:])

    def is_up(self):
        assert self.process.poll() is None
        try:
            return self.ask("services") is not None
        except OSError:
            return False

    def ask(self, path, **parameters):
        with urlopen(f"{self.query}/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory):
    running = Jaeger(tmp_path_factory.mktemp("jaeger"))
    yield running
    running.process.kill()
    running.process.wait()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_put_is_found_with_all_that_is_below_it(start_gateway, jaeger, protocol):
    port = jaeger.grpc if protocol == "grpc" else jaeger.http
    service = f"hugbucket-{protocol[:4]}"
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=gateway-0",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with start_gateway(**settings) as gateway:
        s3 = gateway.client()
        s3.create_bucket(Bucket="traced")
        s3.put_object(Bucket="traced", Key="k", Body=b"x" * 100_000)
        assert gateway.stop() == 0

    def traces():
        return jaeger.ask("traces", service=service, operation="S3.PutObject")["data"]

    (trace,) = wait_for(traces, "the trace")
    names = {span["operationName"] for span in trace["spans"]}
    assert {"S3.PutObject", "auth", "body", "cas xorb_upload", "cas shard", "hub commit", "hub batch"} <= names
    root = next(span for span in trace["spans"] if span["operationName"] == "S3.PutObject")
    tags = {tag["key"]: tag["value"] for tag in root["tags"]}
    assert tags["span.kind"] == "server" and tags["http.response.status_code"] == 200
    (process,) = trace["processes"].values()
    assert {"key": "k8s.pod.name", "type": "string", "value": "gateway-0"} in process["tags"]
