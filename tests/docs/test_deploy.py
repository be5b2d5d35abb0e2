"""The guide to production: both languages show the same commands and files, and every file exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ENGLISH, CHINESE = Path("docs/deploy.md"), Path("docs/deploy.zh-CN.md")


def blocks(page: Path) -> list[list[str]]:
    """Return the lines of every block of code, without comments."""
    found = re.findall(r"^```\w+\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [[re.sub(r"\s*(?:#.*)?$", "", line) for line in block.splitlines()] for block in found]


def test_both_languages_show_the_same_code() -> None:
    english, chinese = blocks(ENGLISH), blocks(CHINESE)
    assert len(english) > 10
    assert [[line for line in block if line] for block in chinese] == [[line for line in block if line] for block in english]


def test_both_languages_have_the_same_sections_and_rows() -> None:
    for pattern in (r"^#+ ", r"^\| ", r"^- ", r"^\d\. "):
        counts = [len(re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE)) for page in (ENGLISH, CHINESE)]
        assert counts[0] == counts[1], pattern


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=str)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
