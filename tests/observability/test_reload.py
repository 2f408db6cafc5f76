"""What counts without a restart: credentials, the Hub token, the certificate, and the log level."""

import json
import os
import signal
import subprocess

import pytest
from botocore.exceptions import ClientError
from stand import ACCESS_KEY, BINARY, SECRET_KEY, clean_environment, wait_for

NEW_SECRET = "canary-secret-new"
LAST = "hugbucket_config_last_reload_successful"


class Mount:
    """A folder as Kubernetes mounts a Secret: files are links through `..data`, which is swapped as a whole."""

    def __init__(self, root):
        self.root, self.version = root, 0
        root.mkdir()

    def put(self, **files):
        self.version += 1
        folder = self.root / f"..{self.version}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"..data/{name}")
        (self.root / "..data_tmp").symlink_to(folder.name)
        os.rename(self.root / "..data_tmp", self.root / "..data")

    def __truediv__(self, name):
        return self.root / name


def is_let_in(gateway, secret):
    try:
        gateway.client(secret=secret).list_buckets()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "SignatureDoesNotMatch"
        return False
    return True


def shows(gateway, line):
    return line in gateway.metrics().splitlines()


@pytest.fixture
def mounted(start_gateway, tmp_path):
    """A gateway whose credentials and configuration lie in mounted folders."""
    secret, config = Mount(tmp_path / "secret"), Mount(tmp_path / "config")
    secret.put(id=ACCESS_KEY, secret=SECRET_KEY)
    config.put(toml='log = "error"\n')
    settings = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_ACCESS_KEY_ID_FILE": secret / "id",
        "AWS_SECRET_ACCESS_KEY_FILE": secret / "secret",
        "HUGBUCKET_CONFIG": config / "toml",
    }
    with start_gateway(**settings) as gateway:
        yield gateway, secret, config


def test_a_swapped_secret_counts_without_a_restart_or_a_signal(mounted):
    gateway, secret, _ = mounted
    assert is_let_in(gateway, SECRET_KEY) and not is_let_in(gateway, NEW_SECRET)
    secret.put(id=ACCESS_KEY, secret=NEW_SECRET)
    wait_for(lambda: is_let_in(gateway, NEW_SECRET), "the new secret")
    assert not is_let_in(gateway, SECRET_KEY), "the old one is gone"
    assert shows(gateway, f"{LAST} 1")
    assert gateway.process.poll() is None


def test_a_signal_makes_it_count_at_once_and_a_broken_one_leaves_the_old(mounted):
    gateway, secret, _ = mounted
    secret.put(id=ACCESS_KEY, secret="")
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: shows(gateway, f"{LAST} 0"), "the failure")
    assert is_let_in(gateway, SECRET_KEY)
    said = [line for line in gateway.lines() if "cannot be used" in line["message"]]
    assert len(said) == 1 and "AWS_SECRET_ACCESS_KEY_FILE" in said[0]["problem"]
    secret.put(id=ACCESS_KEY, secret=NEW_SECRET)
    gateway.process.send_signal(signal.SIGHUP)
    wait_for(lambda: is_let_in(gateway, NEW_SECRET), "the new secret", seconds=4)
    wait_for(lambda: shows(gateway, f"{LAST} 1"), "the success")
    assert SECRET_KEY not in gateway.log.read_text() and NEW_SECRET not in gateway.log.read_text()


def test_the_log_level_and_further_credentials_follow_the_file(mounted):
    gateway, _, config = mounted
    gateway.client().list_buckets()
    assert not [line for line in gateway.lines() if line["target"] == "hugbucket::access"]
    more = '[[s3_credentials]]\naccess_key_id = "more"\nsecret_access_key = "canary-more"\nrights = "read-only"\n'
    config.put(toml=f'log = "info"\n{more}')
    gateway.process.send_signal(signal.SIGHUP)

    def logs():
        gateway.client().list_buckets()
        return [line for line in gateway.lines() if line["target"] == "hugbucket::access"]

    wait_for(logs, "an access line")
    assert "canary-more" not in gateway.log.read_text()


def test_what_needs_a_restart_says_so(mounted):
    gateway, _, config = mounted
    config.put(toml='log = "warn"\nmax_requests = "7"\n')
    gateway.process.send_signal(signal.SIGHUP)
    said = wait_for(lambda: [line for line in gateway.lines() if "after a restart" in line["message"]], "the warning")
    assert "max_requests" in said[0]["message"]


@pytest.fixture
def devhub(tmp_path):
    """A development Hub of its own, which knows one token."""
    ready = tmp_path / "hub.json"
    command = [BINARY, "devhub", "--dir", tmp_path / "hub", "--ready-file", ready, "--token", "hf_first"]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL)
    try:
        wait_for(ready.exists, "the Hub")
        yield json.loads(ready.read_text())["hub"]
    finally:
        process.kill()
        process.wait()


def test_a_token_that_the_hub_refuses_is_not_used(start_gateway, devhub, tmp_path):
    secret = Mount(tmp_path / "token")
    secret.put(token="hf_first")
    settings = {"HF_TOKEN_FILE": secret / "token", "HF_ENDPOINT": devhub, "HF_TOKEN": None}
    settings = {name: text for name, text in settings.items() if text is not None}
    with start_gateway(**settings) as gateway:
        gateway.client().create_bucket(Bucket="tokens")
        secret.put(token="hf_wrong")
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shows(gateway, f"{LAST} 0"), "the refusal")
        said = wait_for(lambda: [line for line in gateway.lines() if "cannot be used" in line["message"]], "the problem")
        assert "the new HF_TOKEN does not work" in said[0]["problem"] and "hf_wrong" not in gateway.log.read_text()
        gateway.client().put_object(Bucket="tokens", Key="k", Body=b"still served")
        secret.put(token="hf_first")
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shows(gateway, f"{LAST} 1"), "the old token again")
