"""The gateway's own verdict on what the chart renders: the real binary reads the files and the environment of the pod."""

import base64
import os
import subprocess

import pytest
from conftest import gateway, of_kind
from renderers import ROOT, objects

BINARY = os.environ.get("HUGBUCKET_BIN", ROOT / "target/debug/hugbucket")
# What lies in Secrets that exist, and what Kubernetes fills in.
ELSEWHERE = {"tls.crt": "certificate", "tls.key": "key"}


def pod_environment(found, root):
    """Lays the mounted files below `root`, and returns the environment with their paths there."""
    container, pod = gateway(found)
    secrets = {one["metadata"]["name"]: one["data"] for one in found if one["kind"] == "Secret"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    def put(volume, path, text):
        file = root / mounts[volume].lstrip("/") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("/etc/hugbucket", f"{root}/etc/hugbucket"))

    for volume in pod["volumes"]:
        name = volume["name"]
        if name == "config":
            for path, text in of_kind(found, "ConfigMap", volume["configMap"]["name"])["data"].items():
                put(name, path, text)
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            secret = source.get("secret", {})
            for item in secret.get("items", []):
                own = secrets.get(secret.get("secretName"), {}).get(item["key"])
                put(name, item["path"], base64.b64decode(own).decode() if own else f"the {item['key']}")
        if name in ("tls", "ftp-tls"):
            for path, text in ELSEWHERE.items():
                put(name, path, text)
    return {
        one["name"]: one.get("value", "x").replace("/etc/hugbucket", f"{root}/etc/hugbucket") for one in container["env"]
    }


def ask(environment, *arguments):
    return subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def test_the_gateway_takes_every_rendered_configuration(helm, values, tmp_path):
    environment = pod_environment(objects(helm.render(values)), tmp_path)
    checked = ask(environment, "--check-config")
    assert checked.returncode == 0, checked.stderr
    assert "is not a variable of hugbucket" not in checked.stderr
    assert "no effect" not in checked.stderr
    shown = ask(environment, "--print-config").stdout
    assert f'log = "{values.get("log", {}).get("level", "info")}"' in shown


def test_a_variable_that_the_gateway_does_not_know_would_be_found(helm, values, tmp_path):
    environment = pod_environment(objects(helm.render(values)), tmp_path) | {"HUGBUCKET_S3_PORT_NUMBER": "9000"}
    assert "HUGBUCKET_S3_PORT_NUMBER" in ask(environment, "--check-config").stderr


@pytest.mark.parametrize("missing", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_without_one_of_its_files_the_gateway_does_not_start(rendered, tmp_path, missing):
    environment = pod_environment(rendered(), tmp_path)
    (tmp_path / f"etc/hugbucket/credentials/{missing}").unlink()
    checked = ask(environment, "--check-config")
    assert checked.returncode == 2 and missing in checked.stderr
