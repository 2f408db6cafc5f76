"""What single values do, and what combinations are refused for."""

import json

import pytest
import yaml
from conftest import LEAST, environment, gateway, merged, of_kind
from renderers import ROOT, Refused, objects

FTP = {"ftp": {"enabled": True, "plaintext": "always"}, "credentials": {"ftpUsername": "canary-user", "ftpPassword": "canary-password"}}


def test_replicas_remember_only_what_they_are_told_the_changes_of(rendered):
    def chosen(*parts):
        variables = environment(rendered(*parts))
        return variables["HUGBUCKET_FILE_INFO_CACHE_TTL"], variables["HUGBUCKET_CHANGE_FEED"]

    without = {"caches": {"changeFeed": "off"}}
    assert chosen() == ("30 s", "auto")
    assert chosen(without) == ("30 s", "off")
    for several in (
        {"replicaCount": 2},
        {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2}},
    ):
        assert chosen(several) == ("30 s", "required")
        assert chosen(several, without) == ("0", "off")
    assert chosen({"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 1}, "replicaCount": 5}) == ("30 s", "auto")
    assert chosen({"replicaCount": 2, "caches": {"fileInfoTtl": "5 s"}}) == ("5 s", "auto"), "somebody accepts five seconds"
    assert chosen({"replicaCount": 2, "caches": {"fileInfoTtl": "0"}}) == ("0", "auto")


def test_the_disk_cache_lies_in_the_pod_or_on_the_node(rendered):
    def volume(*parts):
        found = rendered(*parts)
        container, pod = gateway(found)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {one["name"]: one for one in pod["volumes"]}
        assert mounts.get("disk-cache") == environment(found).get("HUGBUCKET_DISK_CACHE_DIR")
        return volumes.get("disk-cache"), environment(found).get("HUGBUCKET_DISK_CACHE_MAX_BYTES")

    assert volume() == (None, None)
    on = {"diskCache": {"enabled": True}}
    # The volume's own limit ends the pod, so the gateway's must be reached first.
    assert volume(on) == ({"name": "disk-cache", "emptyDir": {"sizeLimit": "11328Mi"}}, "10 GiB")
    shared, size = volume(on, {"diskCache": {"hostPath": "/mnt/cache", "maxBytes": "1 TiB"}})
    assert shared["hostPath"] == {"path": "/mnt/cache", "type": "DirectoryOrCreate"} and size == "1 TiB"


def test_an_existing_secret_is_mounted_and_none_is_made(rendered):
    found = rendered({"credentials": {"existingSecret": "mine", "hfToken": "", "accessKeyId": "", "secretAccessKey": ""}})
    assert not any(one["kind"] == "Secret" for one in found)
    volume = next(one for one in gateway(found)[1]["volumes"] if one["name"] == "credentials")
    assert volume["secret"]["secretName"] == "mine"


def test_a_changed_credential_or_setting_replaces_the_pods_and_nothing_else_does(rendered):
    def annotations(*parts):
        return of_kind(rendered(*parts), "Deployment")["spec"]["template"]["metadata"]["annotations"]

    first = annotations()
    assert annotations({"credentials": {"secretAccessKey": "another"}})["checksum/secret"] != first["checksum/secret"]
    assert annotations({"log": {"level": "debug"}})["checksum/config"] != first["checksum/config"]
    assert annotations({"ingress": {"enabled": True, "hosts": ["a.example.org"]}}) == first


def test_without_ftp_there_is_nothing_of_it(rendered):
    found = rendered()
    assert environment(found)["HUGBUCKET_FTP_ADDR"] == "off"
    assert not any(one["metadata"]["name"].endswith("-ftp") for one in found)


def test_the_ftp_service_lists_every_passive_port_and_keeps_clients_on_their_pod(rendered):
    found = rendered(FTP, {"ftp": {"passivePorts": {"first": 30000, "last": 30099}}})
    service = of_kind(found, "Service", "rel-hugbucket-ftp")["spec"]
    ports = {port["name"]: port["port"] for port in service["ports"]}
    assert ports.pop("ftp") == 21
    assert sorted(ports.values()) == list(range(30000, 30100))
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert service["sessionAffinity"] == "ClientIP"
    assert environment(found)["HUGBUCKET_FTP_PASSIVE_PORTS"] == "30000-30099"


def test_with_a_certificate_ftp_needs_no_plain_text(rendered):
    found = rendered(FTP, {"ftp": {"plaintext": "never", "implicitTls": {"enabled": True}}, "tls": {"existingSecret": "cert"}})
    variables = environment(found)
    assert variables["HUGBUCKET_FTP_PLAINTEXT"] == "never" and variables["HUGBUCKET_FTPS_ADDR"] == "0.0.0.0:2990"
    ports = {port["name"]: port["port"] for port in of_kind(found, "Service", "rel-hugbucket-ftp")["spec"]["ports"]}
    assert ports["ftps"] == 990
    own = rendered(FTP, {"ftp": {"plaintext": "never", "tls": {"existingSecret": "cert"}}})
    assert "HUGBUCKET_TLS_CERT_FILE" not in environment(own), "S3 stays plain"
    assert environment(own)["HUGBUCKET_FTP_TLS_CERT_FILE"].endswith("/ftp-tls/tls.crt")
    assert {volume["name"]: volume.get("secret", {}).get("secretName") for volume in gateway(own)[1]["volumes"]}["ftp-tls"] == "cert"
    assert variables["HUGBUCKET_TLS_CERT_FILE"].endswith("/tls.crt")


def test_the_admin_port_is_never_offered_outside(rendered):
    outside = {"s3": {"service": {"type": "LoadBalancer"}}, "ingress": {"enabled": True, "hosts": ["a.example.org"]}}
    found = rendered(FTP, outside, {"httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}})
    assert of_kind(found, "Service", "rel-hugbucket-admin")["spec"]["type"] == "ClusterIP"
    for one in found:
        if one["kind"] == "Service" and one["spec"]["type"] != "ClusterIP":
            assert all(port["targetPort"] != "admin" for port in one["spec"]["ports"])
        if one["kind"] in ("Ingress", "HTTPRoute"):
            assert "admin" not in json.dumps(one["spec"])


def test_s3_alone_and_ftp_alone(rendered):
    found = rendered(FTP, {"s3": {"enabled": False}, "credentials": {"accessKeyId": "", "secretAccessKey": ""}})
    assert environment(found)["HUGBUCKET_S3_ADDR"] == "off"
    assert {port["name"] for port in gateway(found)[0]["ports"]} == {"ftp", "admin"}
    assert set(of_kind(found, "Secret")["data"]) == {"HF_TOKEN", "FTP_USERNAME", "FTP_PASSWORD"}


def test_the_network_policy_lets_in_what_is_served_and_out_what_is_needed(rendered):
    policy = of_kind(rendered(FTP, {"networkPolicy": {"enabled": True}}), "NetworkPolicy")["spec"]
    clients, scrapers = policy["ingress"]
    assert "from" not in clients
    assert {"port": 30000, "endPort": 30049, "protocol": "TCP"} in clients["ports"]
    assert [port["port"] for port in scrapers["ports"]] == ["admin"]
    assert scrapers["from"], "an empty list would let everybody in"
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [443]]


def test_autoscaling_takes_the_place_of_the_replica_count(rendered):
    found = rendered({"autoscaling": {"enabled": True}})
    assert "replicas" not in of_kind(found, "Deployment")["spec"]
    scaler = of_kind(found, "HorizontalPodAutoscaler")
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert scaler["spec"]["scaleTargetRef"]["name"] == of_kind(found, "Deployment")["metadata"]["name"]


def test_a_disruption_budget_never_blocks_a_drain(rendered):
    budget = lambda *parts: of_kind(rendered({"podDisruptionBudget": {"enabled": True}}, *parts), "PodDisruptionBudget")["spec"]  # noqa: E731
    assert budget()["maxUnavailable"] == 1
    assert budget({"podDisruptionBudget": {"maxUnavailable": 0}})["maxUnavailable"] == 0
    assert budget({"replicaCount": 3, "podDisruptionBudget": {"minAvailable": 2}})["minAvailable"] == 2
    assert budget({"podDisruptionBudget": {"minAvailable": "50%"}})["minAvailable"] == "50%"


def test_the_operators_rule_holds_the_alerts_of_the_grafana_folder(rendered):
    rule = of_kind(rendered({"prometheusRule": {"enabled": True, "extraGroups": [{"name": "own", "rules": []}]}}), "PrometheusRule")
    groups = yaml.safe_load((ROOT / "grafana/hugbucket.rules.yml").read_text())["groups"]
    assert rule["spec"]["groups"] == [*groups, {"name": "own", "rules": []}]


def test_the_dashboards_config_map_holds_it_byte_for_byte(rendered):
    found = rendered({"grafanaDashboard": {"enabled": True}})
    held = of_kind(found, "ConfigMap", "rel-hugbucket-dashboard")["data"]["hugbucket.json"]
    assert held.rstrip("\n") == (ROOT / "grafana/hugbucket.json").read_text().rstrip("\n")


def test_the_monitor_scrapes_the_admin_service_as_the_job_that_alerts_look_for(rendered):
    found = rendered({"serviceMonitor": {"enabled": True}})
    monitor = of_kind(found, "ServiceMonitor")["spec"]
    matching = [
        one["metadata"]["name"]
        for one in found
        if one["kind"] == "Service" and monitor["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert matching == ["rel-hugbucket-admin"]
    assert monitor["endpoints"][0]["relabelings"][0] == {"targetLabel": "job", "replacement": "hugbucket"}


def test_traces_carry_the_pods_name_and_headers_come_from_a_secret(rendered):
    tracing = {"enabled": True, "endpoint": "http://c:4318", "headers": {"existingSecret": "otel"}}
    found = rendered({"tracing": tracing})
    variables = {one["name"]: one for one in gateway(found)[0]["env"]}
    assert variables["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]["secretKeyRef"]["name"] == "otel"
    names = list(variables)
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES"), "only what stands before is expanded"
    assert not any(name.startswith("OTEL_") for name in environment(rendered()))


def test_notes_name_the_commands_of_this_release(helm):
    notes = [text for name, text in helm.render(LEAST).items() if name.endswith("NOTES.txt")]
    if not notes:
        pytest.skip(f"{helm.name} shows no notes without a cluster")
    for part in (
        "service/rel-hugbucket 9000:9000",
        "get secret rel-hugbucket -o go-template='{{index .data \"AWS_SECRET_ACCESS_KEY\" | base64decode}}'",
        "aws s3 mb s3://demo",
        "curl --aws-sigv4",
        "helm -n ns test rel",
    ):
        assert part in notes[0], notes[0]


@pytest.mark.parametrize("release, override, expected", [("hugbucket", {}, "hugbucket"), ("a", {"fullnameOverride": "b"}, "b"), ("a" * 53, {}, "a" * 50)])
def test_names_are_short_enough_for_what_hangs_on_them(rendered, release, override, expected):
    found = rendered(FTP, override, release=release)
    assert of_kind(found, "Deployment")["metadata"]["name"] == expected
    assert all(len(one["metadata"]["name"]) <= 63 for one in found)


REFUSED = {
    "nothing is given": ({"credentials": {"hfToken": "", "accessKeyId": "", "secretAccessKey": ""}}, "credentials are missing: name a Secret"),
    "half a credential": ({"credentials": {"secretAccessKey": ""}}, "credentials are missing"),
    "both ways": ({"credentials": {"existingSecret": "mine"}}, "choose one, existingSecret or values"),
    "ftp without a user": ({"ftp": {"enabled": True}}, "give credentials.ftpUsername and credentials.ftpPassword"),
    "ftp that nobody could use": (merged(FTP, {"ftp": {"plaintext": "never"}}), "nobody could log in"),
    "implicit TLS without a certificate": (merged(FTP, {"ftp": {"implicitTls": {"enabled": True}}}), "ftp.implicitTls.enabled: name a certificate"),
    "nothing to serve": ({"s3": {"enabled": False}}, "there is nothing to serve"),
    "too many passive ports": (merged(FTP, {"ftp": {"passivePorts": {"first": 30000, "last": 30100}}}), "101 ports are too many"),
    "ports the wrong way round": (merged(FTP, {"ftp": {"passivePorts": {"first": 30010, "last": 30000}}}), "first (30010) is greater than last (30000)"),
    "a passive port that is taken": (merged(FTP, {"ftp": {"passivePorts": {"first": 9000, "last": 9010}}}), "port 9000 is another listener's"),
    "a grace period that cuts the drain": ({"terminationGracePeriodSeconds": 30}, "need at least 40 seconds"),
    "memory for less than the caches": ({"resources": {"limits": {"memory": "512Mi"}}}, "512 MiB are less than caches and budgets may take; give at least 1152 MiB"),
    "a secret in the file": ({"config": "[[s3_credentials]]\naccess_key_id = \"a\"\nsecret_access_key = \"b\"\n"}, "secrets do not belong into a ConfigMap"),
    "traces to nowhere": ({"tracing": {"enabled": True}}, "give the collector's address in tracing.endpoint"),
    "scaling backwards": ({"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}, "minReplicas (5) is greater than maxReplicas (2)"),
    "scaling by nothing": ({"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}}, "there is no metric to scale by"),
    "scaling by a share of nothing": ({"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}, "needs resources.requests.cpu"),
    "a budget with two answers": ({"podDisruptionBudget": {"enabled": True, "minAvailable": 1, "maxUnavailable": 1}}, "not both"),
    "a budget that blocks drains": ({"podDisruptionBudget": {"enabled": True, "minAvailable": 1}}, "1 of 1 pods would block every drain"),
    "an ingress without a host": ({"ingress": {"enabled": True}}, "at least one host"),
    "a route without a gateway": ({"httpRoute": {"enabled": True}}, "at least one Gateway"),
    "an ingress to nothing": (merged(FTP, {"s3": {"enabled": False}, "ingress": {"enabled": True, "hosts": ["a.example.org"]}}), "s3.enabled is false"),
    "a development Hub for two": ({"development": {"enabled": True}, "replicaCount": 2}, "each pod would have a development Hub of its own"),
    "a development Hub with a token": ({"development": {"enabled": True}}, "brings its own credentials"),
}


@pytest.mark.parametrize("values, sentence", REFUSED.values(), ids=REFUSED.keys())
def test_values_that_do_not_fit_are_refused_with_a_sentence(helm, values, sentence):
    with pytest.raises(Refused) as refused:
        helm.render(merged(LEAST, values))
    assert sentence in str(refused.value)
    assert "canary-secret" not in str(refused.value)


MALFORMED = {
    "an unknown key": ({"replicas": 3}, "replicas"),
    "an unknown key below": ({"tls": {"secret": "a"}}, "/tls"),
    "a type for the admin service": ({"admin": {"service": {"type": "LoadBalancer"}}}, "/admin/service"),
    "a count that is a text": ({"replicaCount": "two"}, "/replicaCount"),
    "a size in another unit": ({"caches": {"xorbMaxBytes": "512 MB"}}, "/caches/xorbMaxBytes"),
    "a time in another unit": ({"limits": {"headTimeout": "2 min"}}, "/limits/headTimeout"),
    "a port that needs a privilege": ({"s3": {"port": 80}}, "/s3/port"),
    "a visibility that does not exist": ({"s3": {"defaultVisibility": "secret"}}, "/s3/defaultVisibility"),
    "a digest that is a tag": ({"image": {"digest": "latest"}}, "/image/digest"),
    "an extra credential without its Secret": ({"s3": {"extraCredentials": [{"accessKeyId": "a"}]}}, "/s3/extraCredentials/0"),
    "a cache in no directory": ({"diskCache": {"hostPath": "cache"}}, "/diskCache/hostPath"),
    "a feed by another name": ({"caches": {"changeFeed": "required"}}, "/caches/changeFeed"),
    "a host name for passive clients": ({"ftp": {"passiveHost": "ftp.example.org"}}, "/ftp/passiveHost"),
}


@pytest.mark.parametrize("values, place", MALFORMED.values(), ids=MALFORMED.keys())
def test_values_of_another_shape_are_refused_by_the_schema(helm, values, place):
    with pytest.raises(Refused) as refused:
        helm.render(merged(LEAST, values))
    assert place in str(refused.value) and "template" not in str(refused.value)
