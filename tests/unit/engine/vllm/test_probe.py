"""A server is believed what it shows, not what it says; what it is instead is said, with the command that would be right."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from shortlist.engine.vllm.payloads import ListedModel
from shortlist.engine.vllm.probe import Probe, ProbeResult
from shortlist.errors import ModelRefused
from shortlist.types import EMBED, RERANK, Operation
from tests.support.vllm import plan_of

URL = "http://gpu-1:8000"
SCORES = (1.5, -22.0, 0.25)

Answer = Callable[[httpx2.Request], httpx2.Response]


class Pretender:
    """Answers as a good server does, but for the paths that are given."""

    def __init__(self, **paths: Any) -> None:
        self.asked: list[httpx2.Request] = []
        card = {"id": "reranker", "root": "Qwen/Qwen3-Reranker-0.6B", "parent": None, "max_model_len": 4096}
        adapter = card | {"id": "adapter", "parent": "reranker"}
        self.answers: dict[str, Any] = {
            "/version": {"version": "0.32.0"},
            "/v1/models": {"data": [adapter, card]},
            "/classify": classified,
            **{f"/{path.replace('__', '/')}": answer for path, answer in paths.items()},
        }

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.get(request.url.path, 404)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, httpx2.Response):
            return answer
        return httpx2.Response(answer) if isinstance(answer, int) else httpx2.Response(200, json=answer)


def classified(request: httpx2.Request) -> dict[str, Any]:
    is_chance = json.loads(request.content)["use_activation"]
    return {"data": [row(index, 1 / (1 + math.exp(-score)) if is_chance else score) for index, score in enumerate(SCORES)]}


def row(index: int, *numbers: float) -> dict[str, Any]:
    return {"index": index, "probs": list(numbers), "num_classes": len(numbers)}


def embedded(length: float = 1.0) -> Answer:
    vector = np.asarray([0.6 * length, 0.8 * length], dtype="<f4")
    text = base64.b64encode(vector.tobytes()).decode()
    return lambda _: httpx2.Response(200, json={"data": [{"index": index, "embedding": text} for index in range(3)]})


def only_posted(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(405 if request.method == "GET" else 400)


def probe(pretender: Pretender, task: Operation = RERANK, **more: Any) -> ProbeResult:
    return Probe(URL, plan_of(Path("Qwen/M"), task), transport=httpx2.MockTransport(pretender), **more).run()


def test_good_reranker_is_found() -> None:
    found = probe(Pretender())
    assert (found.url, found.version) == (URL, "0.32.0")
    assert found.identity.listed == ListedModel("reranker", "Qwen/Qwen3-Reranker-0.6B", 4096)
    assert (found.identity.dimensions, found.identity.values) == (None, list(SCORES))


def test_good_embedder_is_found() -> None:
    found = probe(Pretender(classify=404, v1__embeddings=embedded()), EMBED)
    assert found.identity.dimensions == 2


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ({"version": {"version": "0.11.2"}}, ["vLLM 0.11.2 is not supported", "0.32 or later"]),
        ({"version": 404}, ["does not answer as vLLM does"]),
        ({"version": lambda _: httpx2.Response(200, text="<html>")}, ["does not answer as vLLM does"]),
        ({"version": 401}, ["--upstream-api-key"]),
        ({"version": lambda _: httpx2.Response(307, headers={"location": "http://elsewhere/"})}, ["does not answer as vLLM"]),
        ({"v1__models": {"data": []}}, ["does not say what it serves"]),
        ({"v1__models": {"data": [{"id": "m"}]}}, ["does not say what it serves"]),
        (
            {"classify": 404, "v1__completions": only_posted},
            ["language model that writes", "--runner pooling", "--hf-overrides"],
        ),
        ({"classify": 404, "v1__embeddings": only_posted}, ["embeds and does not rank", "--hf-overrides"]),
        ({"classify": 500}, ["status 500"]),
        ({"classify": lambda _: {"data": [row(i, 0.1, 0.9) for i in range(3)]}}, ["2 labels", "without the overrides"]),
        ({"classify": lambda _: {"data": [row(i, 0.1 * i) for i in range(3)]}}, ["does not give raw scores"]),
        ({"classify": lambda request: {"data": classified(request)["data"][:2]}}, ["gives no scores"]),
        ({"classify": lambda _: httpx2.Response(200, text="half")}, ["gives no scores"]),
    ],
)
def test_other_servers_are_named_and_put_right(paths: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ModelRefused) as refused:
        probe(Pretender(**paths))
    assert [word for word in (URL, *words) if word not in refused.value.message] == []


def test_head_with_constant_output_is_empty() -> None:
    def same(request: httpx2.Request) -> dict[str, Any]:
        score = 0.5 if json.loads(request.content)["use_activation"] else 0.0
        return {"data": [row(index, score) for index in range(3)]}

    with pytest.raises(ModelRefused, match="the same score"):
        probe(Pretender(classify=same))


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        ({"v1__embeddings": embedded(3.0)}, "length one"),
        ({"v1__embeddings": 404, "classify": only_posted}, "ranks and does not embed"),
        ({"v1__embeddings": 404, "classify": 404}, "status 404"),
        ({"v1__embeddings": lambda _: {"data": []}}, "gives no vectors"),
    ],
)
def test_other_servers_are_no_embedders(paths: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelRefused, match=word) as refused:
        probe(Pretender(**paths), EMBED)
    assert "vllm serve Qwen/M --runner pooling" in refused.value.message


def test_server_that_is_not_there_is_named() -> None:
    def gone(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with pytest.raises(ModelRefused, match=r"gpu-1:8000 \(--upstream\) does not answer"):
        probe(Pretender(version=gone))


def test_key_is_sent_and_never_shown() -> None:
    pretender = Pretender(classify=500)
    with pytest.raises(ModelRefused) as refused:
        probe(pretender, api_key="sesame")
    assert {request.headers["authorization"] for request in pretender.asked} == {"Bearer sesame"}
    assert "sesame" not in refused.value.message
