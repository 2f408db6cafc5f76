"""What the chart renders, for every file of values in `ci/` and every helm that is here."""

import base64
import re
import shutil
import tomllib

import kubernetes_validate
import pytest
import yaml
from conftest import environment, gateway, merged, of_kind
from renderers import CHART, objects

VERSIONS = ["1.29", "1.32", kubernetes_validate.latest_version()]
# Objects of operators, whose schemas Kubernetes does not have.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}


def test_lint_finds_nothing(helm, values):
    assert helm.lint(values) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_takes(helm, values, version):
    found = objects(helm.render(values))
    assert found
    for one in found:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_an_unknown_field_would_be_found(helm, values):
    deployment = of_kind(objects(helm.render(values)), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.32", strict=True)


def test_every_object_has_the_labels_and_a_name_of_its_own(helm, values):
    found = objects(helm.render(values))
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)
    own = [one for one in found if "hugbucket" in one["metadata"]["name"] and "extra" not in one["metadata"]["name"]]
    for one in own:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "hugbucket"
        assert labels["app.kubernetes.io/instance"] == "rel"
        assert labels["app.kubernetes.io/component"] in ("gateway", "test")


def pods(found):
    for one in found:
        if one["kind"] == "Pod":
            yield one["spec"]
        elif one["kind"] == "Deployment":
            yield one["spec"]["template"]["spec"]


def test_pods_meet_the_restricted_standard(helm, values):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and what goes beyond it."""
    for pod in pods(objects(helm.render(values))):
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] == 65532
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        allowed = {"configMap", "secret", "projected", "emptyDir"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod.get("volumes", []))
        for container in pod["containers"] + pod.get("initContainers", []):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"]["drop"] == ["ALL"] and "add" not in own["capabilities"]
            assert not own.get("privileged")
            assert all("hostPort" not in port for port in container.get("ports", []))
        container = next(one for one in pod["containers"] if one["name"] in ("hugbucket", "healthcheck"))
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


CANARIES = ("hf_canary_token", "canary-secret", "canary-password")


def test_no_secret_is_rendered_outside_of_a_secret(helm, values):
    held = yaml.safe_dump(values)
    present = [canary for canary in CANARIES if canary in held]
    rendered = helm.render(values)
    found = objects(rendered)
    elsewhere = yaml.safe_dump([one for one in found if one["kind"] != "Secret"])
    elsewhere += "".join(text for name, text in rendered.items() if name.endswith("NOTES.txt"))
    for canary in present:
        encoded = base64.b64encode(canary.encode()).decode()
        assert canary not in elsewhere and encoded not in elsewhere
    secrets = [value for one in found if one["kind"] == "Secret" for value in one["data"].values()]
    assert {base64.b64decode(value).decode() for value in secrets} >= set(present)


def test_secrets_reach_the_gateway_as_files_only(helm, values):
    found = objects(helm.render(values))
    container, pod = gateway(found)
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert len(set(mounts.values())) == len(mounts)
    assert all("subPath" not in mount for mount in container["volumeMounts"]), "Kubernetes never renews a subPath"
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
    for name, text in environment(found).items():
        secret = re.fullmatch(r"(HF_TOKEN|AWS_\w+?|FTP_(USERNAME|PASSWORD))(_FILE)?", name)
        assert not secret or (secret[3] and text.startswith(mounts["credentials"]))
    if "credentials" in mounts:
        volume = next(one for one in pod["volumes"] if one["name"] == "credentials")["secret"]
        files = {f"{mounts['credentials']}/{item['path']}" for item in volume["items"]}
        assert files == {text for name, text in environment(found).items() if text and text.startswith(mounts["credentials"])}


def test_the_configuration_file_is_toml_and_its_files_are_mounted(helm, values):
    found = objects(helm.render(values))
    container, pod = gateway(found)
    config = of_kind(found, "ConfigMap", pod["volumes"][0]["configMap"]["name"])
    document = tomllib.loads(config["data"]["hugbucket.toml"])
    assert document["log"]
    mounted = {
        f"/etc/hugbucket/extra/{item['path']}"
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }
    named = {one.get("secret_access_key_file") for one in document.get("s3_credentials", [])}
    named |= {one.get("password_file") for one in document.get("ftp_users", [])}
    assert named == mounted


def test_probes_ask_the_admin_port_and_services_find_the_pods(helm, values):
    found = objects(helm.render(values))
    container, _ = gateway(found)
    ports = {port["name"] for port in container["ports"]}
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "admin"}
    template = of_kind(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    services = [one for one in found if one["kind"] == "Service"]
    assert services
    for service in services:
        assert service["spec"]["selector"].items() <= template.items()
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports or str(port["name"]).startswith("passive-")
    tests = [one for one in found if one["kind"] == "Pod"]
    for one in tests:
        assert not any(service["spec"]["selector"].items() <= one["metadata"]["labels"].items() for service in services)


def test_the_grace_period_outlasts_the_drain(helm, values):
    found = objects(helm.render(values))
    container, pod = gateway(found)
    seconds = lambda name: int(environment(found)[name].split()[0])  # noqa: E731
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = sleep + seconds("HUGBUCKET_SHUTDOWN_DELAY") + seconds("HUGBUCKET_SHUTDOWN_TIMEOUT")
    assert pod["terminationGracePeriodSeconds"] > needed + 5


def test_an_upgrade_keeps_selectors_and_names(helm, values, tmp_path):
    """Of a Deployment, the selector cannot change; neither may what other objects select by."""
    newer = tmp_path / "hugbucket"
    shutil.copytree(CHART, newer)
    text = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(text.replace("version: 0.1.0", "version: 9.9.9").replace("appVersion: 0.1.0", "appVersion: 9.9.9"))
    before = objects(helm.render(values))
    more = {"podLabels": {"a": "b"}, "commonLabels": {"c": "d"}, "podAnnotations": {"e": "f"}, "revisionHistoryLimit": 1}
    after = objects(helm.render(merged(values, more), chart=newer))
    assert [(one["kind"], one["metadata"]["name"]) for one in before] == [(one["kind"], one["metadata"]["name"]) for one in after]
    for old, new in zip(before, after, strict=True):
        if old["kind"] in ("Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"):
            assert old["spec"]["selector"] == new["spec"]["selector"]
    assert of_kind(after, "Deployment")["metadata"]["labels"]["helm.sh/chart"] == "hugbucket-9.9.9"
