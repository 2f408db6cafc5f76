"""Helm, as a library and as the commands that `make e2e` builds: each renders the chart, or says why not."""

import os
import subprocess
from pathlib import Path

import yaml

try:
    import helm_python
except ImportError:  # `make helm` installs it; the commands alone will do for `make e2e`.
    helm_python = None

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/hugbucket"
KUBERNETES = "1.32.0"


class Refused(Exception):
    """The chart does not render with these values; the text is Helm's."""


class Library:
    """Helm's Go SDK, version 4."""

    name = "helm 4 (library)"

    def render(self, values, *, chart=CHART, release="rel", namespace="ns"):
        """Returns the texts of the rendered files by name, NOTES.txt among them."""
        try:
            with helm_python.Chart.load(chart) as loaded:
                loaded.validate_schema(values)
                return loaded.render(values, name=release, namespace=namespace)
        except helm_python.HelmError as error:
            raise Refused(str(error)) from error

    def lint(self, values, chart=CHART):
        """Returns what `helm lint --strict` has to say of at least a warning's weight."""
        report = helm_python.lint(chart, values, strict=True, namespace="ns", kube_version=f"v{KUBERNETES}")
        return report["errors"] + [said["error"] for said in report["messages"] if said["severity"] >= 2]


class Command:
    """The helm command at a path. Unlike the library, it shows no notes without a cluster."""

    def __init__(self, name, path):
        self.name, self.path = name, path

    def render(self, values, *, chart=CHART, release="rel", namespace="ns"):
        common = ["--namespace", namespace, "--values", "-", release, str(chart)]
        return {"manifests.yaml": self._run(values, "template", "--kube-version", KUBERNETES, *common)}

    def lint(self, values, chart=CHART):
        try:
            self._run(values, "lint", "--strict", "--kube-version", KUBERNETES, "--values", "-", str(chart))
        except Refused as refused:
            return [str(refused)]
        return []

    def _run(self, values, *arguments):
        done = subprocess.run(
            [self.path, *arguments], input=yaml.safe_dump(values or {}), capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout


def renderers():
    """Returns those that are here: the library, and the commands that `make e2e` built."""
    commands = [Command(f"helm {major}", path) for major in (3, 4) if (path := built(f"helm{major}"))]
    return ([Library()] if helm_python else []) + commands


def built(name):
    """Returns the path of a program in the folder that HUGBUCKET_GO_TOOLS names, or nothing."""
    path = Path(os.environ.get("HUGBUCKET_GO_TOOLS", "/nowhere")) / name
    return path if path.exists() else None


def objects(rendered):
    """Returns the Kubernetes objects of what was rendered."""
    texts = [text for name, text in rendered.items() if not name.endswith("NOTES.txt")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]
