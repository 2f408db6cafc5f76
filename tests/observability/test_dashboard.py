"""The dashboard: its form, and its queries against a real Prometheus that scrapes the gateway."""

import json
import re

import pytest
import yaml
from stand import ROOT, Prometheus, wait_for
from test_alerts import ALERTS, RULES, promtool
from traffic import drive

DASHBOARD = json.loads((ROOT / "grafana/hugbucket.json").read_text())
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
# Families of the process collector, which have no prefix of ours.
FAMILY = re.compile(r"\b(hugbucket_\w+|process_\w+|up)\b(?=[{\[ )]|$)")


def test_its_form():
    assert DASHBOARD["schemaVersion"] == 42
    assert DASHBOARD["uid"] == "hugbucket-overview"
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query", "protocol": "query", "operation": "query"}
    titles = [row["title"] for row in ROWS]
    assert titles == [
        "Overview",
        "S3 by operation",
        "FTP",
        "Upstream: Hub and CAS",
        "Caches and deduplication",
        "Multipart and commits",
        "Rejections by layer",
        "Runtime",
    ]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_each_panel_is_described_has_a_unit_and_asks_the_chosen_source(panel):
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert 'job="$job"' in target["expr"] and 'instance=~"$instance"' in target["expr"]
        windows = re.findall(r"\[(\$?\w+)\]", target["expr"])
        assert set(windows) <= {"$__rate_interval"}


def test_no_two_panels_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def config(gateway):
    """The settings of `deploy/`, with the gateway as the target and a second as the interval."""
    settings = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    settings["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    settings["rule_files"] = [str(ROOT / "grafana/hugbucket.rules.yml")]
    job = next(job for job in settings["scrape_configs"] if job["job_name"] == "hugbucket")
    job["static_configs"] = [{"targets": [gateway.admin.removeprefix("http://")]}]
    settings["scrape_configs"] = [job]
    return yaml.safe_dump(settings)


@pytest.fixture(scope="module")
def scraped(start_gateway, tmp_path_factory):
    """A gateway with traffic before and after scrapes of it, and the Prometheus that knows both."""
    with start_gateway() as gateway:
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), gateway, config)
        try:
            wait_for(prometheus.is_scraping, "the first scrape")
            drive(gateway)
            seen = 'sum(count_over_time(hugbucket_ready[5m]))'
            before = count(prometheus, seen)
            wait_for(lambda: count(prometheus, seen) >= before + 2, "two scrapes")
            # Series that appeared with the first round have a rate after the second.
            drive(gateway, rounds=2)
            before = count(prometheus, seen)
            wait_for(lambda: count(prometheus, seen) >= before + 2, "two scrapes")
            yield gateway, prometheus
        finally:
            prometheus.kill()


def count(prometheus, expression):
    return sum(float(sample["value"][1]) for sample in prometheus.query(expression))


def expanded(expression):
    for name, text in {
        "$job": "hugbucket",
        "$instance": ".+",
        "$protocol": ".+",
        "$operation": ".+",
        "$__rate_interval": "1m",
    }.items():
        expression = expression.replace(name, text)
    return expression


@pytest.mark.parametrize("title, query", QUERIES, ids=[f"{title}-{n}" for n, (title, _) in enumerate(QUERIES)])
def test_each_query_returns_data(scraped, title, query):
    _, prometheus = scraped
    samples = prometheus.query(expanded(query))
    assert samples, f"{title}: {query}"
    assert any(sample["value"][1] != "NaN" for sample in samples), f"{title}: {query}"


def test_the_variables_of_the_dashboard_find_values(scraped):
    _, prometheus = scraped
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
            values = {sample["metric"].get(label) for sample in prometheus.query(expanded(metric))}
            assert values - {None}, variable["name"]


def test_every_rule_is_evaluated_and_asks_for_series_that_exist(scraped):
    gateway, prometheus = scraped
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert all(rule["health"] == "ok" for rule in wait_for(lambda: evaluated(prometheus), "an evaluation"))
    known = {line.split()[2] for line in gateway.metrics().splitlines() if line.startswith("# TYPE ")}
    for rule in RULES:
        for family in FAMILY.findall(rule["expr"]):
            base = re.sub(r"_(bucket|count|sum)$", "", family)
            assert family == "up" or base in known or family in known, (rule.get("alert"), family)


def evaluated(prometheus):
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    return rules if all(rule["health"] != "unknown" for rule in rules) else None


def test_a_gateway_that_is_well_fires_no_alert_of_its_own(scraped):
    """Failures were injected, so what counts errors may fire; what tells of the process must not."""
    _, prometheus = scraped
    time_dependent = {"HugbucketErrorBudgetBurnFast", "HugbucketErrorBudgetBurnSlow", "HugbucketUpstreamErrors", "HugbucketHubRateLimited"}
    firing = {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"}
    assert firing <= time_dependent
    assert {rule["alert"] for rule in ALERTS} >= time_dependent


def test_the_exposition_has_nothing_to_complain_of(scraped):
    gateway, _ = scraped
    checked = promtool("check", "metrics", input=gateway.metrics())
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


def series(gateway):
    """Returns the series, without those of errors, which appear when they happen."""
    return {
        line.rsplit(" ", 1)[0]
        for line in gateway.metrics().splitlines()
        if not line.startswith("#") and 'error="' not in line and "outcome=" not in line
    }


def touch(gateway, bucket, keys, tag):
    """Names so many different keys: a thousand in each delete, and some by requests of their own."""
    s3 = gateway.client()
    for first in range(0, keys, 1000):
        objects = [{"Key": f"{tag}/{n}"} for n in range(first, min(first + 1000, keys))]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for n in range(100):
        s3.put_object(Bucket=bucket, Key=f"{tag}/put-{n}", Body=b"x")
        s3.get_object(Bucket=bucket, Key=f"{tag}/put-{n}")["Body"].read()


def test_series_do_not_grow_with_keys_buckets_or_users(scraped):
    gateway, _ = scraped
    before = series(gateway)
    s3 = gateway.client()
    for n in range(10):
        s3.create_bucket(Bucket=f"bucket-{n}")
    touch(gateway, "bucket-0", 10_000, "first")
    assert series(gateway) == before
    assert len(gateway.metrics().splitlines()) < 5000
    assert "put-1" not in gateway.metrics() and "bucket-0" not in gateway.metrics()
