"""Output of rankings: tables and JSON lines."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from shortlist.cli.checkpoint import Digest
from shortlist.cli.input import InputGroup, Text
from shortlist.cli.output import Groups, RankedGroup, Results, Tables, table
from shortlist.client import NotRanked, RankedText
from shortlist.client.progress import Bar
from shortlist.errors import InputTooLong

GROUP = InputGroup(position=3, line=7, query="red\x1b[2J apple", texts=(Text(0, "a"), Text(1, "b"), Text(2, "c")), id="seven")
RESULTS = (RankedText(2, 0.9, "c\x1b]0;title\x07\nsecond line " + "x" * 200), RankedText(0, 0.25, "[bold]a"))
DIGEST = Digest(None, None, None)


def test_table_shows_one_line_per_document_without_control_characters() -> None:
    file = io.StringIO()
    Console(file=file, width=80).print(table(RankedGroup(group=GROUP, results=RESULTS)))
    title, head, first, second = file.getvalue().rstrip().splitlines()
    assert title.strip() == "red [2J apple"
    assert head.split() == ["index", "score", "document"]
    assert first.startswith("    2  0.900")
    assert "c ]0;title second line" in first
    assert first.rstrip().endswith("…")
    assert second.rstrip().endswith("[bold]a")
    assert "\x1b" not in file.getvalue()


def test_group_without_ranking_shows_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    Tables(Bar("x", None)).put(RankedGroup(group=GROUP, error=InputTooLong("The query is too long.")))
    assert "not ranked: The query is too long." in capsys.readouterr().out


def test_results_are_json_lines_with_the_servers_fields() -> None:
    file = io.BytesIO()
    Results(file).put(RankedGroup(group=GROUP, results=RESULTS))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert lines == [{"index": each.index, "relevance_score": each.score, "text": each.text} for each in RESULTS]


def test_group_is_one_json_line_without_empty_fields() -> None:
    file = io.BytesIO()
    Groups(file, DIGEST).put(RankedGroup(group=GROUP, model="m", results=RESULTS[1:]))
    assert json.loads(file.getvalue()) == {
        "group": 3,
        "id": "seven",
        "query": GROUP.query,
        "model": "m",
        "results": [{"index": 0, "relevance_score": 0.25, "text": "[bold]a"}],
        "digest": DIGEST.of(GROUP),
    }


def test_group_line_has_truncated_and_failed_documents() -> None:
    file = io.BytesIO()
    failed = (NotRanked(1, "bad"),)
    Groups(file, DIGEST).put(RankedGroup(group=GROUP, model="m", results=(), failed=failed, truncated=(2,)))
    Groups(file, DIGEST).put(RankedGroup(group=GROUP, error=InputTooLong("too long")))
    partly, not_at_all = map(json.loads, file.getvalue().splitlines())
    assert partly["results"] == []
    assert partly["failed_documents"] == [{"index": 1, "message": "bad"}]
    assert partly["truncated_documents"] == [2]
    assert not_at_all == {
        "group": 3,
        "id": "seven",
        "query": GROUP.query,
        "error": "too long",
        "digest": DIGEST.of(GROUP),
    }
