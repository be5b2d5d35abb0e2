"""Client checks: the doctor sends the requests of clients, and reports answers that they cannot parse."""

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
from shortlist.types import EMBED, RERANK, Operation
from tests.support.apps import served, settings
from tests.support.serving import free_port, serving

KEY = "a-test-key"


def app(*tasks: Operation, **flat: object) -> Starlette:
    """Return a server with one model per task, with names that no client was recorded with."""
    metrics = Metrics()
    served_models = [served(name=f"own/{task.name}", operations=frozenset({task}), metrics=metrics) for task in tasks]
    return create_app(Runtime(served_models, settings=settings(**flat), metrics=metrics))


@pytest.fixture(scope="module")
def shortlist_url() -> Iterator[str]:
    with serving(app(RERANK, EMBED)) as url:
        yield url


@pytest.mark.parametrize("name", consumers())
def test_every_client_passes_against_shortlist(shortlist_url: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert client_check.run(shortlist_url, name) == client_check.EXIT_PASSED, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert str(consumers()[name]["consumer"]) in shown.replace("\n", " ")
    assert "FAIL" not in shown


def test_server_url_may_end_in_v1(shortlist_url: str) -> None:
    for url in (f"{shortlist_url}/", f"{shortlist_url}/v1", f"{shortlist_url}/v1/"):
        assert not [result for result in client_check.check_all(url, client_check.known("voyage")) if result.problems]


def test_missing_key_is_reported_and_a_given_key_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(app(RERANK, EMBED, api_key=[KEY])) as url:
        assert client_check.run(url, "cohere") == client_check.EXIT_FAILED
        assert "--api-key" in capsys.readouterr().out
        assert client_check.run(url, "cohere", api_key=KEY) == client_check.EXIT_PASSED
        assert client_check.run(url, "dify", api_key=KEY) == client_check.EXIT_PASSED


def test_checks_without_a_served_model_are_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(app(RERANK)) as url:
        assert client_check.run(url, "cohere") == client_check.EXIT_PASSED
    shown = capsys.readouterr().out
    assert "skip" in shown
    assert "the server has no model for embedding" in shown


@pytest.mark.parametrize("task", [RERANK, EMBED])
def test_server_of_one_model_gets_only_requests_of_its_task(task: Operation) -> None:
    with serving(app(task)) as url:
        results = [result for consumer in consumers().values() for result in client_check.check_all(url, consumer)]
    assert [result for result in results if result.problems] == []
    other = {RERANK: "embedding", EMBED: "rerank"}[task]
    assert {result.skipped for result in results} == {None, f"the server has no model for {other}"}


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"index": 0, "relevance_score": 1, "document": {"text": "a"}}, "relevance_score is not of type float"),
        ({"index": 0, "relevance_score": 0.5, "document": None}, "document"),
        ({"index": 0, "score": 0.5}, "relevance_score is missing"),
        ({"index": 0, "relevance_score": 0.5}, "is not a list of 3"),
    ],
)
def test_incompatible_answer_is_reported(item: dict[str, object], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def rank(request: Request) -> Response:
        num = (
            len((await request.json())["documents"])
            if "missing" in problem or "not of type" in problem or problem == "document"
            else 1
        )
        return JSONResponse({"results": [{**item, "index": index} for index in range(num)]})

    with serving(Starlette(routes=[Route("/{version}/rerank", rank, methods=["POST"])])) as url:
        assert client_check.run(url, "maxkb") == client_check.EXIT_FAILED
    assert problem in capsys.readouterr().out.replace("\n", " ")


def test_served_model_names_are_used_and_unknown_names_kept() -> None:
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


def test_unknown_client_error_lists_the_known_ones() -> None:
    for name in ("unknown", "", "o"):
        with pytest.raises(BadSetting, match=r"dify.*weaviate"):
            client_check.known(name)
    assert client_check.known("Open WebUI") == client_check.known("openwebui") == client_check.known("open-webui")
    assert client_check.known("text") == client_check.known("text-embeddings-inference")


def test_unreachable_server_raises_upstream_error() -> None:
    with pytest.raises(UpstreamError, match="cannot be reached"):
        client_check.run(f"http://127.0.0.1:{free_port()}", "dify")


def test_client_names_are_unique() -> None:
    names = [json.dumps(each["consumer"]) for each in consumers().values()]
    assert len(set(names)) == len(names)
