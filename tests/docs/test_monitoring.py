"""The dashboard, the rules and the runbook: well formed, complete, and in agreement with each other."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shortlist.telemetry import Metrics
from shortlist.telemetry.compat import collectors
from tests.support.prometheus import FACTOR, FOLDER, configured, missing_prometheus
from tests.support.promql import series_of, shortened

RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
RUNBOOK = Path("docs/runbook.md").read_text(encoding="utf-8")
BOARD: dict[str, Any] = json.loads(Path("deploy/grafana/shortlist.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
WIDTH = 24
"""Columns of Grafana's grid."""

has_promtool = pytest.mark.skipif(missing_prometheus() is not None, reason=str(missing_prometheus()))
every_panel = pytest.mark.parametrize("panel", SHOWN, ids=[panel["title"] for panel in SHOWN])
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# -- Prometheus ---------------------------------------------------------------------------------------------------------


@has_promtool
def test_configuration_and_rules_are_sound() -> None:
    promtool("check", "config", str(FOLDER / "prometheus.yml"))


@has_promtool
def test_rules_match_their_descriptions() -> None:
    promtool("test", "rules", str(FOLDER / "alerts.test.yml"))


@has_promtool
def test_rules_that_were_made_quick_are_still_sound(tmp_path: Path) -> None:
    promtool("check", "config", str(configured(tmp_path, ["127.0.0.1:1"])))


@every_alert
def test_alert_is_tested_and_has_a_runbook_entry(alert: dict[str, Any]) -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert alert["alert"] in fired
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert notes["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


@every_alert
def test_alert_has_its_section_in_the_runbook(alert: dict[str, Any]) -> None:
    [section] = re.findall(rf"^## {alert['alert']}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\*\*(\w+)", section, re.MULTILINE) == ["Means", "Look", "Do"]


def test_runbook_has_no_section_for_an_alert_that_is_none() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == [alert["alert"] for alert in ALERTS]


def test_runbook_names_only_existing_panels() -> None:
    titles = {panel["title"] for panel in SHOWN} | {"Instance", "is it all servers or one?"}
    text = re.sub(r"\*\*.*?\*\*", "", RUNBOOK, flags=re.DOTALL)
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)}
    assert len(named) > 12
    assert named <= titles


# -- Grafana ------------------------------------------------------------------------------------------------------------


@every_panel
def test_panel_has_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert 'job=~"$job", instance=~"$instance"' in target["expr"]


def test_panels_have_their_own_number_and_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= WIDTH
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, rows):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]
    assert len(taken) == WIDTH * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in PANELS), "there are gaps"


def test_rows_are_above_their_panels() -> None:
    order = [panel["gridPos"]["y"] for panel in PANELS]
    assert order == sorted(order)
    assert PANELS[0]["type"] == "row"


def test_variables_select_the_queried_series() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "job", "instance", "model"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([PANELS, BOARD["annotations"]])))
    assert used == {"datasource", "job", "instance", "model", "__rate_interval"}
    for name in ("job", "instance", "model"):
        assert variables[name]["allValue"] == ".*", "a request that was refused has no model, and must be seen"


def test_dashboard_starts_with_the_key_panels() -> None:
    named = {name for panel in SHOWN for target in panel["targets"] for name in series_of(target["expr"])}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    ours = {family.name for family in Metrics().registry.collect()}
    left = {name for name in ours - {re.sub(r"_total$", "", name) for name in families} if name.startswith("shortlist_")}
    assert left == {"shortlist_build_info", "shortlist_model_info", "shortlist_neutralised_tokens", "shortlist_tasks"}


# -- what reads and changes them in tests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up == 0", {"up"}),
        (
            'sum by (job, le) (rate(a_bucket{b="c(d)", e=~"f|g"}[5m])) / ignoring(x) group_left(y) z:w > 0.5',
            {"a_bucket", "z:w"},
        ),
        ("histogram_quantile(0.99, sum without (le) (rate(a[1m] offset 5m))) or vector(0)", {"a"}),
        ("a and on(b) c unless d > bool 1e3", {"a", "c", "d"}),
    ],
)
def test_names_of_series_are_read_out_of_an_expression(expression: str, names: set[str]) -> None:
    assert series_of(expression) == names


def test_only_ranges_and_patience_become_shorter() -> None:
    text = 'expr: rate(a{b="5m"}[5m]) > 5 or increase(a[1h])\n        for: 10m\n        description: "for five minutes, 5m"'
    short = shortened(text, FACTOR)
    assert short == text.replace("[5m]", "[3000ms]").replace("[1h]", "[36000ms]").replace("for: 10m", "for: 6000ms")


def test_page_on_monitoring_lists_the_names_of_others_that_there_are() -> None:
    page = Path("docs/monitoring.md").read_text(encoding="utf-8")
    for collector in collectors(Metrics(), ("tei", "vllm", "http"), methods={}):
        for family in collector.collect():
            if not re.match(r"te_(embed|predict)_", family.name):
                assert f"`{family.name}" in page, family.name
