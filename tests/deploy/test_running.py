"""Servers as chart and compose file start them, in processes of this machine: they rank, and `helm test` passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import httpx2
import pytest

from tests.support.chart import FULL_NAME, Manifest, containers, manifests, missing_helm, only
from tests.support.compose import mounts, services
from tests.support.process import Launched, launched

HERE = ("--host=127.0.0.1",)
"""The port is the test's, and only this machine reaches it."""

DOCUMENTS = ["It rains.", "The fox is red."]


def rank(server: Launched) -> int:
    """Return which document a server finds best."""
    body = {"query": "Which animal is red?", "documents": DOCUMENTS}
    answer = httpx2.post(f"{server.url}/v1/rerank", json=body, timeout=60, trust_env=False)
    assert answer.status_code == httpx2.codes.OK, answer.text
    best: int = answer.json()["results"][0]["index"]
    return best


def placed(words: list[str], files: dict[PurePosixPath, Path]) -> list[str]:
    """Return arguments with the files of this machine instead of those that a container would see."""
    for inside, outside in files.items():
        words = [word.replace(str(inside), str(outside)) for word in words]
    return words


@pytest.fixture(scope="module")
def chart() -> list[Manifest]:
    if missing_helm() is not None:
        pytest.skip(str(missing_helm()))
    return manifests({"settings": {"ui": False}})


@pytest.fixture(scope="module")
def of_chart(chart: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A server with the command and the settings of the chart's pod."""
    file = tmp_path_factory.mktemp("chart") / "shortlist.toml"
    file.write_text(only(chart, "ConfigMap")["data"]["shortlist.toml"], encoding="utf-8")
    server = next(each for each in containers(chart) if each["name"] == "shortlist")
    words = placed([*server["command"], *server["args"]], {PurePosixPath("/etc/shortlist/shortlist.toml"): file})
    with launched(*words, *HERE) as running:
        yield running


def test_server_of_the_chart_ranks_and_answers_its_probes(chart: list[Manifest], of_chart: Launched) -> None:
    server = next(each for each in containers(chart) if each["name"] == "shortlist")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        answer = httpx2.get(of_chart.url + server[probe]["httpGet"]["path"], timeout=30, trust_env=False)
        assert answer.status_code == httpx2.codes.OK
    assert rank(of_chart) == 1


def test_helm_test_passes(chart: list[Manifest], of_chart: Launched, tmp_path: Path) -> None:
    pod = only(chart, "Pod", suffix="-test")["spec"]
    file = tmp_path / "documents.txt"
    file.write_text(only(chart, "ConfigMap", suffix="-test")["data"]["documents.txt"], encoding="utf-8")

    def output(container: Manifest) -> str:
        words = placed([*container["command"], *container["args"]], {PurePosixPath("/etc/shortlist/documents.txt"): file})
        words = [word.replace(f"http://{FULL_NAME}:8080", of_chart.url) for word in words]
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    [doctor], [ranking] = pod["initContainers"], pod["containers"]
    assert "POST /v1/rerank" in output(doctor)
    assert "The fox is red." in output(ranking).splitlines()[0]


def test_service_link_of_kubernetes_would_stop_the_server() -> None:
    command = [sys.executable, "-m", "shortlist", "serve", "demo"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={"SHORTLIST_PORT": "tcp://10.0.0.1:8080"}
    )
    assert done.returncode != 0
    assert "SHORTLIST_PORT" in done.stderr, "which is why the chart switches them off"


def test_server_of_the_compose_file_ranks_and_is_healthy() -> None:
    service = services()["shortlist"]
    environ = {name: str(value) for name, value in service["environment"].items() if name.startswith("SHORTLIST_")}
    environ["SHORTLIST_CACHE_URL"] = "redis://127.0.0.1:1"  # there is none here, and the server does without
    words = placed(service["command"], mounts(service))
    with launched(*words, *HERE, SHORTLIST_UI="false", **environ) as running:
        assert rank(running) == 1
        program, *check = service["healthcheck"]["test"][1:]
        assert program == "python"
        check = [word.replace("http://127.0.0.1:8080", running.url) for word in check]
        subprocess.run([sys.executable, *check], check=True, timeout=60)
