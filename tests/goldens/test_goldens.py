"""The server answers recorded requests as recorded, and detects model folders as recorded.

If a change is meant, record it with `python -m tests.goldens`, and read the diff as the clients that it reaches.
"""

from __future__ import annotations

import asyncio
from difflib import unified_diff
from pathlib import Path

import pytest

from shortlist.api.dialects import table
from tests.goldens import models, replay, surface
from tests.goldens.layouts import LAYOUTS
from tests.goldens.transcript import MESSAGES, Exchange, Transcript

FILES = replay.transcripts()


def check(recorded: str, found: str) -> None:
    """Fail with the difference, and nothing else that a reader would have to look past."""
    lines = unified_diff(recorded.splitlines(), found.splitlines(), "recorded", "now", n=3, lineterm="")
    if difference := "\n".join(lines):
        pytest.fail(difference, pytrace=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_requests_are_answered_as_recorded(path: Path) -> None:
    found = asyncio.run(replay.replayed(Transcript.read(path)))
    check(path.read_text(encoding="utf-8"), found.written())
    recorded = [line for line in MESSAGES.read_text(encoding="utf-8").splitlines() if line.startswith(f"{path.stem} | ")]
    check("\n".join(recorded), replay.messages([(path.stem, found)]))


def test_messages_of_no_other_transcript_are_kept() -> None:
    names = {line.partition(" | ")[0] for line in MESSAGES.read_text(encoding="utf-8").splitlines()}
    assert names <= {path.stem for path in FILES}


def test_every_request_of_every_dialect_is_recorded() -> None:
    exchanges = [each for path in FILES for each in Transcript.read(path).exchanges]
    asked = {each.path for each in exchanges if each.answer[0].startswith("200 ")}
    missing = {path for path in table.ENTRIES if "{" not in path} - asked
    assert missing == {"/embed_all", "/embed_sparse"}, "those two are refused everywhere"
    names = {path.stem for path in FILES}
    assert {dialect.name for dialect in table.DIALECTS} <= names
    assert "{" not in "".join(names)


def test_names_are_unique_in_a_transcript() -> None:
    for path in FILES:
        names = [each.name for each in Transcript.read(path).exchanges]
        assert len(set(names)) == len(names), path.stem


def test_surface_is_as_recorded() -> None:
    check(surface.FILE.read_text(encoding="utf-8"), surface.text())


def test_layouts_are_detected_as_recorded(tmp_path: Path) -> None:
    kinds, reasons = models.detections(tmp_path)
    check(models.DETECTIONS.read_text(encoding="utf-8"), kinds)
    check(models.REASONS.read_text(encoding="utf-8"), reasons)
    assert len(LAYOUTS) > 90


@pytest.mark.timeout(600)  # loads five models
def test_fingerprints_are_as_recorded(tmp_path: Path) -> None:
    check(models.FINGERPRINTS.read_text(encoding="utf-8"), models.fingerprints(tmp_path))


def test_transcript_is_written_as_it_was_read(tmp_path: Path) -> None:
    transcript = Transcript(
        "both",
        (
            Exchange(
                "one", "POST", "/rerank?x=1", {"X-A": "b: c"}, b'{"query":"\xe7\x8b\x90"}', ("200 application/json", "{}")
            ),
            Exchange("two", "GET", "/", {}, None, ("307 - location=docs",)),
        ),
    )
    path = tmp_path / "some.http"
    path.write_text(transcript.written(), encoding="utf-8")
    assert Transcript.read(path) == transcript


def test_request_without_an_answer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.http"
    path.write_text('server: both\n\n=== new\nPOST /rerank\n{"query":"a"}\n', encoding="utf-8")
    [new] = Transcript.read(path).exchanges
    assert (new.method, new.body, new.answer) == ("POST", b'{"query":"a"}', ())
