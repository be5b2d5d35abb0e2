"""The shared rerank shape: lenient where clients are sloppy, strict in what it sends back."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shortlist.api.dialects.common import CommonRerankRequest
from shortlist.api.dialects.dialect import ResponseMeta
from shortlist.errors import EngineError, InvalidInput
from shortlist.types import (
    NO_TRUNCATION,
    DocumentStats,
    Failed,
    OverflowPolicy,
    PromptTemplate,
    Ranked,
    RerankOutcome,
    Span,
    Timing,
    Truncation,
    Usage,
)

PLAIN = {"query": "q", "documents": ["a", "b", "c"]}


def read(**fields: object) -> CommonRerankRequest:
    return CommonRerankRequest.model_validate({**PLAIN, **fields})


def outcome(**changes: object) -> RerankOutcome:
    fields: dict[str, object] = {
        "model": "served",
        "results": [Ranked(2, 0.9, 2.2), Ranked(0, 0.1, -2.2)],
        "failed": [],
        "document_stats": [DocumentStats(3, 3), DocumentStats(4, 9, is_truncated=False), DocumentStats(5, 5)],
        "template": PromptTemplate(name="t/1", preset="web-search", instruction="find"),
        "usage": Usage(30),
        "timing": Timing(),
    }
    return RerankOutcome(**{**fields, **changes})  # type: ignore[arg-type]


def test_plain_request_uses_defaults() -> None:
    task = read().task()
    assert (task.query, task.documents) == ("q", ("a", "b", "c"))
    assert (task.model, task.instruction, task.top_n, task.options.timeout_s) == (None, None, None, None)
    assert task.on_overflow is OverflowPolicy.TRUNCATE


def test_null_is_a_default_everywhere() -> None:
    optional = [name for name in CommonRerankRequest.model_fields if name not in PLAIN]
    assert read(**dict.fromkeys(optional)).task() == read().task()


def test_unknown_fields_are_ignored() -> None:
    assert read(priority=3, user="x").task() == read().task()


@pytest.mark.parametrize(
    ("documents", "texts"),
    [
        ("one", ("one",)),
        ([{"text": "one"}, "two"], ("one", "two")),
        ([{"text": "one", "title": "ignored"}], ("one",)),
        ([{"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}], ("one\ntwo",)),
        (["", " "], ("", " ")),
    ],
)
def test_documents_come_in_many_forms(documents: object, texts: tuple[str, ...]) -> None:
    assert read(documents=documents).task().documents == texts


def test_rank_fields_are_joined_in_the_given_order() -> None:
    fields = {"rank_fields": ["title", "body"], "documents": [{"body": "B", "title": "T", "id": 3}]}
    assert read(**fields).task().documents == ("T\nB",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": 5}, "documents"),
        ({"documents": {"text": "a"}}, "documents"),
        ({"documents": ["a", None]}, "documents[1]"),
        ({"documents": ["a", 5]}, "documents[1]"),
        ({"documents": [{"title": "a"}]}, "documents[0]"),
        ({"documents": [{"text": 5}]}, "documents[0]"),
        ({"documents": [{"content": [{"type": "text", "text": 5}]}]}, "documents[0]"),
        ({"query": {"text": None}}, "query"),
        ({"documents": [{"image": "data"}]}, "documents[0]"),
        ({"documents": [{"content": [{"type": "image_url"}]}]}, "documents[0]"),
        ({"documents": [{"title": 5}], "rank_fields": ["title"]}, "documents[0]"),
        ({"query": ""}, "query"),
        ({"query": "  \n"}, "query"),
        ({"query": 5}, "query"),
        ({"query": None}, "query"),
    ],
)
def test_wrong_text_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read(**fields)
    assert error.value.param == param


@pytest.mark.parametrize("fields", [{"top_n": -1}, {"top_n": "many"}, {"return_documents": "maybe"}, {"timeout_ms": 0}])
def test_wrong_value_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read(**fields)


@pytest.mark.parametrize(("top_n", "expected"), [(0, None), (None, None), (2, 2), ("2", 2), (2.0, 2)])
def test_top_n_is_read_leniently(top_n: object, expected: int | None) -> None:
    assert read(top_n=top_n).task().top_n == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"instruction": "find"},
        {"instruct": "find"},
        {"chat_template_kwargs": {"instruction": "find"}},
        {"chat_template_kwargs": {"instruction": "find"}, "instruction": "other"},
    ],
)
def test_instruction_has_synonyms(fields: dict[str, object]) -> None:
    assert read(**fields).task().instruction == "find"


def test_truncation_and_timeout_reach_the_task() -> None:
    task = read(truncation=False, timeout_ms=1500, max_tokens_per_doc=7).task()
    assert (task.on_overflow, task.options.timeout_s, task.truncation.max_tokens_per_doc) == (OverflowPolicy.ERROR, 1.5, 7)


@pytest.mark.parametrize("none", [None, 0, -1])
def test_cuts_reach_the_task_and_zero_is_none(none: int | None) -> None:
    asked = read(max_tokens_per_query=3, max_tokens_per_doc=7, truncate_prompt_tokens=90).task().truncation
    assert asked == Truncation(max_tokens_per_query=3, max_tokens_per_doc=7, truncate_prompt_tokens=90)
    assert read(max_tokens_per_query=max(none or 0, 0), truncate_prompt_tokens=none).task().truncation == NO_TRUNCATION


def test_answer_ranks_in_order_with_exactly_the_allowed_keys() -> None:
    body = read().answer(outcome(), ResponseMeta("1", 0))
    assert body["results"] == [
        {"index": 2, "relevance_score": 0.9, "document": {"text": "c"}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "a"}},
    ]
    assert body["id"] == "rerank-1"
    assert body["usage"] == {"prompt_tokens": 30, "total_tokens": 30}
    assert set(body) == {"id", "object", "model", "results", "usage", "meta", "prompt"}
    assert body["prompt"] == {"template": "t/1", "preset": "web-search"}


@pytest.mark.parametrize(
    ("flag", "has_documents"), [(None, True), (True, True), ("true", True), (False, False), ("false", False)]
)
def test_documents_are_left_out_only_when_asked(flag: object, has_documents: bool) -> None:
    results = read(return_documents=flag).answer(outcome(), ResponseMeta("1", 0))["results"]
    assert isinstance(results, list)
    assert all(("document" in result) is has_documents for result in results)


def test_raw_scores_are_returned_when_asked() -> None:
    results = read(raw_scores=True).answer(outcome(), ResponseMeta("1", 0))["results"]
    assert isinstance(results, list)
    assert [result["relevance_score"] for result in results] == [2.2, -2.2]


def test_requested_name_is_echoed() -> None:
    assert read(model="alias").answer(outcome(), ResponseMeta("1", 0))["model"] == "alias"
    assert read().answer(outcome(), ResponseMeta("1", 0))["model"] == "served"


def test_truth_about_documents_stands_at_the_top_level() -> None:
    changed = outcome(
        document_stats=[DocumentStats(3, 9, is_truncated=True), None, DocumentStats(1, 1)],
        failed=[Failed(1, EngineError("poison"))],
    )
    body = read().answer(changed, ResponseMeta("1", 0))
    assert body["truncated_documents"] == [0]
    assert body["failed_documents"] == [{"index": 1, "message": "poison"}]


@pytest.mark.parametrize(("num_documents", "units"), [(1, 1), (100, 1), (101, 2), (250, 3)])
def test_search_units_are_billed_by_the_hundred(num_documents: int, units: int) -> None:
    body = read(documents=["a"] * num_documents).answer(outcome(results=[]), ResponseMeta("1", 0))
    meta = body["meta"]
    assert isinstance(meta, dict)
    assert meta["billed_units"]["search_units"] == units


@pytest.mark.parametrize("word", ["truncate", "chunk", "error"])
def test_overflow_is_chosen_by_name(word: str) -> None:
    assert read(on_overflow=word, truncation=False).task().on_overflow == word


def test_log_odds_stand_beside_the_results_when_asked() -> None:
    body = read(return_logits=True).answer(outcome(), ResponseMeta("1", 0))
    assert body["logits"] == [2.2, -2.2]
    assert isinstance(body["results"], list)
    assert [result["relevance_score"] for result in body["results"]] == [0.9, 0.1]


def test_details_have_token_counts_of_every_document() -> None:
    task = read(return_details=True)
    assert task.task().with_totals
    body = task.answer(
        outcome(document_stats=[DocumentStats(3, 9, is_truncated=True), None, DocumentStats(1, 1)]), ResponseMeta("1", 0)
    )
    assert body["details"] == [
        {"index": 0, "tokens_used": 3, "tokens_total": 9, "truncated": True},
        {"index": 2, "tokens_used": 1, "tokens_total": 1, "truncated": False},
    ]


def test_best_chunk_is_named_by_its_characters() -> None:
    document_stats = [DocumentStats(9, 9, num_windows=3, best=Span(4, 8)), DocumentStats(1, 1), DocumentStats(1, 1)]
    body = read().answer(outcome(document_stats=document_stats), ResponseMeta("1", 0))
    assert body["chunked_documents"] == [{"index": 0, "num_chunks": 3, "best_chunk": {"start": 4, "end": 8}}]
