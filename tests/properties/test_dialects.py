"""One task, many dialects: the same scores through all of them, and nothing in an answer that its readers would trip over."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortlist.api.dialects.table import DIALECTS
from tests.support.apps import http, runtime
from tests.support.examples import examples

Scores = dict[int, float]
Ask = Callable[[str, Mapping[str, object], Mapping[str, str]], httpx2.Response]

FUZZ = settings(max_examples=examples(10, 50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@dataclass(frozen=True)
class Way:
    """How one dialect asks for a ranking, and where its answer has what.

    Attributes:
        path: Where it asks.
        body: What it sends for a query and documents.
        items: Finds the results in its answer.
        score: Names the score in an item; None where an item is the score.
        keys: All that an item may hold.
        text: The item's text, if it has one.
        is_ranked: Whether items come best first, each with its index; otherwise they come in the caller's order.
    """

    path: str
    body: Callable[[str, Sequence[str]], Mapping[str, object]]
    items: Callable[[Any], Sequence[Any]]
    score: str | None = "relevance_score"
    keys: frozenset[str] = frozenset({"index", "relevance_score"})
    text: Callable[[Any], str] | None = None
    is_ranked: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    squeeze: Callable[[float], float] = float

    def scores(self, answer: Any) -> Scores:
        items = self.items(answer)
        if self.is_ranked:
            return {item["index"]: self.squeeze(item[self.score]) for item in items}
        return {index: self.squeeze(item[self.score] if self.score else item) for index, item in enumerate(items)}


def flat(**more: object) -> Callable[[str, Sequence[str]], Mapping[str, object]]:
    return lambda query, documents: {"query": query, "documents": documents, **more}


def under(name: str) -> Callable[[Any], Sequence[Any]]:
    return lambda answer: answer[name]


def nested(item: Any) -> str:
    return str(item["document"]["text"])


def plain(item: Any) -> str:
    return str(item["document"])


WITH_TEXT = frozenset({"index", "relevance_score", "document"})

WAYS: Mapping[str, Way] = {
    "cohere v2, jina, vllm": Way("/v2/rerank", flat(), under("results"), keys=WITH_TEXT, text=nested),
    "cohere v1 without texts": Way("/v1/rerank", flat(return_documents=False), under("results")),
    "xinference": Way("/v1/rerank", flat(return_documents="true"), under("results"), keys=WITH_TEXT, text=nested),
    "dashscope, compatible": Way("/compatible-api/v1/reranks", flat(), under("results"), keys=WITH_TEXT, text=nested),
    "dashscope": Way(
        "/api/v1/services/rerank/text-rerank/text-rerank",
        lambda query, documents: {
            "input": {"query": query, "documents": documents},
            "parameters": {"return_documents": True},
        },
        lambda answer: answer["output"]["results"],
        keys=WITH_TEXT,
        text=nested,
    ),
    "dashscope on any path": Way(
        "/rerank",
        lambda query, documents: {"input": {"query": query, "documents": documents}},
        lambda answer: answer["output"]["results"],
    ),
    "voyage": Way("/v1/rerank", flat(top_k=None, truncation=True), under("data")),
    "voyage with texts": Way("/v1/rerank", flat(top_k=None, return_documents=True), under("data"), keys=WITH_TEXT, text=plain),
    "infinity": Way("/rerank", flat(raw_scores=False, return_documents=True), under("results"), keys=WITH_TEXT, text=plain),
    "infinity by name": Way(
        "/compat/infinity/rerank", flat(return_documents=True), under("results"), keys=WITH_TEXT, text=plain
    ),
    "ollama": Way("/api/rerank", flat(), under("results"), keys=WITH_TEXT, text=plain),
    "sglang": Way(
        "/compat/sglang/v1/rerank",
        flat(),
        list,
        score="score",
        keys=frozenset({"index", "score", "document", "meta_info"}),
        text=plain,
    ),
    "tei": Way(
        "/rerank",
        lambda query, documents: {"query": query, "texts": documents, "return_text": True},
        list,
        score="score",
        keys=frozenset({"index", "score", "text"}),
        text=lambda item: str(item["text"]),
    ),
    "tei without texts": Way(
        "/",
        lambda query, documents: {"query": query, "texts": documents},
        list,
        score="score",
        keys=frozenset({"index", "score"}),
    ),
    "nvidia": Way(
        "/v1/ranking",
        lambda query, documents: {"query": {"text": query}, "passages": [{"text": text} for text in documents]},
        under("rankings"),
        score="logit",
        keys=frozenset({"index", "logit"}),
        squeeze=sigmoid,
    ),
    "mixedbread": Way(
        "/v1/reranking",
        lambda query, documents: {"query": query, "input": documents, "return_input": True},
        under("data"),
        score="score",
        keys=frozenset({"index", "score", "input", "object"}),
        text=lambda item: str(item["input"]),
    ),
    "isaacus": Way(
        "/v1/rerankings",
        lambda query, documents: {"query": query, "texts": documents},
        under("results"),
        score="score",
        keys=frozenset({"index", "score"}),
    ),
    "pinecone": Way(
        "/rerank",
        lambda query, documents: {"query": query, "documents": [{"id": "a", "text": text} for text in documents]},
        under("data"),
        score="score",
        keys=frozenset({"index", "score", "document"}),
        text=nested,
        headers=(("x-pinecone-api-version", "2025-01"),),
    ),
    "weaviate": Way(
        "/rerank",
        flat(property=""),
        under("scores"),
        score="score",
        keys=frozenset({"document", "score"}),
        text=plain,
        is_ranked=False,
    ),
    "qanything": Way(
        "/rerank", lambda query, documents: {"query": query, "passages": documents}, list, score=None, is_ranked=False
    ),
    "vllm score": Way(
        "/score",
        lambda query, documents: {"text_1": query, "text_2": documents},
        under("data"),
        score="score",
        keys=frozenset({"index", "object", "score"}),
        is_ranked=False,
    ),
    "vllm score, many with many": Way(
        "/v1/score",
        lambda query, documents: {"queries": [query] * len(documents), "items": documents},
        under("data"),
        score="score",
        keys=frozenset({"index", "object", "score"}),
        is_ranked=False,
    ),
    "tei predict": Way(
        "/predict",
        lambda query, documents: {"inputs": [[query, text] for text in documents]},
        lambda answer: [each[0] for each in answer],
        score="score",
        keys=frozenset({"score", "label"}),
        is_ranked=False,
    ),
    "sagemaker": Way(
        "/invocations",
        lambda query, documents: {"text_pairs": [[query, text] for text in documents]},
        under("scores"),
        score=None,
        is_ranked=False,
    ),
}

queries = st.text(st.characters(codec="utf-8"), max_size=20).filter(str.strip)
texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One application, and one event loop, for all requests."""
    with asyncio.Runner() as runner:
        doors = contextlib.AsyncExitStack()
        client = runner.run(doors.enter_async_context(http(runtime())))
        yield lambda path, body, headers: runner.run(client.post(path, json=body, headers=headers))
        runner.run(doors.aclose())


def test_every_dialect_that_ranks_is_here() -> None:
    told = " ".join(WAYS)
    missing = {dialect.name for dialect in DIALECTS if dialect.name not in told} - {"superset", "openai"}
    assert not missing


@pytest.mark.parametrize("name", WAYS)
@FUZZ
@given(query=queries, documents=texts)
def test_same_task_gets_the_same_scores_through_every_dialect(ask: Ask, name: str, query: str, documents: list[str]) -> None:
    way, usual = WAYS[name], WAYS["cohere v1 without texts"]
    truth = usual.scores(ask(usual.path, usual.body(query, documents), {}).json())
    response = ask(way.path, way.body(query, documents), dict(way.headers))
    assert response.status_code == 200, response.text
    found = way.scores(response.json())
    assert found.keys() == truth.keys() == set(range(len(documents)))
    assert found == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("name", WAYS)
def test_instruction_counts_in_every_dialect(ask: Ask, name: str) -> None:
    way, usual = WAYS[name], WAYS["cohere v1 without texts"]
    documents = ["a red fox", "find a fox", "a cat"]
    asked = {**way.body("a fox", documents), "instruction": "find a cat"}
    truth = usual.scores(ask(usual.path, {**usual.body("a fox", documents), "instruction": "find a cat"}, {}).json())
    # By name: told by its fields, a body with one of ours would be ours.
    by_name = {"x-rerank-dialect": name.split(maxsplit=1)[0]} if name.startswith(("voyage", "infinity")) else {}
    assert way.scores(ask(way.path, asked, {**dict(way.headers), **by_name}).json()) == pytest.approx(truth, abs=1e-12)
    assert truth != usual.scores(ask(usual.path, usual.body("a fox", documents), {}).json())


@pytest.mark.parametrize("name", WAYS)
@FUZZ
@given(query=queries, documents=texts)
def test_result_has_exactly_the_fields_of_its_dialect(ask: Ask, name: str, query: str, documents: list[str]) -> None:
    way = WAYS[name]
    items = way.items(ask(way.path, way.body(query, documents), dict(way.headers)).json())
    for place, item in enumerate(items):
        if way.score is None:
            assert isinstance(item, float)
            continue
        assert item.keys() == way.keys
        assert isinstance(item[way.score], float)
        index = item["index"] if way.is_ranked else place
        assert way.text is None or way.text(item) == documents[index]
        assert item.get("document", "") is not None
    if way.is_ranked:
        assert [item[way.score] for item in items] == sorted((item[way.score] for item in items), reverse=True)


@pytest.mark.parametrize("name", WAYS)
def test_every_score_is_written_as_a_fraction(ask: Ask, name: str) -> None:
    """Readers in typed languages take `1` for a whole number, and fail."""
    way = WAYS[name]
    # The fake engine says 0 or 1 exactly for some of these.
    documents = ["red fox " * 40, "", "red fox", "x"]
    raw = ask(way.path, way.body("red fox", documents), dict(way.headers)).text
    found = re.findall(r'"(?:relevance_score|score|logit)":\s*([^,}\]]+)', raw) or raw.strip("[]{}").split(":")[-1].strip(
        "[] }"
    ).split(",")
    assert len(found) >= len(documents)
    assert all(re.search(r"[.eE]", number) for number in found), found


@pytest.mark.parametrize("name", WAYS)
def test_every_dialect_refuses_an_empty_list_in_its_own_words(ask: Ask, name: str) -> None:
    way = WAYS[name]
    response = ask(way.path, way.body("red fox", []), dict(way.headers))
    assert response.status_code in {400, 422}
    told = response.json()
    words = [told.get("message"), told.get("detail"), told["error"] if isinstance(told.get("error"), str) else None]
    assert any(words), told
