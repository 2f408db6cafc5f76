"""Fixtures of the chart's tests: the helm that renders, and the values of `ci/`."""

import copy

import pytest
import yaml
from renderers import CHART, objects, renderers

CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
LEAST = {"credentials": {"hfToken": "hf_canary_token", "accessKeyId": "canary-key", "secretAccessKey": "canary-secret"}}


def pytest_generate_tests(metafunc):
    if "helm" in metafunc.fixturenames:
        found = renderers()
        assert found, "there is no helm: neither the library nor a command in HUGBUCKET_GO_TOOLS"
        metafunc.parametrize("helm", found, ids=[one.name for one in found])
    if "ci" in metafunc.fixturenames:
        metafunc.parametrize("ci", sorted(CI))


def merged(*parts):
    """Returns values as Helm merges them: maps deeply, everything else replaced."""
    result = {}
    for part in parts:
        for key, value in copy.deepcopy(part).items():
            if isinstance(value, dict) and isinstance(result.get(key), dict):
                value = merged(result[key], value)
            result[key] = value
    return result


@pytest.fixture
def values(ci):
    """The values of one file of `ci/`."""
    return yaml.safe_load(CI[ci].read_text())


@pytest.fixture
def rendered(helm):
    """Returns the objects of the least values and the given ones."""

    def render(*parts, **arguments):
        return objects(helm.render(merged(LEAST, *parts), **arguments))

    return render


def of_kind(found, kind, name=None):
    """Returns the one object of a kind, and of a name if there are several."""
    matching = [one for one in found if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(matching) == 1, f"{len(matching)} objects {kind} {name or ''}"
    return matching[0]


def gateway(found):
    """Returns the gateway's container, and its pod's spec."""
    pod = of_kind(found, "Deployment")["spec"]["template"]["spec"]
    return next(one for one in pod["containers"] if one["name"] == "hugbucket"), pod


def environment(found):
    """Returns the gateway's variables that have a value of their own."""
    return {one["name"]: one.get("value") for one in gateway(found)[0]["env"]}
