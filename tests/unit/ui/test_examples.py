"""Examples fill forms as a person would, in both languages, and show what they say."""

from __future__ import annotations

import re

import pytest

from shortlist.ui.examples import COMPARISONS, EXAMPLES, TEXTS, Example, titles
from shortlist.ui.files import read_file
from shortlist.ui.i18n import ENGLISH, LANGUAGES


@pytest.mark.parametrize("example", [*EXAMPLES, *COMPARISONS, *TEXTS], ids=lambda example: example.key)
def test_example_is_a_form_that_can_be_sent(example: Example) -> None:
    assert set(example.title) == {messages.lang for messages in LANGUAGES}
    assert example.lines.split("\n") == list(example.documents) or not example.documents
    assert len(set(example.documents)) == len(example.documents)
    assert example.documents or example.groups


def test_groups_are_a_file_as_anybody_could_open_one() -> None:
    [example] = [example for example in EXAMPLES if example.groups]
    content = read_file("f.jsonl", example.file_text, None, ENGLISH)
    assert tuple((group.query, group.documents) for group in content.groups) == example.groups


def test_every_kind_of_thing_has_an_example() -> None:
    assert any(example.instruction for example in EXAMPLES)
    assert any(re.search(r"[\u4e00-\u9fff]", example.query) for example in EXAMPLES)
    assert any(len(text) > 1500 for example in EXAMPLES for text in example.documents)
    assert all(example.query and example.other_query for example in COMPARISONS)


def test_every_title_is_told_in_every_language() -> None:
    assert set(titles("en")) == set(titles("zh-CN")) == {example.key for example in (*EXAMPLES, *COMPARISONS, *TEXTS)}
