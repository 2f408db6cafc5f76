"""Secrets: nothing that the process says, at any level and in any place, holds one.

The secrets are not listed but found: a proxy between the gateway and its Hub keeps every token and every signed query that goes over
the wire. What the process says is its log, its metrics, its traces, and what it answers to those who did something wrong.
"""

import base64
import hashlib
import hmac
import io
import json
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from ftplib import FTP, FTP_TLS, Error
from http.client import HTTPConnection, HTTPException, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from stand import ACCESS_KEY, BINARY, FTP_PASSWORD, FTP_USER, SECRET_KEY, Collector, clean_environment, wait_for

HUB_TOKEN = "hf_canary-token-51be"
WRONG_SECRET = "canary-mistyped-secret-3d"
WRONG_PASSWORD = "canary-mistyped-password-8a"
MIB = 1 << 20
BUCKET = "secrets"


class Recorder:
    """A forward proxy for plain HTTP that keeps what is secret of everything that passes."""

    def __init__(self):
        self.secrets = set()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                recorder.forward(self)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keep(self, text):
        """Keeps the bearer tokens and the queries with signatures of a text."""
        self.secrets.update(re.findall(r"Bearer ([^\s\"]+)", text))
        self.secrets.update(re.findall(r"\"accessToken\":\s*\"([^\"]+)\"", text))
        for query in re.findall(r"\?([^\s\"\\]*Signature=[^\s\"\\]+)", text):
            self.secrets.update([query, query.rpartition("Signature=")[2]])

    def forward(self, handler):
        url = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        self.keep(f"{handler.path}\n{handler.headers}")
        upstream = HTTPConnection(url.netloc, timeout=30)
        try:
            upstream.request(handler.command, f"{url.path}?{url.query}" if url.query else url.path, body, dict(handler.headers))
            answer = upstream.getresponse()
            try:
                content, is_whole = answer.read(), True
            except IncompleteRead as cut:
                content, is_whole = cut.partial, False
        except (OSError, HTTPException):
            # The gateway is to see a broken connection too.
            handler.close_connection = True
            return
        finally:
            upstream.close()
        self.keep(f"{answer.headers}\n{content.decode(errors='replace')}")
        handler.send_response(answer.status)
        length = answer.headers.get("content-length", str(len(content)))
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                handler.send_header(name, value)
        if handler.command != "HEAD" or "content-length" in answer.headers:
            handler.send_header("content-length", length)
        handler.end_headers()
        if handler.command != "HEAD":
            with suppress(OSError):
                handler.wfile.write(content)
        handler.close_connection |= not is_whole

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(tmp_path):
    """A development Hub in a process of its own."""
    ready = tmp_path / "hub.json"
    command = [BINARY, "devhub", "--dir", tmp_path / "hub", "--ready-file", ready, "--token", HUB_TOKEN]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(ready.exists, "the Hub")
        yield json.loads(ready.read_text())["hub"], process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def certificate(tmp_path):
    """A certificate and its key, as files."""
    openssl = shutil.which("openssl") or pytest.skip("openssl is not here")
    names = tmp_path / "server.crt", tmp_path / "server.key"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*command, "-subj", "/CN=localhost", "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    return names


class Said:
    """What the process answered to those who did something wrong."""

    def __init__(self):
        self.bodies = []

    def refused(self, call, **arguments):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        self.bodies.append(json.dumps(caught.value.response, default=str).encode())

    def raw(self, gateway, method, url, body=b"", headers=None):
        """Sends a request as it is, and keeps a refusal."""
        host = urlsplit(gateway.s3).netloc
        connection = HTTPConnection(host, timeout=60)
        try:
            target = url.removeprefix(gateway.s3)
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 400:
                self.bodies.append(content + str(answer.headers).encode())
            return answer.status, content
        finally:
            connection.close()


def form(gateway, secret, key):
    """Returns the body of a browser's form, and its signature."""
    now = time.gmtime()
    day, stamp = time.strftime("%Y%m%d", now), time.strftime("%Y%m%dT%H%M%SZ", now)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    fields = {
        "key": key,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{ACCESS_KEY}/{day}/us-east-1/s3/aws4_request",
        "x-amz-date": stamp,
    }
    conditions = [{"bucket": BUCKET}] + [{name: value} for name, value in fields.items()]
    policy = base64.b64encode(json.dumps({"expiration": until, "conditions": conditions}).encode()).decode()
    signing = f"AWS4{secret}".encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), hashlib.sha256)
    signature = hmac.digest(signing, policy.encode(), hashlib.sha256).hex()
    fields |= {"policy": policy, "x-amz-signature": signature}
    parts = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    return f'{parts}--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--b--\r\n'.encode(), signature


def over_s3(gateway, said):
    """Sends requests with good and with bad claims, in every form that a claim may have; returns the signatures of links and forms."""
    s3, mistyped = gateway.client(), gateway.client(secret=WRONG_SECRET)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=os.urandom(2 * MIB))
    s3.get_object(Bucket=BUCKET, Key="k")["Body"].read()
    said.refused(mistyped.head_bucket, Bucket=BUCKET)
    said.refused(mistyped.put_object, Bucket=BUCKET, Key="k", Body=b"x")
    said.refused(mistyped.list_buckets)
    secrets = set()
    for client, method, expires in (
        (s3, "get_object", 60),
        (s3, "put_object", 60),
        (mistyped, "get_object", 60),
        (s3, "get_object", 604_800),
    ):
        link = client.generate_presigned_url(method, Params={"Bucket": BUCKET, "Key": "link"}, ExpiresIn=expires)
        secrets.add(re.search(r"Signature=([^&]+)", link)[1])
        verb, body = ("PUT", b"hello") if method == "put_object" else ("GET", b"")
        said.raw(gateway, verb, link, body)
        said.raw(gateway, verb, link + "0", body)
        said.raw(gateway, "DELETE", link)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for secret in (SECRET_KEY, WRONG_SECRET):
        body, signature = form(gateway, secret, "posted")
        secrets.add(signature)
        status, _ = said.raw(gateway, "POST", f"/{BUCKET}", body, headers)
        assert status == (204 if secret == SECRET_KEY else 403)
        said.raw(gateway, "POST", f"/{BUCKET}", body[:-20], headers)
    said.raw(gateway, "GET", f"/{BUCKET}/k", headers={"authorization": f"Bearer {WRONG_SECRET}"})
    said.raw(gateway, "GET", f"/{BUCKET}/k", headers={"authorization": f"AWS {ACCESS_KEY}:{WRONG_SECRET}"})
    return secrets


def over_ftp(gateway, said):
    """Logs in with the right and with a wrong password, with encryption and without."""
    host, port = gateway.ftp.removeprefix("ftp://").split(":")
    for kind in (FTP, FTP_TLS):
        with kind() as ftp:
            said.bodies.append(ftp.connect(host, int(port), timeout=60).encode())
            with pytest.raises(Error) as refused:
                ftp.login(FTP_USER, WRONG_PASSWORD)
            said.bodies.append(str(refused.value).encode())
        with kind() as ftp:
            ftp.connect(host, int(port), timeout=60)
            said.bodies.append(ftp.login(FTP_USER, FTP_PASSWORD).encode())
            if kind is FTP_TLS:
                ftp.prot_p()
            ftp.storbinary(f"STOR /{BUCKET}/by-ftp", io.BytesIO(b"hello"))
            ftp.retrbinary(f"RETR /{BUCKET}/by-ftp", lambda _: None)
            with pytest.raises(Error) as refused:
                ftp.retrbinary(f"RETR /{BUCKET}/nowhere", lambda _: None)
            said.bodies.append(str(refused.value).encode())


def with_faults(gateway, said, hub):
    """Has every upstream call fail, in ways whose errors could name addresses, and goes on reading and writing."""
    gateway.hub, gateway.hub_token = hub, HUB_TOKEN
    s3 = gateway.client(read_timeout=120)
    for at, (route, effect) in enumerate(
        [
            ("xorb-get", {"kind": "status", "status": 500}),
            ("xorb-get", {"kind": "status", "status": 403}),
            ("xorb-get", {"kind": "status", "status": 404}),
            ("xorb-get", {"kind": "reset_before"}),
            ("xorb-get", {"kind": "truncate", "after_bytes": 100}),
            ("xorb-get", {"kind": "corrupt", "at_byte": 2}),
            ("reconstruction", {"kind": "status", "status": 500}),
            ("reconstruction", {"kind": "corrupt", "at_byte": 30}),
            ("reconstruction", {"kind": "truncate", "after_bytes": 50}),
            ("read-token", {"kind": "corrupt", "at_byte": 3}),
            ("write-token", {"kind": "corrupt", "at_byte": 3}),
            ("grant", {"kind": "corrupt", "at_byte": 10}),
            ("grant-put", {"kind": "status", "status": 403}),
            ("grant-put", {"kind": "reset_before"}),
            ("xorb-post", {"kind": "status", "status": 400}),
            ("shard", {"kind": "status", "status": 500}),
            ("shard", {"kind": "shard_error", "retryable": False}),
            ("batch", {"kind": "status", "status": 403}),
            ("batch", {"kind": "corrupt", "at_byte": 5}),
            ("paths-info", {"kind": "corrupt", "at_byte": 5}),
            ("tree", {"kind": "status", "status": 401}),
        ]
    ):
        is_for_good = effect["kind"] in ("status", "corrupt")
        with suppress(OSError):
            gateway.inject(route, times=1 if not is_for_good or effect.get("status") == 500 else 4, **effect)
        if "token" in route or route == "reconstruction":
            gateway.order(expire=["tokens", "urls"])
        for call in (
            lambda: s3.put_object(Bucket=BUCKET, Key=f"fault-{at}", Body=os.urandom(MIB)),
            lambda: s3.get_object(Bucket=BUCKET, Key=f"fault-{at}")["Body"].read(),
            lambda: s3.get_object(Bucket=BUCKET, Key="k", Range="bytes=5-9")["Body"].read(),
            lambda: s3.list_objects_v2(Bucket=BUCKET),
        ):
            try:
                call()
            except ClientError as refused:
                said.bodies.append(json.dumps(refused.response, default=str).encode())
            except Exception as broken:  # noqa: BLE001: a connection that is cut is the right answer to some of them
                said.bodies.append(str(broken).encode())
        gateway.order(clear=True)


def test_nothing_that_the_process_says_holds_a_secret(start_gateway, hub, certificate):
    endpoint, hub_process = hub
    recorder, collector, said = Recorder(), Collector(), Said()
    settings = {
        "HF_TOKEN": HUB_TOKEN,
        "HF_ENDPOINT": endpoint,
        "HTTP_PROXY": recorder.address,
        "HUGBUCKET_LOG": "trace",
        "RUST_LOG": "trace",
        "RUST_BACKTRACE": "full",
        "HUGBUCKET_AUDIT_LOG": "true",
        # Nothing that was fetched once is there the second time, so that every fault is met.
        "HUGBUCKET_XORB_CACHE_MAX_BYTES": "0",
        "HUGBUCKET_RECON_CACHE_MAX_ENTRIES": "0",
        "HUGBUCKET_FTP_TLS_CERT_FILE": certificate[0],
        "HUGBUCKET_FTP_TLS_KEY_FILE": certificate[1],
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with start_gateway(**settings) as gateway:
        signatures = over_s3(gateway, said)
        over_ftp(gateway, said)
        with_faults(gateway, said, endpoint)
        # At last there is nobody any more: errors of connecting could name where to.
        hub_process.kill()
        hub_process.wait()
        said.raw(gateway, "GET", gateway.client().generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "k"}))
        shown = gateway.metrics().encode()
        for path in ("readyz", "livez", "version"):
            said.bodies.append(ask(gateway, path))
        wait_for(lambda: collector.spans, "spans")
        gateway.stop()
        logged = gateway.log.read_bytes()
    recorder.close()
    collector.close()

    key = "".join(line for line in certificate[1].read_text().splitlines() if "-----" not in line)
    secrets = {SECRET_KEY, WRONG_SECRET, FTP_PASSWORD, WRONG_PASSWORD, HUB_TOKEN, key[:40], key[-40:]} | recorder.secrets
    assert len(recorder.secrets) > 10, "the proxy saw tokens and signed addresses"
    assert any("Signature=" in secret for secret in recorder.secrets) and HUB_TOKEN in recorder.secrets
    places = {"logged": logged, "shown as metrics": shown, "exported": b"".join(collector.bodies), "answered": b"\n".join(said.bodies)}
    assert all(places.values()) and b"TRACE" in logged and b"hugbucket::audit" in logged
    for place, content in places.items():
        # Whoever sent a signature that is wrong gets it back, as AWS does it; nobody else does.
        unsaid = secrets if place == "answered" else secrets | signatures
        for secret in sorted(unsaid):
            at = content.find(secret.encode())
            assert at < 0, f"a secret is {place}: {content[max(0, at - 300) : at + 100]!r}"


def ask(gateway, path):
    connection = HTTPConnection(urlsplit(gateway.admin).netloc, timeout=30)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()
    finally:
        connection.close()
