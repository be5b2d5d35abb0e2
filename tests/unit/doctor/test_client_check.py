"""A server as its clients see it: the doctor asks what they ask, and says what they would trip over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shortlist.api.app import create_app
from shortlist.doctor import client_check
from shortlist.doctor.checks import consumers
from shortlist.errors import BadSetting, UpstreamError
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import Task
from tests.support.apps import served, settings
from tests.support.serving import free_port, serving

KEY = "a-key-of-ours"


def app(*tasks: Task, **flat: object) -> Starlette:
    """Return a server with one model for every task, under names that no client was recorded with."""
    metrics = Metrics()
    served_models = [served(name=f"own/{task.value}", tasks=frozenset({task}), metrics=metrics) for task in tasks]
    return create_app(Runtime(served_models, settings=settings(**flat), metrics=metrics))


@pytest.fixture(scope="module")
def ours() -> Iterator[str]:
    with serving(app(Task.RERANK, Task.EMBED)) as url:
        yield url


@pytest.mark.parametrize("name", consumers())
def test_every_client_gets_on_with_our_server(ours: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert client_check.run(ours, name) == client_check.EXIT_PASSED, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert str(consumers()[name]["consumer"]) in shown.replace("\n", " ")
    assert "FAIL" not in shown


def test_address_may_end_as_clients_write_it(ours: str) -> None:
    for url in (f"{ours}/", f"{ours}/v1", f"{ours}/v1/"):
        assert not [visit for visit in client_check.check_all(url, client_check.known("voyage")) if visit.problems]


def test_key_is_asked_for_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(app(Task.RERANK, Task.EMBED, api_key=[KEY])) as url:
        assert client_check.run(url, "cohere") == client_check.EXIT_FAILED
        assert "--api-key" in capsys.readouterr().out
        assert client_check.run(url, "cohere", api_key=KEY) == client_check.EXIT_PASSED
        assert client_check.run(url, "dify", api_key=KEY) == client_check.EXIT_PASSED


def test_what_is_not_served_is_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(app(Task.RERANK)) as url:
        assert client_check.run(url, "cohere") == client_check.EXIT_PASSED
    shown = capsys.readouterr().out
    assert "skip" in shown
    assert "nothing is served there for embedding" in shown


@pytest.mark.parametrize("task", [Task.RERANK, Task.EMBED])
def test_server_of_one_model_is_asked_only_for_what_that_can(task: Task) -> None:
    with serving(app(task)) as url:
        level_runs = [visit for consumer in consumers().values() for visit in client_check.check_all(url, consumer)]
    assert [visit for visit in level_runs if visit.problems] == []
    other = {Task.RERANK: "embedding", Task.EMBED: "rerank"}[task]
    assert {visit.skipped for visit in level_runs} == {None, f"nothing is served there for {other}"}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"index": 0, "relevance_score": 1, "document": {"text": "a"}}, "relevance_score is no float"),
        ({"index": 0, "relevance_score": 0.5, "document": None}, "document"),
        ({"index": 0, "score": 0.5}, "relevance_score is missing"),
        ({"index": 0, "relevance_score": 0.5}, "is not a list of 3"),
    ],
)
def test_other_server_is_told_what_would_break(item: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def rank(request: Request) -> Response:
        num = len((await request.json())["documents"]) if "missing" in said or "no float" in said or said == "document" else 1
        return JSONResponse({"results": [{**item, "index": index} for index in range(num)]})

    with serving(Starlette(routes=[Route("/{version}/rerank", rank, methods=["POST"])])) as url:
        assert client_check.run(url, "maxkb") == client_check.EXIT_FAILED
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_served_names_are_used_and_an_unknown_name_is_kept() -> None:
    asked: list[object] = []

    async def note(request: Request) -> Response:
        asked.append((await request.json()).get("model"))
        return JSONResponse({})

    async def models(_: Request) -> Response:
        return JSONResponse({"data": [{"id": "its-own", "tasks": ["rerank"]}, {"id": "its-other", "tasks": ["embed"]}]})

    routes = [Route(path, note, methods=["POST"]) for path in ("/v1/rerank", "/v1/embeddings")]
    with serving(Starlette(routes=[Route("/v1/models", models), *routes])) as url:
        list(client_check.check_all(url, client_check.known("voyage")))
    assert asked == ["its-own", "its-own", "its-other", "nobody-serves-this"]


def test_unknown_client_is_refused_with_those_that_are_known() -> None:
    for name in ("unknown", "", "o"):
        with pytest.raises(BadSetting, match=r"dify.*weaviate"):
            client_check.known(name)
    assert client_check.known("Open WebUI") == client_check.known("openwebui") == client_check.known("open-webui")
    assert client_check.known("text") == client_check.known("text-embeddings-inference")


def test_server_that_is_not_there_is_said_in_a_sentence() -> None:
    with pytest.raises(UpstreamError, match="cannot be reached"):
        client_check.run(f"http://127.0.0.1:{free_port()}", "dify")


def test_no_two_clients_are_recorded_under_one_name() -> None:
    names = [json.dumps(each["consumer"]) for each in consumers().values()]
    assert len(set(names)) == len(names)
