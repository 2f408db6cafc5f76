"""What lies in `deploy/`: that each file is what its reader takes, and that they agree with each other and the code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stand import ROOT
from test_alerts import promtool

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "systemd/hugbucket.service").read_text()
SETTINGS = (ROOT / "src/config/setting.rs").read_text()
KNOWN = set(re.findall(r'"((?:HUGBUCKET|HF|AWS|FTP)_\w+)"', SETTINGS)) | {"HUGBUCKET_REVISION", "HUGBUCKET_IMAGE"}


@pytest.mark.parametrize("path", ["README.md", "compose.yaml", "Dockerfile", "systemd/hugbucket.service"])
def test_every_setting_that_is_named_exists(path):
    named = set(re.findall(r"\bHUGBUCKET_[A-Z_]+[A-Z]", (DEPLOY / path).read_text()))
    assert named and {name.removesuffix("_FILE") if name not in KNOWN else name for name in named} <= KNOWN


def test_the_dockerfile_has_nothing_to_complain_of():
    hadolint = Path(sys.executable).with_name("hadolint")
    arguments = [hadolint, "--ignore", "DL3018", "--ignore", "DL3064", DEPLOY / "Dockerfile"]
    checked = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and not checked.stdout, checked.stdout + checked.stderr


def test_the_image_runs_as_nobody_on_nothing_and_knows_how_it_is():
    last = (DEPLOY / "Dockerfile").read_text().split("FROM scratch")[1]
    for line in ("USER 65532:65532", "STOPSIGNAL SIGTERM", 'CMD ["/hugbucket", "healthcheck"]', "EXPOSE 9000 2121 9464"):
        assert line in last
    assert "RUN" not in last, "there is nothing to run"


def test_what_the_build_needs_is_let_through_and_nothing_else():
    let = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / path).exists() for path in let)
    benches = re.findall(r'^path = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert all(any(path.startswith(one) for one in let) for path in benches), "cargo reads the manifest's targets"


def test_prometheus_takes_its_settings():
    checked = promtool("check", "config", "--syntax-only", DEPLOY / "prometheus.yml")
    assert checked.returncode == 0, checked.stderr
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for one in job["static_configs"] for target in one["targets"]]
    assert [job["job_name"] for job in jobs] == ["hugbucket"] and targets == ["gateway:9464"]
    assert "gateway" in COMPOSE["services"]


def test_compose_mounts_what_is_there_where_it_is_looked_for():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), volume
    sources = yaml.safe_load((DEPLOY / "grafana/datasources.yaml").read_text())["datasources"]
    for source in sources:
        assert source["url"].split("/")[2].split(":")[0] in COMPOSE["services"]
    provider = yaml.safe_load((DEPLOY / "grafana/dashboards.yaml").read_text())["providers"][0]
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert any(path.startswith(provider["options"]["path"]) for path in mounted)


def test_compose_offers_nothing_beyond_this_machine_and_keeps_secrets_in_files():
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    gateway = COMPOSE["services"]["gateway"]
    assert not any("9464" in port for port in gateway["ports"])
    assert gateway["read_only"] and gateway["cap_drop"] == ["ALL"]
    for name, text in gateway["environment"].items():
        assert not re.fullmatch(r"HF_TOKEN|AWS_\w+KEY(_ID)?", name)
        if name.endswith("_FILE"):
            assert text.removeprefix("/run/secrets/") in gateway["secrets"]


def seconds(text):
    return int(re.match(r"\d+", text)[0])


def test_nobody_is_killed_in_mid_drain():
    gateway = COMPOSE["services"]["gateway"]
    drain = seconds(gateway["environment"]["HUGBUCKET_SHUTDOWN_TIMEOUT"])
    assert seconds(gateway["stop_grace_period"]) > drain + 5
    assert int(re.search(r"TimeoutStopSec=(\d+)", UNIT)[1]) > 30 + 5


def systemd_analyze(*arguments):
    path = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not here")
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that exists, which is what is verified besides."""
    path = tmp_path / "hugbucket.service"
    path.write_text(UNIT.replace("/usr/local/bin/hugbucket", "/bin/true"))
    return path


def test_systemd_takes_the_unit(unit):
    verified = systemd_analyze("verify", unit)
    complaints = [line for line in verified.stderr.splitlines() if "hugbucket.service" in line]
    assert not complaints, verified.stderr


def test_the_unit_is_hardened(unit):
    done = systemd_analyze("security", "--offline=true", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@pytest.mark.e2e
def test_the_image_is_built_and_serves(tmp_path, image):
    """Whatever tool is here; the container has a root file system that cannot be written."""
    done = image.run("healthcheck", "--timeout", "1s")
    assert done.returncode == 1 and "127.0.0.1:9464" in done.stderr, done.stderr
    done = image.run("--check-config")
    assert done.returncode == 2 and "HF_TOKEN is not set" in done.stderr, "the image asks for a token"
