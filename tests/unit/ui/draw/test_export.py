"""Exports equal the ranking shown: CSV and JSONL files, and commands that send the same request."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from shortlist.ui.draw.export import MAX_SNIPPET_CHARS, as_csv, as_jsonl, curl, export_bar, python
from shortlist.ui.form import Question
from shortlist.ui.i18n import ENGLISH
from tests.support.rankings import document, ranking

NASTY = "a 'quote', a \"quote\", a \\ and a\ttab, 中文 \u2028 $HOME `ls`"
QUESTION = Question(query=NASTY, documents=(NASTY, "b"), model="m", instruction="i", top_n=1, on_overflow="chunk")
URL = "http://server:8080"


def links(html: str) -> dict[str, str]:
    found = re.findall(r'download="([^"]+)" href="data:application/octet-stream;base64,([^"]*)"', html)
    return {name: base64.b64decode(data).decode() for name, data in found}


def test_csv_has_a_byte_order_mark_and_every_row() -> None:
    answer = ranking(document(1, 0.9, 'b, "c"\nd', raw_score=2.5), document(0, 0.1, "a", is_truncated=True), query=NASTY)
    written = as_csv([answer])
    assert written.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(written.removeprefix("\ufeff"), newline="")))
    assert [(row["query"], row["rank"], row["index"], row["text"]) for row in rows] == [
        (NASTY, "1", "1", 'b, "c"\nd'),
        (NASTY, "2", "0", "a"),
    ]
    assert [row["relevance_score"] for row in rows] == ["0.9", "0.1"]
    assert [row["raw_score"] for row in rows] == ["2.5", ""]


def test_jsonl_contains_every_row_of_every_group() -> None:
    rows = [
        json.loads(line)
        for line in as_jsonl([ranking(document(0, 0.5, "a"), query=query) for query in ("p", "q")]).splitlines()
    ]
    assert [row["query"] for row in rows] == ["p", "q"]
    assert set(rows[0]) == {"query", "rank", "index", "relevance_score", "raw_score", "truncated", "text"}


def test_downloads_are_data_links_in_the_page() -> None:
    answer = ranking(document(0, 0.5, NASTY))
    files = links(export_bar([answer], ENGLISH, url=URL, has_key=False))
    assert files == {"ranking.csv": as_csv([answer]), "ranking.jsonl": as_jsonl([answer])}


def test_export_bar_is_empty_without_rankings() -> None:
    assert export_bar([], ENGLISH, url=URL, has_key=False) == ""


def sent_by_curl(command: str) -> tuple[str, list[str], str]:
    """Return the URL, the headers and the body of a command, split as a shell does."""
    program, *arguments = shlex.split(command)
    assert (program, arguments[0]) == ("curl", "-s")
    headers = [value for flag, value in pairwise(arguments) if flag == "-H"]
    return arguments[1], headers, arguments[arguments.index("--data-binary") + 1]


def test_curl_sends_the_same_request_for_any_text() -> None:
    url, headers, body = sent_by_curl(curl(QUESTION, URL, has_key=False))
    assert (url, headers) == (f"{URL}/v1/rerank", ["content-type: application/json"])
    assert json.loads(body) == QUESTION.body


def test_key_is_an_environment_variable_in_the_commands() -> None:
    _, headers, _ = sent_by_curl(curl(QUESTION, URL, has_key=True))
    assert headers[1] == "authorization: Bearer $SHORTLIST_API_KEY"
    assert "SHORTLIST_API_KEY" in python(QUESTION, URL, has_key=True)


STUB = """
import sys, types, json
class Answer:
    raise_for_status = lambda self: None
    json = lambda self: {"results": [{"relevance_score": 0.5, "document": {"text": "b"}}]}
def post(url, **rest):
    print(json.dumps([url, rest]))
    return Answer()
sys.modules["requests"] = types.SimpleNamespace(post=post)
"""


def run(program: str, **environ: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", STUB + program], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("has_key", [False, True])
def test_program_sends_the_same_request_and_prints_the_ranking(has_key: bool) -> None:
    sent, printed = run(python(QUESTION, URL, has_key=has_key), SHORTLIST_API_KEY="open-sesame", PYTHONUTF8="1")
    expected: dict[str, Any] = {"json": QUESTION.body}
    if has_key:
        expected["headers"] = {"authorization": "Bearer open-sesame"}
    assert json.loads(sent) == [f"{URL}/v1/rerank", expected]
    assert printed == "0.5 b"


def test_long_request_is_downloaded_as_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "word " * MAX_SNIPPET_CHARS
    answer = ranking(document(0, 0.5, text))
    html = export_bar([answer], ENGLISH, url=URL, has_key=False)
    assert json.loads(links(html)["request.json"]) == answer.question.body
    assert "--data-binary @request.json" in html
    (tmp_path / "request.json").write_text(links(html)["request.json"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    sent, _ = run(python(answer.question, URL, has_key=False, is_long=True), PYTHONUTF8="1")
    assert json.loads(sent)[1] == {"json": answer.question.body}
