"""The scorecard names tests that exist, and its page shows what they stand for."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.scorecard import BEGIN, END, PROMISES, TESTS, promises_of, write

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reliability.md"


@pytest.mark.parametrize("beginning", sorted({name for names in TESTS.values() for name in names}))
def test_named_tests_exist(beginning: str) -> None:
    path, _, name = beginning.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert re.search(rf"^(?:async def |def |class ){name}|^{name}\b", (ROOT / path).read_text(), re.MULTILINE)


def test_only_known_promises_have_tests() -> None:
    assert set(TESTS) <= set(PROMISES)


def test_test_stands_for_its_promises() -> None:
    assert promises_of("tests/faults/test_wire.py::test_disconnect_while_queued_computes_nothing[close]") == ["R5"]
    assert promises_of("tests/unit/test_config.py::test_anything") == []


def test_page_lists_every_promise() -> None:
    text = PAGE.read_text()
    assert BEGIN in text
    assert END in text
    for name, expectations in PROMISES.items():
        assert f"| {name} | {expectations} |" in text


def test_table_shows_passed_failed_and_missing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nwas here\n{END}\nafter\n")
    counts = {name: Counter[str]() for name in PROMISES}
    counts["R1"].update(passed=3)
    counts["R2"].update(passed=1, failed=1)
    counts["R3"].update(passed=2, skipped=1)
    counts["R4"].update(skipped=1)
    write(page, counts)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "was here" not in text
    assert f"**2 of {len(PROMISES)}**" in text
    for name, verdict in (("R1", "yes"), ("R2", "**no**"), ("R3", "yes, 1 skipped"), ("R4", "skipped here")):
        assert f"| {name} | {PROMISES[name]} | {counts[name].total()} | {verdict} |" in text
    assert f"| R5 | {PROMISES['R5']} | 0 | not tested here |" in text
