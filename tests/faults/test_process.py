"""The command as a newcomer runs it: real processes that start, serve, refuse to start, and stop."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest

from shortlist import Client
from shortlist.errors import InvalidInput, NotFound
from tests.support.fixtures import ModelFactory
from tests.support.official import Asked, Official
from tests.support.process import Launched, finished, is_ready, launched, start, wait_until

QUERY = "how do I read a json file in python"
DOCUMENTS = ["bake bread at 220 C", "open the file and call json.load", "pythons are large snakes"]
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} INFO ")


@pytest.fixture(scope="module")
def folders(make_model: ModelFactory) -> tuple[Path, Path]:
    return make_model(kind="reranker"), make_model(kind="embedder")


@pytest.fixture(scope="module")
def server(folders: tuple[Path, Path]) -> Iterator[Launched]:
    reranker, embedder = folders
    arguments = ["--reranker", str(reranker), str(embedder), "demo", "--dtype", "float32", "--no-ui", "--random-weights"]
    with launched("shortlist", "serve", *arguments, "--alias", f"rerank-v3.5={reranker}") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Launched) -> Iterator[Client]:
    with Client(server.url) as connected:
        yield connected


def test_one_process_serves_several_models_each_for_its_tasks(client: Client, folders: tuple[Path, Path]) -> None:
    reranker, embedder = (folder.name for folder in folders)
    tasks = {model.name: model.tasks for model in client.models()}
    assert tasks == {embedder: {"embed"}, "demo": {"rerank", "embed"}, reranker: {"rerank"}}


@pytest.mark.parametrize("name", ["basename", "alias"])
def test_scores_over_http_are_transformers_scores(client: Client, folders: tuple[Path, Path], name: str) -> None:
    folder = folders[0]
    ranking = client.rerank(QUERY, DOCUMENTS, model="rerank-v3.5" if name == "alias" else folder.name)
    official = Official(folder).probabilities(QUERY, DOCUMENTS)
    scores = {result.index: result.score for result in ranking.results}
    assert [scores[index] for index in range(3)] == pytest.approx(official, abs=1e-4)


def test_instruction_changes_the_official_way(client: Client, folders: tuple[Path, Path]) -> None:
    folder, instruction = folders[0], "Given a bug report, find the report of the same bug"
    ranking = client.rerank(QUERY, DOCUMENTS, model=folder.name, instruction=instruction)
    official = Official(folder).probabilities(QUERY, DOCUMENTS, Asked(instruction=instruction))
    assert {result.index: result.score for result in ranking.results} == pytest.approx(dict(enumerate(official)), abs=1e-4)


def test_vectors_over_http_are_the_official_ones(client: Client, folders: tuple[Path, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    folder = folders[1]
    official = SentenceTransformer(str(folder), device="cpu")
    documents = client.embed(DOCUMENTS, model=folder.name)
    queries = client.embed([QUERY], model=folder.name, is_query=True)
    np.testing.assert_allclose(documents.vectors, official.encode(DOCUMENTS), atol=1e-4)
    np.testing.assert_allclose(queries.vectors, official.encode_query([QUERY]), atol=1e-4)


def test_model_that_is_not_served_or_not_for_this(client: Client, folders: tuple[Path, Path]) -> None:
    with pytest.raises(NotFound, match="demo"):
        client.rerank(QUERY, DOCUMENTS, model="gpt-4")
    with pytest.raises(InvalidInput, match="does not rerank"):
        client.rerank(QUERY, DOCUMENTS, model=folders[1].name)


@pytest.mark.full
def test_concurrent_requests_get_the_scores_of_single_requests(client: Client, folders: tuple[Path, Path]) -> None:
    queries = [f"{QUERY} {number}" for number in range(24)]
    official = Official(folders[0])

    def ask(query: str) -> list[float]:
        ranking = client.rerank(query, DOCUMENTS, model=folders[0].name)
        scores = {result.index: result.score for result in ranking.results}
        return [scores[index] for index in range(3)]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, queries))
    for query, scores in zip(queries, found, strict=True):
        assert scores == pytest.approx(official.probabilities(query, DOCUMENTS), abs=1e-4)


# -- stopping -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)])
def test_sigterm_answers_running_requests_and_exits_with_0(number: signal.Signals) -> None:
    documents = [f"document number {index} about json files" for index in range(400)]
    arguments = ["demo", "--no-ui", "--drain-timeout-s", "90"]
    with launched("shortlist", "serve", *arguments) as server, Client(server.url, max_retries=0, timeout_s=90) as client:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.rerank, QUERY, documents)
            wait_until(lambda: "shortlist_running_requests 2.0" in _metrics(server.url))  # that one, and this look
            server.process.send_signal(number)
            assert len(answer.result(timeout=90).results) == 400
        assert server.process.wait(timeout=20) == 0
        logged = [line for line in server.log().splitlines() if " INFO" in line]
        assert len(logged) >= 3  # a start, a drain, an end
        assert all(DATED.match(line) for line in logged)
        assert "Traceback" not in server.log()


def _metrics(url: str) -> str:
    return httpx2.get(f"{url}/metrics").text


@pytest.mark.full
def test_requests_beyond_the_drain_timeout_get_an_error() -> None:
    documents = [f"document number {index} about json files" * 20 for index in range(2000)]
    with launched("shortlist", "serve", "demo", "--no-ui", "--drain-timeout-s", "1") as server, ThreadPoolExecutor(1) as pool:
        ask = {"query": QUERY, "documents": documents}
        answer = pool.submit(httpx2.post, f"{server.url}/v1/rerank", json=ask, timeout=60)
        wait_until(lambda: "shortlist_running_requests 2.0" in _metrics(server.url))
        server.process.send_signal(signal.SIGTERM)
        assert answer.result(timeout=30).json()["error"]["code"] == "unavailable"
        assert server.process.wait(timeout=20) == 0


def test_second_signal_does_not_wait() -> None:
    documents = [f"document number {index} about json files" * 20 for index in range(2000)]
    arguments = ["demo", "--no-ui", "--drain-timeout-s", "60"]
    with launched("shortlist", "serve", *arguments) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(httpx2.post, f"{server.url}/v1/rerank", json={"query": QUERY, "documents": documents}, timeout=60)
        wait_until(lambda: "shortlist_running_requests 2.0" in _metrics(server.url))  # that one, and this look
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_ready(server.url), 30)  # two signals that come together are one
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=40)
        assert server.log().count("stopped at once by a second signal") == 1
        assert "Traceback" not in server.log()


def test_second_signal_to_an_idle_server_is_one_line_at_most() -> None:
    with launched("shortlist", "serve", "demo", "--no-ui") as server:
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(timeout=40)
        assert "Traceback" not in server.log()


# -- refusing to start --------------------------------------------------------------------------------------------------


def refuses(*arguments: str) -> str:
    """Run a command that must not start; return its one line."""
    done = finished(*arguments)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refuses("serve", "demo", "--port", str(port))
    assert f"127.0.0.1:{port}" in line
    assert "SHORTLIST_PORT" in line


def test_chat_model_is_refused_with_both_flags_that_declare_it(folders: tuple[Path, Path]) -> None:
    line = refuses("serve", str(folders[0]), "--port", "0")
    assert "--reranker" in line
    assert "--embedder" in line


@pytest.mark.full
def test_changed_byte_of_the_weights_is_one_clear_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[1], tmp_path / "mine")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  model.safetensors\n")
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    line = refuses("serve", str(folder), "--port", "0")
    assert f"{folder}: model.safetensors is not the file it should be" in line
    assert "SHA256SUMS" in line


@pytest.mark.full
def test_configuration_that_lies_is_one_clear_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[0], tmp_path / "mine")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    assert "model.layers.2.input_layernorm.weight" in refuses("serve", "--reranker", str(folder), "--port", "0")


@pytest.mark.full
def test_weights_as_they_should_be_are_said_to_be(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[1], tmp_path / "mine")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  model.safetensors\n")
    arguments = ["demo", "--embedder", str(folder), "--no-ui", "--random-weights"]
    with launched("shortlist", "serve", *arguments) as server:
        assert "demo: weights checked against what was published" in server.log()
        assert f"{folder}: weights checked against SHA256SUMS" in server.log()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "./nowhere"], "does not exist"),
        (["serve", "no model at all"], "does not name a model"),
        (["serve", "demo", "--host", "203.0.113.1"], "--host"),
        pytest.param(["serve", "demo", "--alias", "a=b"], "not served", marks=pytest.mark.full),
        pytest.param(["serve", "demo", "demo"], "Two models", marks=pytest.mark.full),
        pytest.param(["serve", "demo", "--max-batch-tokens", "10"], "max_model_len", marks=pytest.mark.full),
        pytest.param(["serve", "demo", "--config", "nowhere.toml"], "nowhere.toml", marks=pytest.mark.full),
        (["serve", "demo", "--device", "cuda:77"], "cuda:77"),
    ],
)
def test_unsupported_model_is_one_clear_line(arguments: list[str], words: str) -> None:
    assert words in refuses(*arguments, *([] if "--port" in arguments else ["--port", "0"]))


def test_unknown_environment_variable_is_one_clear_line() -> None:
    with start("shortlist", "serve", "demo", SHORTLIST_MAX_BATCH_TOKNES="1") as server:
        assert server.process.wait(timeout=30) == 3
        assert "max_batch_toknes" in server.log()


def test_help_shows_every_setting() -> None:
    from shortlist.config import fields

    shown = subprocess.run(
        [sys.executable, "-m", "shortlist", "serve", "--help"],
        capture_output=True, text=True, timeout=60, check=True, env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": "src"},
    ).stdout  # fmt: skip
    for _, name, _ in fields():
        assert f"--{name.replace('_', '-')}" in shown or name == "models"
