"""Every dialect asks in its own words and is read back in the order of the request; anything less than that is no answer."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.dialects import DEFAULT, DIALECTS, apart, named
from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting, UpstreamError

REQUEST = LoadRequest("where is it", ("one", "two", "three"))

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "rerank": ("/v1/rerank", {"query": "where is it", "documents": ["one", "two", "three"], "return_documents": False}),
    "cohere": ("/v2/rerank", {"query": "where is it", "documents": ["one", "two", "three"]}),
    "infinity": ("/rerank", {"query": "where is it", "documents": ["one", "two", "three"]}),
    "tei": ("/rerank", {"query": "where is it", "texts": ["one", "two", "three"], "truncate": True}),
    "score": ("/score", {"text_1": "where is it", "text_2": ["one", "two", "three"]}),
    "openai": ("/v1/embeddings", {"input": ["one", "two", "three"], "encoding_format": "float"}),
}

ANSWERS: dict[str, Any] = {
    "rerank": {"results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0}]},
    "cohere": {"id": "x", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.0}]},
    "infinity": {"results": [{"index": 2, "relevance_score": 0.9, "document": "three"}, {"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.0}]},
    "tei": [{"index": 2, "score": 0.9}, {"index": 0, "score": 0.5}, {"index": 1, "score": 0.0}],
    "score": {"data": [{"index": 0, "score": 0.5}, {"index": 1, "score": 0.0}, {"index": 2, "score": 0.9}]},
    "openai": {"data": [{"index": 1, "embedding": [0.0]}, {"index": 0, "embedding": [0.5]}, {"index": 2, "embedding": [0.9]}]},
}  # fmt: skip


def test_every_dialect_has_its_examples() -> None:
    assert DIALECTS.keys() == ASKED.keys() == ANSWERS.keys()
    assert DEFAULT in DIALECTS
    assert all(dialect.speakers for dialect in DIALECTS.values())


@pytest.mark.parametrize("name", DIALECTS)
def test_requests_are_in_the_dialects_words(name: str) -> None:
    path, body = ASKED[name]
    dialect = named(name)
    assert dialect.path == path
    assert json.loads(dialect.write(REQUEST, None)) == body
    assert json.loads(dialect.write(REQUEST, "m")) == {"model": "m", **body}


@pytest.mark.parametrize("name", DIALECTS)
def test_answers_come_back_in_the_order_of_the_request(name: str) -> None:
    assert named(name).read(json.dumps(ANSWERS[name]).encode(), 3) == [(0.5,), (0.0,), (0.9,)]


def test_vectors_are_whole() -> None:
    answer = {"data": [{"index": 0, "embedding": [1, 2.5, -3]}]}
    assert named("openai").read(json.dumps(answer).encode(), 1) == [(1.0, 2.5, -3.0)]


def results(*pairs: tuple[object, object]) -> bytes:
    return json.dumps({"results": [{"index": index, "relevance_score": score} for index, score in pairs]}).encode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "is not a 'rerank' response"),
        (b"<html>", "is not a 'rerank' response"),
        (b"[]", "is not a 'rerank' response"),
        (b"null", "is not a 'rerank' response"),
        (b'{"data": []}', "is not a 'rerank' response"),
        (b'{"results": {"0": 1}}', "is not a 'rerank' response"),
        (b'{"results": [0.5, 0.4]}', "is not a 'rerank' response"),
        (b'{"results": [{"index": 0}]}', "is not a 'rerank' response"),
        (results((0, "0.5"), (1, "0.4")), "is not a 'rerank' response"),
        (results((0, True), (1, 0.4)), "is not a 'rerank' response"),
        (results((0, None), (1, 0.4)), "is not a 'rerank' response"),
        (results(("0", 0.5), ("1", 0.4)), "is not a 'rerank' response"),
        (results((True, 0.5), (0, 0.4)), "is not a 'rerank' response"),
        (results((0, 0.5)), "for 1 of 2 documents"),
        (results((0, 0.5), (2, 0.4)), "for 2 of 2 documents"),
        (results((-1, 0.5), (0, 0.4)), "for 2 of 2 documents"),
        (results((0, 0.5), (0, 0.4)), "for 1 of 2 documents"),
        (results((0, 0.5), (1, 0.4), (1, 0.3)), "for 2 of 2 documents"),
        (
            b'{"results": [{"index": 0, "relevance_score": NaN}, {"index": 1, "relevance_score": 1}]}',
            "is not a 'rerank' response",
        ),
    ],
)
def test_answer_without_one_score_per_document_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(UpstreamError, match=words):
        named("rerank").read(answer, 2)


def test_numbers_beyond_floats_are_refused() -> None:
    with pytest.raises(UpstreamError):
        named("rerank").read(b'{"results": [{"index": 0, "relevance_score": 1e999}]}', 1)


def test_an_answer_is_never_quoted() -> None:
    with pytest.raises(UpstreamError) as caught:
        named("rerank").read(b'{"secret": 1}', 1)
    assert "secret" not in caught.value.message


def test_unknown_dialect_error_lists_the_known() -> None:
    with pytest.raises(BadSetting, match="no dialect 'sql'") as caught:
        named("sql")
    assert all(name in caught.value.message for name in DIALECTS)


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_any_order_of_results_is_put_right(scores: list[float], seed: int) -> None:
    pairs = list(enumerate(scores))
    Random(seed).shuffle(pairs)
    assert named("rerank").read(results(*pairs), len(scores)) == [(score,) for score in scores]


def test_the_largest_difference_counts() -> None:
    assert apart([[0.1], [0.5]], [[0.1], [0.5]]) == 0
    assert apart([[0.1], [0.5]], [[0.2], [0.25]]) == pytest.approx(0.25)
    assert apart([[1.0, -1.0]], [[1.0, 1.0]]) == 2
