"""Form values become a question, or an error message that names the missing value."""

from __future__ import annotations

from typing import Any

import pytest

from shortlist.ui.files import FormError
from shortlist.ui.form import MAX_TEXTS, Question, optional_text, read_compare, read_rerank, read_texts
from shortlist.ui.i18n import ENGLISH
from tests.support.forms import compared, typed

GROUPS = '{"query": "p", "documents": ["a", "b"]}\n{"query": "r", "documents": ["c"]}'


def question(**values: Any) -> Question:
    [parsed] = read_rerank(typed(**values), ENGLISH).questions
    return parsed


# -- ranking ------------------------------------------------------------------------------------------------------------


def test_lines_become_documents_and_blanks_are_dropped() -> None:
    parsed = question(query=" q ", documents="\n a \r\n\n\tb\n   \n")
    assert parsed == Question(query="q", documents=("a", "b"))
    assert parsed.body == {"query": "q", "documents": ["a", "b"]}


def test_everything_filled_in_is_used() -> None:
    parsed = question(instruction=" i ", model="m", top_n=" 3 ", overflow="chunk", preset="legal")
    assert parsed.body == {
        "query": "q", "documents": ["a", "b"], "instruction": "i", "model": "m", "top_n": 3, "on_overflow": "chunk",
    }  # fmt: skip


def test_instruction_replaces_preset() -> None:
    assert question(preset="legal").body["preset"] == "legal"
    assert "preset" not in question(preset="legal", instruction="i").body


def test_file_replaces_typed_documents() -> None:
    parsed = question(file_name="f.csv", file_text="text,title\nx,y\n", column="title")
    assert parsed.documents == ("y",)


def test_groups_of_a_file_use_their_own_queries_and_the_options_of_the_form() -> None:
    form = read_rerank(typed(query="", file_name="f.jsonl", file_text=GROUPS, top_n="1", model="m"), ENGLISH)
    assert form.has_groups
    assert form.num_documents == 3
    assert [(each.query, each.documents, each.top_n, each.model) for each in form.questions] == [
        ("p", ("a", "b"), 1, "m"),
        ("r", ("c",), 1, "m"),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
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
def test_invalid_form_raises_its_message(values: dict[str, Any], message: str) -> None:
    with pytest.raises(FormError, match=r".") as caught:
        read_rerank(typed(**values), ENGLISH)
    assert str(caught.value) == message


@pytest.mark.parametrize("overflow", ["error", None, 3])
def test_unknown_overflow_choice_is_truncate(overflow: object) -> None:
    assert question(overflow=overflow).on_overflow == "truncate"


# -- comparing ----------------------------------------------------------------------------------------------------------


def test_empty_fields_of_the_right_side_default_to_the_left() -> None:
    left, right = read_compare(compared(query_a="q", model_a="m", instruction_b="i"), ENGLISH)
    assert left == Question(query="q", documents=("a", "b"), model="m")
    assert right == Question(query="q", documents=("a", "b"), model="m", instruction="i")


@pytest.mark.parametrize("other", [{"query_b": "r"}, {"model_b": "n"}, {"preset_b": "legal"}, {"instruction_b": "i"}])
def test_sides_may_differ_in_anything(other: dict[str, str]) -> None:
    left, right = read_compare(compared(query_a="q", model_a="m", **other), ENGLISH)
    assert left != right
    assert left.documents == right.documents


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"query_a": ""}, ENGLISH.no_query),
        ({"documents": ""}, ENGLISH.no_documents),
        ({}, ENGLISH.nothing_to_compare),
        ({"model_b": "m", "model_a": "m", "query_b": "q"}, ENGLISH.nothing_to_compare),
    ],
)
def test_invalid_comparison_raises_its_message(values: dict[str, str], message: str) -> None:
    with pytest.raises(FormError, match=r".") as caught:
        read_compare(compared(**{"query_a": "q", **values}), ENGLISH)
    assert str(caught.value) == message


# -- embedding ----------------------------------------------------------------------------------------------------------


def test_number_of_texts_is_limited() -> None:
    assert read_texts("a\n\nb", ENGLISH) == ("a", "b")
    with pytest.raises(FormError, match="at least two"):
        read_texts("a", ENGLISH)
    with pytest.raises(FormError, match=f"more than {MAX_TEXTS}"):
        read_texts("a\n" * (MAX_TEXTS + 1), ENGLISH)


@pytest.mark.parametrize(("value", "text"), [(" m ", "m"), ("", None), (None, None), (["m"], None)])
def test_optional_text_is_stripped_or_none(value: object, text: str | None) -> None:
    assert optional_text(value) == text
