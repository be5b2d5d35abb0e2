"""Examples are valid forms, in both languages, and cover the page's features."""

from __future__ import annotations

import re

import pytest

from shortlist.ui.examples import COMPARISONS, EXAMPLES, TEXTS, Example, titles
from shortlist.ui.files import read_file
from shortlist.ui.i18n import ENGLISH, LANGUAGES


@pytest.mark.parametrize("example", [*EXAMPLES, *COMPARISONS, *TEXTS], ids=lambda example: example.key)
def test_example_is_a_valid_form(example: Example) -> None:
    assert set(example.title) == {messages.lang for messages in LANGUAGES}
    assert example.lines.split("\n") == list(example.documents) or not example.documents
    assert len(set(example.documents)) == len(example.documents)
    assert example.documents or example.groups


def test_groups_of_an_example_are_a_readable_file() -> None:
    [example] = [example for example in EXAMPLES if example.groups]
    content = read_file("f.jsonl", example.file_text, None, ENGLISH)
    assert tuple((group.query, group.documents) for group in content.groups) == example.groups


def test_examples_cover_instruction_chinese_long_document_and_comparison() -> None:
    assert any(example.instruction for example in EXAMPLES)
    assert any(re.search(r"[\u4e00-\u9fff]", example.query) for example in EXAMPLES)
    assert any(len(text) > 1500 for example in EXAMPLES for text in example.documents)
    assert all(example.query and example.other_query for example in COMPARISONS)


def test_every_title_exists_in_every_language() -> None:
    assert set(titles("en")) == set(titles("zh-CN")) == {example.key for example in (*EXAMPLES, *COMPARISONS, *TEXTS)}
