"""The compose file is valid, mounts what there is, and its services agree with each other and with the server."""

from __future__ import annotations

import itertools
import json
import subprocess
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shortlist.cli import load
from shortlist.config import ENV_PREFIX, Settings, fields
from tests.support.compose import FOLDER, compose_text, mounts, services
from tests.support.prometheus import missing_prometheus

SERVICES = services()
SERVER = SERVICES["shortlist"]
SETTINGS = FOLDER / "shortlist.toml"

every_service = pytest.mark.parametrize("name", SERVICES)
has_promtool = pytest.mark.skipif(missing_prometheus() is not None, reason=str(missing_prometheus()))
has_parser = pytest.mark.skipif(find_spec("compose_spec") is None, reason="compose-spec is not installed")


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@has_parser
def test_file_is_of_the_compose_specification() -> None:
    from compose_spec import PyCompose

    found = PyCompose.from_yaml(compose_text())
    found.validate()
    assert set(found.service_names()) == set(SERVICES)
    with pytest.raises(ValueError, match="comand"):
        PyCompose.from_yaml(compose_text().replace("    command:", "    comand:"))


@every_service
def test_service_mounts_files_that_there_are(name: str) -> None:
    given_by_users = {PurePosixPath("/etc/nginx/tls"), PurePosixPath("/etc/nginx/conf.d/default.conf")}
    assert {
        path for inside, path in mounts(SERVICES[name]).items() if not path.exists() and inside not in given_by_users
    } == set()


@every_service
def test_service_is_pinned_restarts_and_is_reached_from_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert ":" in service["image"]
    assert not service["image"].endswith(":latest")
    assert service["restart"] == "unless-stopped"
    if "profiles" not in service:
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert service["cap_drop"] == ["ALL"]
    assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_proxy_is_optional() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["nginx"]


# -- the server ---------------------------------------------------------------------------------------------------------


def test_command_and_variables_of_the_server_exist() -> None:
    program, name, *words = SERVER["command"]
    assert program == "shortlist"
    flags = {flag for parameter in load(name).params for flag in parameter.opts}
    assert {word.partition("=")[0] for word in words} <= flags
    known = {f"{ENV_PREFIX}{name.upper()}" for _, name, _ in fields()}
    assert {name for name in SERVER["environment"] if name.startswith(ENV_PREFIX)} <= known


def test_server_reads_its_settings_and_finds_its_cache() -> None:
    environ = {name: value for name, value in SERVER["environment"].items() if name.startswith(ENV_PREFIX)}
    settings = Settings.load({"config": SETTINGS}, environ=environ)
    assert mounts(SERVER)[PurePosixPath(SERVER["command"][-1].partition("=")[2])] == SETTINGS.resolve()
    [port] = SERVER["ports"]
    assert (settings.server.host, str(settings.server.port)) == ("0.0.0.0", port.split(":")[-1])
    assert settings.scheduler.cache_url is not None
    assert settings.scheduler.cache_url.get_secret_value().split("/")[-1].partition(":")[0] in SERVICES
    grace_s = int(SERVER["stop_grace_period"].removesuffix("s"))
    assert grace_s > settings.server.drain_timeout_s


def test_server_and_worker_share_jobs_that_are_kept() -> None:
    worker = SERVICES["worker"]
    program, name, *words = worker["command"]
    assert (program, name) == ("shortlist", "worker")
    given = dict(word.split("=") for word in words)
    assert given.keys() <= {flag for parameter in load(name).params for flag in parameter.opts}
    assert given["--server"] == "http://shortlist:8080"
    assert worker["environment"]["SHORTLIST_JOBS"] == SERVER["environment"]["SHORTLIST_JOBS"]
    assert urlsplit(worker["environment"]["SHORTLIST_JOBS"]).hostname == "jobs"
    assert worker["healthcheck"] == {"disable": True}  # a worker has no port, and the image's check asks one
    command = SERVICES["jobs"]["command"]
    kept = dict(itertools.pairwise(command))
    assert (kept["--appendonly"], kept["--maxmemory-policy"]) == ("yes", "noeviction")
    assert SERVICES["jobs"]["volumes"] == ["jobs:/data"]


def test_health_check_is_that_of_the_image() -> None:
    kind, *command = SERVER["healthcheck"]["test"]
    stated = next(
        line for line in Path("deploy/docker/Dockerfile").read_text(encoding="utf-8").splitlines() if "HEALTHCHECK" in line
    )
    assert (kind, command) == ("CMD", json.loads(stated.partition(" CMD ")[2]))


def test_server_has_no_more_rights_than_it_needs() -> None:
    assert SERVER["read_only"] is True
    assert SERVER["tmpfs"] == ["/tmp"]
    assert not SERVER["user"].startswith("0")
    assert "SHORTLIST_API_KEY" not in compose_text(), "keys do not belong into a file of the repository"


# -- what watches it ----------------------------------------------------------------------------------------------------


def test_prometheus_has_the_job_and_the_rules_of_the_repository() -> None:
    ours, theirs = document(FOLDER / "prometheus.yml"), document(Path("deploy/prometheus/prometheus.yml"))
    [job], [other] = ours["scrape_configs"], theirs["scrape_configs"]
    assert job["job_name"] == other["job_name"]
    assert (ours["global"], ours["rule_files"]) == (theirs["global"], theirs["rule_files"])
    assert job["dns_sd_configs"] == [{"names": ["shortlist"], "type": "A", "port": 8080}]
    found = mounts(SERVICES["prometheus"])
    assert found[PurePosixPath("/etc/prometheus/alerts.yml")] == Path("deploy/prometheus/alerts.yml").resolve()


@has_promtool
def test_configuration_of_prometheus_is_sound(tmp_path: Path) -> None:
    for inside, outside in mounts(SERVICES["prometheus"]).items():
        (tmp_path / inside.name).write_bytes(outside.read_bytes())
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_shows_the_dashboard_of_the_repository() -> None:
    found = mounts(SERVICES["grafana"])
    [board] = [inside for inside, outside in found.items() if outside == Path("deploy/grafana/shortlist.json").resolve()]
    [provider] = document(FOLDER / "grafana" / "dashboards.yaml")["providers"]
    assert str(board.parent) == provider["options"]["path"]
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(board)
    [source] = document(FOLDER / "grafana" / "datasources.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
