"""What the chart says of itself: comments, schema, README, and the copies of what lies elsewhere."""

import json

import pytest
import yaml
from renderers import CHART, ROOT
from values_table import documented, with_table

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_every_value_has_a_comment_and_the_readme_lists_them():
    readme = (CHART / "README.md").read_text()
    assert readme == with_table(readme, VALUES), "run tests/helm/values_table.py --write"


def test_a_value_without_a_comment_is_found():
    with pytest.raises(ValueError, match="a.c has no comment"):
        documented("a:\n  # -- Known.\n  b: 1\n\n  c: 2\n")


def walk(schema, path="values"):
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}.{key}")
    for name, child in schema.get("$defs", {}).items():
        yield from walk(child, f"{path}.$defs.{name}")


def test_the_schema_lets_no_unknown_key_pass():
    for path, schema in walk(SCHEMA):
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, path


def test_schema_and_values_name_the_same_keys():
    def compare(schema, values, path=()):
        if "properties" not in schema or not isinstance(values, dict):
            return
        known = set(schema["properties"]) - {"global"}
        assert known == set(values), ".".join(path)
        for key in known:
            compare(schema["properties"][key], values[key], (*path, key))

    compare(SCHEMA, yaml.safe_load(VALUES))


@pytest.mark.parametrize("name", ["hugbucket.json", "hugbucket.rules.yml"])
def test_dashboard_and_alerts_are_those_of_the_grafana_folder(name):
    assert (CHART / "files" / name).read_bytes() == (ROOT / "grafana" / name).read_bytes()


def test_the_chart_has_the_version_of_the_crate():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (ROOT / "Cargo.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in cargo.split("[features]")[0]
