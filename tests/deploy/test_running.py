"""Servers as chart and compose file start them, in processes of this machine: they rank, and `helm test` passes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import httpx2
import pytest

from tests.support import hub_server
from tests.support.chart import FULL_NAME, Manifest, containers, manifests, missing_helm, only
from tests.support.compose import mounts, services
from tests.support.hub_server import COMMIT, HubServer
from tests.support.models import DEMO
from tests.support.process import Launched, finished, launched, wait_until
from tests.support.redis_server import missing_redis
from tests.support.serving import free_port

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


def test_init_container_leaves_what_the_server_needs_without_a_hub(tmp_path: Path) -> None:
    if missing_helm() is not None:
        pytest.skip(str(missing_helm()))
    files = {str(path.relative_to(DEMO)): path.read_bytes() for path in DEMO.rglob("*") if path.is_file()}
    with hub_server.running(HubServer(models={"maker/model": files})) as hub:
        model = {"name": "maker/model", "revision": COMMIT, "task": "embedder"}
        objects = manifests({"model": model, "hub": {"endpoint": hub.url}, "settings": {"ui": False}})
        file = tmp_path / "shortlist.toml"
        file.write_text(only(objects, "ConfigMap")["data"]["shortlist.toml"], encoding="utf-8")
        download, server = (each for each in containers(objects) if each["name"] in {"download", "shortlist"})

        def environ(container: Manifest) -> dict[str, str]:
            return {each["name"]: each["value"].replace("/data/", f"{tmp_path}/") for each in container["env"]}

        subprocess.run(
            [sys.executable, "-m", *download["command"], *download["args"]],
            check=True,
            timeout=90,
            env={**os.environ, **environ(download)},  # noqa: TID251 - the container's environment
        )
        num_requests = len(hub.requests)
        words = placed([*server["command"], *server["args"]], {PurePosixPath("/etc/shortlist/shortlist.toml"): file})
        with launched(*words, *HERE, **environ(server)) as running:
            answer = httpx2.post(f"{running.url}/v1/embeddings", json={"input": "a fox"}, timeout=60, trust_env=False)
            assert len(answer.json()["data"][0]["embedding"]) > 0
        assert num_requests > 0
        assert len(hub.requests) == num_requests, "the server asked the hub"


def test_service_link_of_kubernetes_would_stop_the_server() -> None:
    command = [sys.executable, "-m", "shortlist", "serve", "demo"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={"SHORTLIST_PORT": "tcp://10.0.0.1:8080"}
    )
    assert done.returncode != 0
    assert "SHORTLIST_PORT" in done.stderr, "which is why the chart switches them off"


@contextmanager
def redis_of_compose(folder: Path, name: str) -> Iterator[int]:
    """Run a Redis of the compose file with its command, and yield its port once it answers: the server does not wait for it."""
    port = free_port()
    command = [*services()[name]["command"], "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_up(port))
        yield port
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.skipif(missing_redis() is not None, reason=str(missing_redis()))
def test_server_of_the_compose_file_ranks_is_healthy_and_shares_its_cache(tmp_path: Path) -> None:
    service = services()["shortlist"]
    environ = {name: str(value) for name, value in service["environment"].items() if name.startswith("SHORTLIST_")}
    words = placed(service["command"], mounts(service))
    with redis_of_compose(tmp_path, "redis") as port, redis_of_compose(tmp_path, "jobs") as jobs_port:
        environ["SHORTLIST_CACHE_URL"] = environ["SHORTLIST_CACHE_URL"].replace("redis:6379", f"127.0.0.1:{port}")
        environ["SHORTLIST_JOBS"] = environ["SHORTLIST_JOBS"].replace("jobs:6379", f"127.0.0.1:{jobs_port}")
        with launched(*words, *HERE, SHORTLIST_UI="false", **environ) as running:
            assert rank(running) == 1
            wait_until(lambda: num_keys(port) >= len(DOCUMENTS))
            program, *check = service["healthcheck"]["test"][1:]
            assert program == "shortlist"
            done = finished(*check, SHORTLIST_PORT=running.url.rpartition(":")[2])
            assert (done.returncode, done.stdout) == (0, "ready\n")


def is_up(port: int) -> bool:
    """Return whether a Redis answers."""
    try:
        return num_keys(port) >= 0
    except (OSError, ValueError):
        return False


def num_keys(port: int) -> int:
    """Return how many entries a Redis holds."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"DBSIZE\r\n")
        return int(connection.recv(64).strip(b":\r\n"))
