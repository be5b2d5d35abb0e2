"""What a path means: prefixes of ours, repetitions of clients', and what is left alone."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from shortlist.api.path_rewriting import PathRewriting, normalized
from shortlist.api.request_state import state_of
from shortlist.errors import NotFound, UnknownModel
from tests.support.apps import http, runtime, scope_behind

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}


async def read(path: str, *, kind: str = "http") -> Scope:
    """Return the scope that the application gets."""
    names = ("demo", "Qwen/Qwen3-Reranker-0.6B", "Qwen3-Reranker-0.6B", "Qwen/Qwen3")
    rewriting = partial(PathRewriting, names=lambda: names, public_prefixes=("/ui",))
    return await scope_behind(rewriting, {"type": kind, "path": path})


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/rerank", "/rerank"),
        ("/rerank/", "/rerank"),
        ("//v1///rerank", "/v1/rerank"),
        ("/v1/v2/rerank", "/v2/rerank"),
        ("/v1/v1/rerank", "/v1/rerank"),
        ("/v1/v1/v2/embed", "/v2/embed"),
        ("/v1", "/v1"),
        ("/", "/"),
        ("", "/"),
        ("/v1/models/v1/v2", "/v1/models/v1/v2"),
        ("/api/v1/services/x", "/api/v1/services/x"),
    ],
)
async def test_clients_repetitions_are_undone(path: str, meant: str) -> None:
    assert (await read(path))["path"] == meant


@given(st.text(alphabet="/v12ab.", max_size=20))
def test_tidying_twice_changes_nothing_more(path: str) -> None:
    once = normalized(path)
    assert normalized(once) == once
    assert once.startswith("/") or path[:1] not in {"", "/"}
    assert "//" not in once


@pytest.mark.parametrize(
    ("path", "model", "explicit_dialect", "meant"),
    [
        ("/m/demo/rerank", "demo", None, "/rerank"),
        ("/m/DEMO/v1/rerank", "demo", None, "/v1/rerank"),
        ("/m/demo", "demo", None, "/"),
        ("/m/Qwen/Qwen3-Reranker-0.6B/info", "Qwen/Qwen3-Reranker-0.6B", None, "/info"),
        ("/m/Qwen3-Reranker-0.6B/v1/v2/rerank", "Qwen3-Reranker-0.6B", None, "/v2/rerank"),
        ("/compat/infinity/rerank", None, "infinity", "/rerank"),
        ("/compat/voyage/v1/rerank/", None, "voyage", "/v1/rerank"),
        ("/m/demo/compat/tei/embed", "demo", "tei", "/embed"),
        ("/compat/tei/m/demo/embed", "demo", "tei", "/embed"),
    ],
)
async def test_prefixes_say_model_and_dialect(path: str, model: str | None, explicit_dialect: str | None, meant: str) -> None:
    scope = await read(path)
    assert (state_of(scope).model, state_of(scope).explicit_dialect, scope["path"]) == (model, explicit_dialect, meant)


async def test_model_that_is_not_served_is_refused() -> None:
    for path in ("/m/other/rerank", "/m/demonstration/rerank", "/m/Qwen/rerank"):
        with pytest.raises(UnknownModel):
            await read(path)


async def test_dialect_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(NotFound):
        await read("/compat/esperanto/rerank")


async def test_page_and_other_protocols_are_left_alone() -> None:
    assert (await read("/ui//a/"))["path"] == "/ui//a/"
    assert (await read("//rerank", kind="websocket"))["path"] == "//rerank"


async def test_error_before_the_body_is_in_the_words_of_the_path() -> None:
    async with http(runtime(api_key=["one"])) as client:
        told = (await client.post("/api/v1/services/rerank/text-rerank/text-rerank", json={})).json()
        assert told["code"] == "InvalidApiKey"
        told = (await client.post("/compat/weaviate/rerank", json={})).json()
        assert isinstance(told["error"], str)
        told = (await client.post("/rerank", json={})).json()
        assert told["error"]["code"] == "invalid_api_key"


async def test_model_of_the_path_is_used_whatever_the_body_names() -> None:
    async with http(runtime()) as client:
        answer = await client.post("/m/fake/v1/rerank", json={**ASK, "model": "another"})
        assert (answer.status_code, answer.headers["x-served-model"]) == (200, "fake")
        assert (await client.post("/m/unknown/v1/rerank", json=ASK)).status_code == 404


async def test_dialect_of_the_header_is_spoken() -> None:
    async with http(runtime()) as client:
        answer = await client.post("/v1/rerank", json=ASK, headers={"x-rerank-dialect": "sglang"})
        assert isinstance(answer.json(), list)
        assert (await client.post("/v1/rerank", json=ASK, headers={"x-rerank-dialect": "no"})).status_code == 404
