"""The page speaks two languages, completely, and picks the right one."""

from __future__ import annotations

import re
from dataclasses import asdict, fields

import pytest

from shortlist.ui.examples import EXAMPLES
from shortlist.ui.text import CHINESE, ENGLISH, Words, translations, words_for


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, ENGLISH),
        ("", ENGLISH),
        ("en-GB,en;q=0.9", ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("zh", CHINESE),
        ("ZH-tw", CHINESE),
        ("fr-FR,zh;q=0.5,en;q=0.4", CHINESE),
        ("fr,de", ENGLISH),
        (",;q=,x" * 50, ENGLISH),
    ],
)
def test_first_language_we_speak_is_chosen(header: str | None, words: Words) -> None:
    assert words_for(header) is words


@pytest.mark.parametrize("field", [field.name for field in fields(Words)])
def test_both_languages_say_it_with_the_same_blanks(field: str) -> None:
    english, chinese = str(getattr(ENGLISH, field)), str(getattr(CHINESE, field))
    assert english.strip()
    assert chinese.strip()
    assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", chinese))
    assert english != chinese
    if field != "lang":
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert not re.search(r"[\u4e00-\u9fff]", english)


def test_every_chinese_browser_gets_chinese_labels() -> None:
    labels = translations()
    assert labels["en"]["rank"] == "Rank"
    assert {labels[locale]["rank"] for locale in ("zh", "zh-CN", "zh-TW", "zh-HK")} == {CHINESE.rank}
    assert set(labels["en"]) == set(labels["zh"]) > set(asdict(ENGLISH))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.key)
def test_example_fills_the_form_as_a_person_would(example: object) -> None:
    assert example in EXAMPLES
    for item in EXAMPLES:
        assert item.query
        assert item.lines.split("\n") == list(item.documents)
        assert len(set(item.documents)) == len(item.documents) >= 5
        assert set(item.title) == {"en", "zh-CN"}


def test_one_example_has_an_instruction_and_one_is_chinese() -> None:
    assert any(example.instruction for example in EXAMPLES)
    assert any(re.search(r"[\u4e00-\u9fff]", example.query) for example in EXAMPLES)
