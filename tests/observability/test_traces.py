"""Traces: what a collector gets of a request, from the client's trace to each attempt of each upstream call."""

import os
import re
import secrets
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError
from stand import ACCESS_KEY, FTP_PASSWORD, FTP_USER, SECRET_KEY, Collector, wait_for
from traffic import MIB, multipart, over_ftp

SERVER, CLIENT, INTERNAL = 2, 3, 1
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collected(start_gateway):
    """A gateway that exports to a collector, with a bucket that holds one object."""
    collector = Collector()
    with start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **SOON) as gateway:
        s3 = gateway.client()
        s3.create_bucket(Bucket="traced")
        s3.put_object(Bucket="traced", Key="large", Body=os.urandom(3 * MIB))
        yield gateway, collector, s3
    collector.close()


def complete(collector, name, has, **where):
    """Waits for a server span whose attributes are `where`, and until its trace has a span of each name in `has`."""

    def found():
        for root in [span for span in list(collector.spans) if span.name == name]:
            if all(root.attributes.get(key) == value for key, value in where.items()):
                tree = [span for span in collector.spans if span.trace_id == root.trace_id]
                if set(has) <= {span.name for span in tree}:
                    return root, tree
        return None

    return wait_for(found, lambda: f"{name} with {has}; there are {[(s.name, s.trace_id[:4]) for s in collector.spans]}")


def below(span, tree):
    """Returns all spans below one."""
    children = [one for one in tree if one.parent == span.id]
    return children + [deeper for child in children for deeper in below(child, tree)]


def test_a_get_shows_what_it_asked_of_whom(collected):
    gateway, collector, s3 = collected
    body = s3.get_object(Bucket="traced", Key="large")["Body"].read()
    has = ["auth", "cache file_info", "cas reconstruction", "xorb xorb"]
    root, tree = complete(collector, "S3.GetObject", has, **{"aws.s3.key": "large"})
    assert root.kind == SERVER
    expected = {
        "http.request.method": "GET",
        "http.route": "/{bucket}/{key+}",
        "aws.s3.bucket": "traced",
        "http.response.status_code": 200,
        "hugbucket.bytes_sent": len(body),
        "operation": "GetObject",
    }
    assert expected.items() <= root.attributes.items(), root.attributes
    assert root.resource["service.name"] == "hugbucket"
    spans = {span.name: span for span in below(root, tree)}
    assert set(has) <= set(spans)
    assert spans["auth"].attributes["kind"] == "sigv4" and spans["auth"].attributes["outcome"] == "ok"
    assert spans["auth"].kind == spans["cache file_info"].kind == INTERNAL
    for name in ("cas reconstruction", "xorb xorb"):
        assert spans[name].kind == CLIENT and spans[name].attributes["http.response.status_code"] in (200, 206)
    assert all(root.start <= span.start and span.end <= root.end + 10**9 for span in spans.values())


def test_a_cold_head_asks_the_hub_and_a_warm_one_nobody(collected):
    _, collector, s3 = collected
    s3.put_object(Bucket="traced", Key="cold", Body=b"x")
    for _ in range(2):
        s3.head_object(Bucket="traced", Key="cold")

    def heads():
        found = [span for span in list(collector.spans) if span.name == "S3.HeadObject" and span.attributes.get("aws.s3.key") == "cold"]
        return sorted(found, key=lambda span: span.start) if len(found) == 2 else None

    cold, warm = wait_for(heads, "two heads")
    results = [one.attributes["result"] for head in (cold, warm) for one in below(head, collector.spans) if one.name == "cache file_info"]
    assert results == ["miss", "hit"]
    assert [one.name for one in below(cold, collector.spans) if one.kind == CLIENT] == ["hub paths_info"]
    assert not [one for one in below(warm, collector.spans) if one.kind == CLIENT]


def test_a_put_shows_its_body_its_xorb_its_shard_and_its_commit(collected):
    _, collector, s3 = collected
    s3.put_object(Bucket="traced", Key="put", Body=os.urandom(2 * MIB))
    has = ["auth", "body", "cas xorb_upload", "cas shard", "hub commit", "hub batch"]
    root, tree = complete(collector, "S3.PutObject", has, **{"aws.s3.key": "put"})
    spans = {span.name: span for span in below(root, tree)}
    assert set(has) <= set(spans)
    assert spans["hub commit"].attributes["batch_lines"] >= 1
    assert root.attributes["http.response.status_code"] == 200
    assert spans["hub batch"].parent == spans["hub commit"].id


def test_a_multipart_upload_with_a_retried_attempt(collected):
    gateway, collector, s3 = collected
    gateway.inject("shard", status=503, kind="status")
    multipart(s3, "traced", key="joined")
    names = {"S3.CreateMultipartUpload", "S3.UploadPart", "S3.UploadPartCopy", "S3.CompleteMultipartUpload", "S3.AbortMultipartUpload"}
    wait_for(lambda: names <= {span.name for span in list(collector.spans)}, names)
    root, tree = complete(collector, "S3.CreateMultipartUpload", ["cas shard"], **{"aws.s3.key": "joined"})
    attempts = sorted((span for span in below(root, tree) if span.name == "cas shard"), key=lambda span: span.start)
    assert [span.attributes["http.response.status_code"] for span in attempts] == [503, 200]
    assert attempts[0].attributes["error.type"] == "503"
    assert "http.request.resend_count" not in attempts[0].attributes


def test_a_call_of_the_hub_that_is_tried_again_counts_its_attempts(collected):
    gateway, collector, s3 = collected
    gateway.inject("paths-info", status=503, kind="status")
    with pytest.raises(ClientError):
        s3.head_object(Bucket="traced", Key="retried")
    root, tree = complete(collector, "S3.HeadObject", ["hub paths_info"], **{"aws.s3.key": "retried"})
    attempts = sorted((span for span in below(root, tree) if span.name == "hub paths_info"), key=lambda span: span.start)
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1]
    assert root.attributes["http.response.status_code"] == 404
    assert root.attributes["error.type"] == "no_such_key" and root.status != 2, "what a client asks wrongly is no error of ours"


def test_the_clients_trace_goes_on(collected):
    gateway, collector, s3 = collected
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    url = s3v4(gateway).generate_presigned_url("get_object", {"Bucket": "traced", "Key": "large"})
    with urlopen(Request(url, headers={"traceparent": f"00-{trace}-{parent}-01"}), timeout=10) as answer:
        answer.read()
        request_id = answer.headers["x-amz-request-id"]
    root = wait_for(lambda: next((span for span in list(collector.spans) if span.trace_id == trace and span.kind == SERVER), None), "the trace")
    assert root.parent == parent and root.name == "S3.GetObject"
    assert root.attributes["request_id"] == request_id
    line = wait_for(lambda: next((line for line in gateway.lines() if line.get("request_id") == request_id), None), "the access line")
    span = line["spans"][0]
    assert (span["trace_id"], span["span_id"], span["request_id"]) == (trace, root.id, request_id)


def s3v4(gateway):
    return gateway.client(signature_version="s3v4")


def test_what_never_reaches_the_stack_has_a_span_too(collected):
    gateway, collector, _ = collected
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{gateway.s3}/traced/key", method="PATCH"), timeout=10)
    root, tree = complete(collector, "S3.Unknown", [], **{"http.request.method": "PATCH"})
    assert root.attributes["http.response.status_code"] == refused.value.code
    assert root.attributes["error.type"] == "MethodNotAllowed"
    assert [span.name for span in tree] == ["S3.Unknown"]


def test_a_client_that_leaves_is_told_as_such(collected):
    gateway, collector, s3 = collected
    s3.put_object(Bucket="traced", Key="huge", Body=os.urandom(24 * MIB))
    body = s3.get_object(Bucket="traced", Key="huge")["Body"]
    body.read(1)
    body.close()
    complete(collector, "S3.GetObject", [], **{"aws.s3.key": "huge", "error.type": "client_disconnect"})


def test_ftp_commands_have_spans_with_the_same_children(collected):
    gateway, collector, _ = collected
    over_ftp(gateway, "traced")
    root, tree = complete(collector, "FTP.STOR", ["hub commit"])
    assert root.kind == SERVER and root.parent == ""
    names = [span.name for span in below(root, tree)]
    assert "body" in names and "hub commit" in names
    inner = [span for span in below(root, tree) if span.name.startswith("FTP.")]
    assert all(span.kind == INTERNAL for span in inner)


def test_no_secret_is_exported_or_logged(collected):
    gateway, collector, _ = collected
    wait_for(lambda: collector.spans, "spans")
    time.sleep(0.2)  # The exporter sends every 50 ms; nothing tells when it has nothing more.
    exported = b"".join(collector.bodies)
    logged = gateway.log.read_bytes()
    for place, content in (("exported", exported), ("logged", logged)):
        for secret in (SECRET_KEY, FTP_PASSWORD, gateway.hub_token, "X-Amz-Signature", "Bearer ", "Signature="):
            assert secret.encode() not in content, f"{secret} is {place}"
    assert ACCESS_KEY.encode() in exported, "who asked is told"


def test_the_access_line_tells_who_did_what(collected):
    gateway, _, s3 = collected
    s3.put_object(Bucket="traced", Key="line", Body=b"hello")
    s3.get_object(Bucket="traced", Key="line")["Body"].read()

    def lines():
        found = [line for line in gateway.lines() if line.get("target") == "hugbucket::access" and line.get("key") == "line"]
        return {line["operation"]: line for line in found} if len(found) >= 2 else None

    got = wait_for(lines, "two lines")["GetObject"]
    assert got["caller"] == ACCESS_KEY and got["bucket"] == "traced"
    assert (got["method"], got["status"], got["sent_bytes"], got["is_whole"]) == ("GET", 200, 5, True)
    assert 0 < got["ttfb_ms"] <= got["duration_ms"]
    assert got["upstream_calls"] >= 1 and got["cache"] in ("miss", "hit")
    assert re.fullmatch(r"[0-9a-f]{32}", got["request_id"]) and got["peer"] == "127.0.0.1"


def test_the_audit_log_has_a_switch_of_its_own(start_gateway):
    for audits in ("false", "true"):
        with start_gateway(HUGBUCKET_AUDIT_LOG=audits, HUGBUCKET_LOG="error") as gateway:
            s3 = gateway.client()
            s3.create_bucket(Bucket="audited")
            s3.put_object(Bucket="audited", Key="k", Body=b"x")
            s3.get_object(Bucket="audited", Key="k")["Body"].read()
            with pytest.raises(ClientError):
                gateway.client(secret="another").get_object(Bucket="audited", Key="k")
            over_ftp(gateway, "audited")
            gateway.stop()
            lines = [(line["operation"], line["status"], line.get("caller")) for line in gateway.lines() if line["target"] == "hugbucket::audit"]
        expected = [
            ("CreateBucket", 200, ACCESS_KEY),
            ("PutObject", 200, ACCESS_KEY),
            ("GetObject", 403, None),
            ("PASS", 230, FTP_USER),
            ("STOR", 226, FTP_USER),
        ]
        assert lines == (expected if audits == "true" else [])


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
    ids=["disabled", "no exporter"],
)
def test_traces_can_be_turned_off(start_gateway, variables):
    collector = Collector()
    with start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **SOON, **variables) as gateway:
        gateway.client().create_bucket(Bucket="untraced")
        assert gateway.stop() == 0
    assert not collector.asked
    collector.close()


def test_without_the_propagator_a_client_cannot_choose_the_trace(start_gateway):
    collector = Collector()
    with start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_PROPAGATORS="none", **SOON) as gateway:
        trace = secrets.token_hex(16)
        with pytest.raises(Exception, match="403"):
            urlopen(Request(f"{gateway.s3}/b/k", headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}), timeout=10)
        assert gateway.stop() == 0
    assert collector.spans and all(span.trace_id != trace for span in collector.spans)
    collector.close()


def test_the_last_spans_leave_with_the_process(start_gateway):
    collector = Collector()
    with start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="600000") as gateway:
        gateway.client().create_bucket(Bucket="late")
        assert not collector.asked
        assert gateway.stop() == 0
    assert "S3.CreateBucket" in {span.name for span in collector.spans}
    collector.close()


def test_a_collector_that_hangs_does_no_harm(start_gateway):
    collector = Collector(hangs=True)
    with start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **SOON) as gateway:
        s3 = gateway.client()
        s3.create_bucket(Bucket="unwatched")
        began = time.monotonic()
        for n in range(200):
            s3.put_object(Bucket="unwatched", Key=f"{n % 5}", Body=b"x")
        assert time.monotonic() - began < 20
        assert collector.asked, "the collector was asked, and hangs"
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 15, "the last spans are not waited for without a bound"
    collector.close()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_is_not_there_does_no_harm(start_gateway, protocol):
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with start_gateway(**endpoint, **SOON) as gateway:
        gateway.client().create_bucket(Bucket="unwatched")
        assert gateway.stop() == 0
