"""What was filled in becomes a question, or a sentence that says what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from shortlist.ui.files import FormError
from shortlist.ui.form import MAX_TEXTS, Question, optional_text, read_compare, read_rerank, read_texts
from shortlist.ui.i18n import ENGLISH
from tests.support.forms import compared, typed

GROUPS = '{"query": "p", "documents": ["a", "b"]}\n{"query": "r", "documents": ["c"]}'


def question(**values: Any) -> Question:
    [asked] = read_rerank(typed(**values), ENGLISH).questions
    return asked


# -- ranking ------------------------------------------------------------------------------------------------------------


def test_lines_become_documents_and_blanks_are_dropped() -> None:
    asked = question(query=" q ", documents="\n a \r\n\n\tb\n   \n")
    assert asked == Question(query="q", documents=("a", "b"))
    assert asked.body == {"query": "q", "documents": ["a", "b"]}


def test_everything_filled_in_is_used() -> None:
    asked = question(instruction=" i ", model="m", top_n=" 3 ", overflow="chunk", preset="legal")
    assert asked.body == {
        "query": "q", "documents": ["a", "b"], "instruction": "i", "model": "m", "top_n": 3, "on_overflow": "chunk",
    }  # fmt: skip


def test_preset_is_used_unless_there_are_words_of_ones_own() -> None:
    assert question(preset="legal").body["preset"] == "legal"
    assert "preset" not in question(preset="legal", instruction="i").body


def test_file_takes_the_place_of_what_was_typed() -> None:
    asked = question(file_name="f.csv", file_text="text,title\nx,y\n", column="title")
    assert asked.documents == ("y",)


def test_groups_of_a_file_have_their_own_queries_and_the_forms_terms() -> None:
    form = read_rerank(typed(query="", file_name="f.jsonl", file_text=GROUPS, top_n="1", model="m"), ENGLISH)
    assert form.has_groups
    assert form.num_documents == 3
    assert [(each.query, each.documents, each.top_n, each.model) for each in form.questions] == [
        ("p", ("a", "b"), 1, "m"),
        ("r", ("c",), 1, "m"),
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"query": " "}, ENGLISH.no_query),
        ({"query": None}, ENGLISH.no_query),
        ({"query": ["q"]}, ENGLISH.no_query),
        ({"documents": "\n \n"}, ENGLISH.no_documents),
        ({"documents": {"a": 1}}, ENGLISH.no_documents),
        ({"file_name": "f.jsonl", "file_text": "{"}, ENGLISH.file_no_json.format(line=1)),
        *(({"top_n": value}, ENGLISH.bad_top_n) for value in ("0", "-1", "2.5", "many", "1e3", "9" * 5000)),
    ],
)
def test_form_that_cannot_be_sent_says_what_is_missing(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormError, match=r".") as caught:
        read_rerank(typed(**values), ENGLISH)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("overflow", ["error", None, 3])
def test_what_becomes_of_long_documents_is_one_of_two_things(overflow: object) -> None:
    assert question(overflow=overflow).on_overflow == "truncate"


# -- comparing ----------------------------------------------------------------------------------------------------------


def test_right_side_is_as_the_left_where_it_is_empty() -> None:
    left, right = read_compare(compared(query_a="q", model_a="m", instruction_b="i"), ENGLISH)
    assert left == Question(query="q", documents=("a", "b"), model="m")
    assert right == Question(query="q", documents=("a", "b"), model="m", instruction="i")


@pytest.mark.parametrize("other", [{"query_b": "r"}, {"model_b": "n"}, {"preset_b": "legal"}, {"instruction_b": "i"}])
def test_sides_may_differ_in_anything(other: dict[str, str]) -> None:
    left, right = read_compare(compared(query_a="q", model_a="m", **other), ENGLISH)
    assert left != right
    assert left.documents == right.documents


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"query_a": ""}, ENGLISH.no_query),
        ({"documents": ""}, ENGLISH.no_documents),
        ({}, ENGLISH.nothing_to_compare),
        ({"model_b": "m", "model_a": "m", "query_b": "q"}, ENGLISH.nothing_to_compare),
    ],
)
def test_comparison_of_nothing_says_so(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(FormError, match=r".") as caught:
        read_compare(compared(**{"query_a": "q", **values}), ENGLISH)
    assert str(caught.value) == sentence


# -- embedding ----------------------------------------------------------------------------------------------------------


def test_texts_are_lines_neither_too_few_nor_too_many() -> None:
    assert read_texts("a\n\nb", ENGLISH) == ("a", "b")
    with pytest.raises(FormError, match="at least two"):
        read_texts("a", ENGLISH)
    with pytest.raises(FormError, match=f"more than {MAX_TEXTS}"):
        read_texts("a\n" * (MAX_TEXTS + 1), ENGLISH)


@pytest.mark.parametrize(("value", "text"), [(" m ", "m"), ("", None), (None, None), (["m"], None)])
def test_field_is_a_text_or_nothing(value: object, text: str | None) -> None:
    assert optional_text(value) == text
