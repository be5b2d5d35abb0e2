"""The Helm chart: what it renders is valid, and names only what the server has."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from shortlist.api.app import PAGE_PATH
from shortlist.api.routes import router
from shortlist.cli import load
from shortlist.config import ENV_PREFIX, Settings, fields
from shortlist.telemetry import Metrics
from tests.support.chart import (
    CHART,
    FULL_NAME,
    Manifest,
    Values,
    containers,
    lint,
    manifests,
    merged,
    missing_helm,
    only,
    pods,
    rendered,
)
from tests.support.promql import series_of

pytestmark = pytest.mark.skipif(missing_helm() is not None, reason=str(missing_helm()))

KUBERNETES = ("1.34", "1.37")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = {"name": "keys"}

HUB: Values = {"model": {"name": "Qwen/Qwen3-Reranker-0.6B", "revision": COMMIT, "task": "reranker"}}
KEDA: Values = {"autoscaling": {"kind": "keda", "prometheusUrl": "http://prometheus:9090", "queueDelaySeconds": 0.5}}
MONITORING: Values = {"monitoring": {"enabled": True, "dashboard": True, "labels": {"release": "prometheus"}}}
INGRESS: Values = {"ingress": {"enabled": True, "host": "search.example.com", "className": "nginx"}}
ALL_SETTINGS: Values = {
    "settings": {
        "max_queue_bytes": 4_294_967_296,
        "max_queue_tokens": 4_000_000,
        "alias": ["a=demo", "b=demo"],
        "cors_origin": ["https://a.example.com"],
        "explain": True,
        "otlp_sample_ratio": 0.25,
        "header_timeout_s": 7,
        "vllm_arg": ["--seed=1"],
        "log_level": "debug",
    }
}

MATRIX: dict[str, Values] = {
    "defaults": {},
    "hub": HUB,
    "hub kept on a claim": merged(HUB, {"storage": {"kind": "claim", "storageClass": "fast"}, "hub": {"token": KEY}}),
    "offline": merged(HUB, {"hub": {"offline": True}, "storage": {"kind": "existing", "existingClaim": "models"}}),
    "modelscope": {"model": {"name": "modelscope:Qwen/Qwen3-Reranker-0.6B"}},
    "folder": {"model": {"name": "/data/mine", "task": "embedder"}, "storage": {"kind": "existing", "existingClaim": "m"}},
    "upstreams": merged(
        HUB, {"settings": {"engine": "vllm", "upstream": ["http://vllm:8000"]}, "secrets": {"upstreamApiKey": KEY}}
    ),
    "secrets": merged(MONITORING, {"secrets": {"apiKey": KEY, "clientKey": KEY, "cacheUrl": {"name": "redis"}}}),
    "settings": ALL_SETTINGS,
    "hpa": {"autoscaling": {"kind": "hpa", "maxReplicas": 8}},
    "keda": KEDA,
    "monitoring": MONITORING,
    "ingress": INGRESS,
    "ingress with TLS": merged(INGRESS, {"ingress": {"tlsSecret": "certificate"}}),
    "network": merged(
        HUB, {"networkPolicy": {"enabled": True, "fromNamespaces": ["apps"], "to": [{"cidr": "10.0.0.7/32", "port": 6379}]}}
    ),
    "gpu": {
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "runtimeClassName": "nvidia",
        "strategy": {"maxSurge": 0, "maxUnavailable": 1},
    },
    "all": merged(
        *(HUB, KEDA, MONITORING, INGRESS, ALL_SETTINGS),
        {
            "networkPolicy": {"enabled": True},
            "storage": {"kind": "claim"},
            "image": {"digest": f"sha256:{COMMIT}{COMMIT[:24]}", "pullSecrets": ["registry"]},
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "service": {"type": "LoadBalancer", "port": 80, "annotations": {"e": "f"}},
        },
    ),
}

every_case = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)


def shown(values: Values, **parts: Any) -> list[Manifest]:
    return manifests(merged(values, parts))


# -- valid --------------------------------------------------------------------------------------------------------------


@every_case
def test_helm_finds_no_fault(values: Values) -> None:
    assert lint(values) == []


@every_case
def test_kubernetes_knows_every_field(values: Values) -> None:
    import jsonschema
    import kubernetes_validate

    operators = yaml.safe_load(Path("tests/deploy/operator_schemas.yaml").read_text(encoding="utf-8"))
    for each in manifests(values):
        if each["kind"] in operators:
            jsonschema.validate(each, operators[each["kind"]])
        else:
            for version in KUBERNETES:
                kubernetes_validate.validate(each, version, strict=True)


def test_what_both_autoscalers_do_is_valid() -> None:
    import kubernetes_validate

    spec = only(manifests(KEDA), "ScaledObject")["spec"]
    hpa = only(manifests(MATRIX["hpa"]), "HorizontalPodAutoscaler")
    hpa["spec"]["behavior"] = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    kubernetes_validate.validate(hpa, KUBERNETES[-1], strict=True)


def test_objects_have_their_own_names() -> None:
    for values in MATRIX.values():
        names = [(each["kind"], each["metadata"]["name"]) for each in manifests(values)]
        assert len(set(names)) == len(names)


@every_case
def test_notes_are_written_without_gaps(values: Values) -> None:
    notes = rendered(values)["NOTES.txt"]
    assert f"http://{FULL_NAME}:" in notes
    assert "<no value>" not in notes


def test_packaged_chart_has_rules_and_dashboard(tmp_path: Path) -> None:
    import helm_python

    archive = Path(helm_python.package(str(CHART), destination=str(tmp_path)))
    assert manifests(MATRIX["all"], archive) == manifests(MATRIX["all"])


# -- closed -------------------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of an object within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)


TYPED_OTHERS = (False, {"type": "string"}, {"type": ["string", "integer"]})
"""Labels, annotations and resources have names that are the user's."""


def test_every_object_of_the_schema_is_closed() -> None:
    assert len(list(objects(SCHEMA))) > 20
    for schema in objects(SCHEMA):
        assert schema["additionalProperties"] in TYPED_OTHERS, schema


def test_every_value_has_a_default_and_a_schema() -> None:
    def compare(values: dict[str, Any], schema: dict[str, Any], place: str) -> None:
        known = set(schema["properties"]) - {"global"}
        assert set(values) == known, place
        for name, value in values.items():
            inner = schema["properties"][name]
            if "properties" in inner and name not in {"settings", "requests"}:
                compare(value, inner, f"{place}.{name}")

    compare(VALUES, SCHEMA, "")


def test_schema_has_the_settings_of_the_code() -> None:
    script = runpy.run_path("scripts/reference.py")
    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == script["chart_schema"](), "python scripts/reference.py"
    own = set(SCHEMA["properties"]["settings"]["properties"])
    assert own | script["CHART_SETS"] == {name for _, name, _ in fields()}


WRONG: list[Values] = [
    {"replica": 2},
    {"replicas": "two"},
    {"model": {"revision": "main"}},
    {"model": {"tasks": "reranker"}},
    {"autoscaling": {"kind": "HPA"}},
    {"autoscaling": {"queueDelaySeconds": 0}},
    {"settings": {"max_batch_token": 1}},
    {"settings": {"max_batch_tokens": "many"}},
    {"settings": {"max_batch_tokens": 0}},
    {"settings": {"api_key": ["secret"]}},
    {"settings": {"port": 9000}},
    {"secrets": {"apiKey": {"secret": "keys"}}},
    {"resources": {"limit": {}}},
    {"tolerations": [{"effects": "NoSchedule"}]},
    {"networkPolicy": {"to": [{"cidr": "10.0.0.1/32"}]}},
    {"image": {"digest": "latest"}},
    {"shutdown": {"drainSeconds": 0}},
]
INCOMPLETE: list[Values] = [
    {"model": {"name": "Qwen/Qwen3-Reranker-0.6B"}},
    {"storage": {"kind": "existing"}},
    merged(HUB, {"hub": {"offline": True}}),
    merged(MONITORING, {"secrets": {"apiKey": KEY}}),
    {"autoscaling": {"kind": "keda"}},
    {"ingress": {"enabled": True}},
]


@pytest.mark.parametrize("values", [*WRONG, *INCOMPLETE], ids=str)
def test_values_that_are_wrong_are_refused(values: Values) -> None:
    import helm_python

    with pytest.raises(helm_python.HelmError):
        manifests(values)


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_linter_refuses_wrong_values(values: Values) -> None:
    assert lint(values), "what a template refuses, Helm's linter only notes"


# -- in agreement with the server ---------------------------------------------------------------------------------------


def settings_of(objects: list[Manifest], folder: Path) -> Settings:
    """Return the settings that the server reads of the rendered file."""
    file = folder / "shortlist.toml"
    file.write_text(only(objects, "ConfigMap")["data"]["shortlist.toml"], encoding="utf-8")
    return Settings.load({"config": file}, environ={})


@every_case
def test_server_reads_the_settings(values: Values, tmp_path: Path) -> None:
    settings = settings_of(manifests(values), tmp_path)
    group_of = {name: group for group, name, _ in fields()}
    for name, value in values.get("settings", {}).items():
        read = getattr(getattr(settings, group_of[name]), name)
        assert (list(read) if isinstance(read, tuple) else read) == value, name
    model = values.get("model", {})
    task = model.get("task", "auto")
    assert getattr(settings.model, "models" if task == "auto" else task) == (model.get("name", "demo"),)
    assert settings.model.revision == model.get("revision")


@every_case
def test_commands_and_flags_exist(values: Values) -> None:
    for each in containers(manifests(values)):
        called: list[str] = [*each["command"], *each["args"]]
        program, name, *words = called
        assert program == "shortlist"
        command = load(name)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= flags, name


LIBRARY_VARIABLES = {"HOME", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "MODELSCOPE_CACHE"}


@every_case
def test_variables_exist(values: Values) -> None:
    names = {f"{ENV_PREFIX}{name.upper()}" for _, name, _ in fields()}
    for each in containers(manifests(values)):
        given = [variable["name"] for variable in each.get("env", ())]
        assert len(set(given)) == len(given)
        own = {f"$({name})" for name in given}
        used = set(re.findall(r"\$\(\w+\)", " ".join(each["args"])))
        assert used <= own
        assert set(given) - {name[2:-1] for name in used} <= names | LIBRARY_VARIABLES


def test_variables_of_the_hub_are_its_librarys() -> None:
    import huggingface_hub

    folder = Path(huggingface_hub.__file__).parent
    source = "".join((folder / name).read_text(encoding="utf-8") for name in ("constants.py", "utils/_auth.py"))
    assert all(f'"{name}"' in source for name in LIBRARY_VARIABLES if name.startswith("HF_"))


GETS = {route.path for route in router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())}


@every_case
def test_paths_exist(values: Values) -> None:
    objects = manifests(values)
    [server] = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["path"] in GETS
        assert server[probe]["httpGet"]["port"] in ports
    assert server["livenessProbe"]["httpGet"]["path"] == "/health", (
        "it fails when an engine has failed, not when a queue is full"
    )
    for each in objects:
        if each["kind"] == "ServiceMonitor":
            assert {endpoint["path"] for endpoint in each["spec"]["endpoints"]} <= GETS
            assert {endpoint["port"] for endpoint in each["spec"]["endpoints"]} <= set(ports)
        if each["kind"] == "Ingress":
            [rule] = each["spec"]["rules"]
            assert {path["path"] for path in rule["http"]["paths"]} <= {"/", PAGE_PATH}


def test_server_listens_where_it_is_asked(tmp_path: Path) -> None:
    objects = manifests({"service": {"port": 80}})
    settings = settings_of(objects, tmp_path).server
    [server] = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert (settings.host, settings.port) == ("0.0.0.0", server["ports"][0]["containerPort"])
    [port] = only(objects, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, server["ports"][0]["name"])


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_autoscalers_go_by_a_metric_of_the_server(kind: str) -> None:
    objects = manifests(MATRIX[kind])
    if kind == "hpa":
        [metric] = only(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
        names = {metric["pods"]["metric"]["name"]}
    else:
        [trigger] = only(objects, "ScaledObject")["spec"]["triggers"]
        names = series_of(trigger["metadata"]["query"])
    assert names == {"shortlist_queue_delay_seconds"}
    assert names <= {family.name for family in Metrics().registry.collect()}
    assert "replicas" not in only(objects, "Deployment")["spec"], "an upgrade would undo what the autoscaler did"


# -- what the server needs of a cluster ---------------------------------------------------------------------------------


@every_case
def test_pods_have_no_more_rights_than_they_need(values: Values) -> None:
    objects = manifests(values)
    for pod in pods(objects):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in (*pod.get("initContainers", ()), *pod["containers"]):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            mounts = {mount["mountPath"]: mount["name"] for mount in each["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert "emptyDir" in volumes[mounts["/tmp"]]
            assert set(mounts.values()) <= set(volumes)


def test_services_of_the_namespace_set_no_variables() -> None:
    for pod in pods(manifests(HUB)):
        assert pod["enableServiceLinks"] is False, "of a service named shortlist, SHORTLIST_PORT would stop the start"


def test_pod_gets_the_time_to_drain(tmp_path: Path) -> None:
    objects = manifests({"shutdown": {"delaySeconds": 10, "drainSeconds": 120}})
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    server = settings_of(objects, tmp_path).server
    assert (server.drain_notice_s, server.drain_timeout_s) == (10, 120)
    assert pod["terminationGracePeriodSeconds"] > 10 + 120


def test_start_may_take_as_long_as_was_said() -> None:
    [server] = only(manifests({"startup": {"timeoutSeconds": 3601}}), "Deployment")["spec"]["template"]["spec"]["containers"]
    probe = server["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 3601


def environment(container: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_model_is_downloaded_at_one_commit_and_the_server_is_offline() -> None:
    pod = only(shown(HUB, hub={"token": KEY}), "Deployment")["spec"]["template"]["spec"]
    [download], [server] = pod["initContainers"], pod["containers"]
    assert download["command"] == ["shortlist", "models", "download"]
    assert download["args"] == ["Qwen/Qwen3-Reranker-0.6B", f"--revision={COMMIT}", "--reranker"]
    assert environment(download)["HF_TOKEN"]["secretKeyRef"]["name"] == "keys"
    assert environment(download)["HF_HOME"] == environment(server)["HF_HOME"]
    assert environment(server)["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in environment(server)


@pytest.mark.parametrize("case", ["defaults", "offline", "folder", "upstreams"])
def test_models_that_are_there_are_not_downloaded(case: str) -> None:
    assert "initContainers" not in only(manifests(MATRIX[case]), "Deployment")["spec"]["template"]["spec"]


def test_offline_nothing_but_names_can_be_reached() -> None:
    objects = shown(MATRIX["offline"], networkPolicy={"enabled": True})
    assert environment(next(containers(objects)))["HF_HUB_OFFLINE"] == "1"
    policy = only(objects, "NetworkPolicy")["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_policy_lets_the_named_namespaces_and_addresses_through() -> None:
    policy = only(manifests(MATRIX["network"]), "NetworkPolicy")["spec"]
    [ingress] = policy["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}} in ingress["from"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6379]


def test_secrets_are_never_written_into_objects() -> None:
    [server] = only(manifests(MATRIX["secrets"]), "Deployment")["spec"]["template"]["spec"]["containers"]
    given = environment(server)
    for name, secret in (("SHORTLIST_API_KEY", "keys"), ("SHORTLIST_CACHE_URL", "redis")):
        assert given[name]["secretKeyRef"]["name"] == secret


def test_changed_setting_restarts_the_pods() -> None:
    def checksum(values: Values) -> str:
        found: str = only(manifests(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        return found

    assert checksum({}) == checksum({"replicas": 3})
    assert checksum({}) != checksum({"settings": {"log_level": "debug"}})


def test_selectors_find_the_servers_and_not_the_test() -> None:
    objects = manifests(MATRIX["all"])
    template = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test = only(objects, "Pod", suffix="-test")["metadata"]["labels"]
    selectors = [
        only(objects, "Deployment")["spec"]["selector"]["matchLabels"],
        only(objects, "Service")["spec"]["selector"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= template.items()
        assert not selector.items() <= test.items()
    monitored = only(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= only(objects, "Service")["metadata"]["labels"].items()


def test_page_stays_at_one_pod_and_the_rest_is_spread() -> None:
    objects = manifests(INGRESS)
    affinity = "nginx.ingress.kubernetes.io/affinity"
    assert only(objects, "Ingress", suffix="-ui")["metadata"]["annotations"][affinity] == "cookie"
    assert affinity not in only(objects, "Ingress")["metadata"]["annotations"]


# -- the repository's own rules and dashboard ---------------------------------------------------------------------------


def test_rules_are_those_of_the_repository() -> None:
    rules = yaml.safe_load(Path("deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    objects = manifests(MONITORING)
    assert only(objects, "PrometheusRule")["spec"] == rules
    [endpoint] = only(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert {"targetLabel": "job", "replacement": "shortlist"} in endpoint["relabelings"]
    config = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert config["scrape_configs"][0]["job_name"] == "shortlist", "rules go by this name"


def test_dashboard_is_that_of_the_repository() -> None:
    board = only(manifests(MONITORING), "ConfigMap", suffix="-dashboard")["data"]["shortlist.json"]
    assert json.loads(board) == json.loads(Path("deploy/grafana/shortlist.json").read_text(encoding="utf-8"))


def test_settings_file_is_toml_of_its_own() -> None:
    text = only(manifests(ALL_SETTINGS), "ConfigMap")["data"]["shortlist.toml"]
    assert tomllib.loads(text)["max_queue_bytes"] == 4_294_967_296
    assert "e+" not in text, "numbers stay integers"


EXAMPLES = re.findall(
    r"^```yaml\n(# values\.yaml.*?)^```$", Path("docs/deploy.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_examples_of_the_documentation_render(text: str, tmp_path: Path) -> None:
    values = yaml.safe_load(text)
    assert lint(values) == []
    settings_of(manifests(values), tmp_path)


def test_documentation_has_examples() -> None:
    assert len(EXAMPLES) == 3


def test_release_of_the_chart_is_that_of_the_package() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == project["version"]
