"""A second opinion on the rendered objects: kubeconform, where `make e2e` has built it."""

import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from renderers import built, objects
from test_render import CUSTOM

KUBECONFORM = built("kubeconform")
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = ["1.29.0", "1.32.0", kubernetes_validate.latest_version()]
DEFINITIONS = "/api/_definitions.json"

pytestmark = pytest.mark.skipif(not KUBECONFORM, reason="kubeconform is not here")


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    """The schemas that come with kubernetes-validate, whose references begin at a root that kubeconform does not have."""
    root = tmp_path_factory.mktemp("schemas")
    for version in VERSIONS:
        folder = root / f"v{version}"
        folder.mkdir()
        for path in (SCHEMAS / f"v{version}-local-strict").glob("*-v*.json"):
            (folder / path.name).write_text(path.read_text().replace(DEFINITIONS, f"file://{folder}/_definitions.json"))
        definitions = (SCHEMAS / f"v{version}-local-strict/_definitions.json").read_text()
        (folder / "_definitions.json").write_text(definitions.replace(DEFINITIONS, ""))
    return f"{root}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def verdict(found, version, location):
    text = "---\n".join(yaml.safe_dump(one) for one in found)
    arguments = ["-strict", "-kubernetes-version", version, "-schema-location", location, "-skip", ",".join(CUSTOM), "-summary"]
    return subprocess.run([KUBECONFORM, *arguments], input=text, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubeconform_agrees(helm, values, version, location):
    found = objects(helm.render(values))
    done = verdict(found, version, location)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = [one | {"unknown": 1} if one["kind"] == "Deployment" else one for one in found]
    done = verdict(broken, version, location)
    assert done.returncode == 1 and "Invalid: 1, Errors: 0" in done.stdout, done.stdout
