"""The guide names everyone who was tried, in both languages, and its table is of what is tried now."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from shortlist.doctor.checks import consumers
from tests.clients.calls.telling import Row
from tests.clients.groups import CALLS, ENVIRONMENTS, GROUPS, HERE
from tests.clients.table import BEGIN, END, Line, write
from tests.clients.verdict import Verdict

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/clients.md"
GUIDES = [GUIDE, ROOT / "docs/clients.zh-CN.md"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def tried(environment: str) -> dict[str, str]:
    """Return what an environment is for, with versions: the first part of its list."""
    lines = (HERE / "environments" / environment / "requirements.txt").read_text().partition("\n\n")[0].splitlines()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line[0] != "#")}


TRIED = [(environment, *package) for environment in ENVIRONMENTS for package in tried(environment).items()]


def rows() -> list[list[str]]:
    _, begin, rest = GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    table, end, _ = rest.partition(END)
    assert begin
    assert end
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")][2:]


TRIED_FOR_REAL = frozenset(
    {
        "cohere",
        "dashscope",
        "huggingface",
        "infinity",
        "jina",
        "nvidia",
        "openai",
        "text-embeddings-inference",
        "voyage",
        "xinference",
    }
)
"""Recorded for the doctor alone: their packages stand in the guide under their own names."""


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guide_names_everyone(guide: Path) -> None:
    named = set(re.findall(r"\*\*([^*]+)\*\*", guide.read_text(encoding="utf-8")))
    assert {package for _, package, _ in TRIED} <= {canonical(name) for name in named}
    assert {consumer["consumer"] for name, consumer in consumers().items() if name not in TRIED_FOR_REAL} <= named


def test_guides_give_the_same_settings() -> None:
    english, chinese = (
        re.findall(r"`([^`]+)`", guide.read_text(encoding="utf-8").partition("## Measured")[0]) for guide in GUIDES
    )
    assert Counter(english) == Counter(chinese)


@pytest.mark.parametrize(("environment", "package", "version"), TRIED)
def test_table_has_every_version_that_is_tried_now(environment: str, package: str, version: str) -> None:
    assert any(canonical(client) == package and version in versions.split(", ") for client, versions, *_ in rows())


def test_every_row_of_the_table_passed() -> None:
    assert [row for row in rows() if "**" in row[-1]] == []


def test_every_script_is_run_and_every_environment_is_used() -> None:
    assert {f"{script}_calls.py" for _, script in GROUPS} == {path.name for path in CALLS.glob("*_calls.py")}
    assert {*ENVIRONMENTS, "openapi"} == {path.name for path in (HERE / "environments").iterdir()}


def test_table_groups_versions_and_counts_passed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nwas here\n{END}\nafter\n")
    good, bad = Verdict("3 ranked"), Verdict("**no**", "document 0 comes first")
    rows = [Row("cohere", version, "rerank", "ranking") for version in ("7.3.1", "5.21.1", "10.0")]
    write(page, [Line(rows[0], good), Line(rows[1], good), Line(rows[2], bad)])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "was here" not in text
    assert "**2 of 3** calls" in text
    assert "| cohere | 7.3.1, 5.21.1 | rerank | 3 ranked |" in text
    assert "| cohere | 10.0 | rerank | **no** |" in text
