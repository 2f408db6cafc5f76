"""The alerts, judged by promtool: they parse, and each has a test in which it fires."""

import re
import shutil
import subprocess

import pytest
import yaml
from stand import ROOT

GRAFANA = ROOT / "grafana"
RULES = yaml.safe_load((GRAFANA / "hugbucket.rules.yml").read_text())["groups"][0]["rules"]
ALERTS = [rule for rule in RULES if "alert" in rule]


def promtool(*arguments, **options):
    path = shutil.which("promtool") or pytest.skip("promtool is not here (Debian package prometheus)")
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_the_rules_parse():
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", GRAFANA / "hugbucket.rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_where_it_must_and_nowhere_else():
    tested = promtool("test", "rules", GRAFANA / "hugbucket.test.yml", cwd=GRAFANA)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_wrong_threshold_would_be_found(tmp_path):
    text = (GRAFANA / "hugbucket.rules.yml").read_text()
    for name in ("hugbucket.rules.yml", "hugbucket.test.yml"):
        shutil.copy(GRAFANA / name, tmp_path)
    for was, wrong in (("> 14.4 * 0.001", "> 144 * 0.001"), ("< 0.1\n", "< 0.01\n"), ("[15m]) > 2", "[15m]) > 0")):
        assert was in text
        (tmp_path / "hugbucket.rules.yml").write_text(text.replace(was, wrong))
        assert promtool("test", "rules", "hugbucket.test.yml", cwd=tmp_path).returncode == 1, was


def test_no_alert_is_untested():
    tests = yaml.safe_load((GRAFANA / "hugbucket.test.yml").read_text())["tests"]
    firing = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert firing == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_each_alert_says_what_to_do(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    runbook, anchor = rule["annotations"]["runbook_url"].split("/blob/main/")[1].split("#")
    headings = re.findall(r"^#+ (\w+)$", (ROOT / runbook).read_text(), re.MULTILINE)
    assert rule["alert"] in headings and anchor == rule["alert"].lower()
