"""Exports of a ranking: CSV and JSONL files, and the request as curl and Python.

The files are data links in the page itself: nothing is written to the server's disk.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import orjson

from shortlist.ui.answers import PageRanking
from shortlist.ui.form import Question
from shortlist.ui.i18n import Messages

COLUMNS: Final = ("query", "rank", "index", "relevance_score", "raw_score", "truncated", "text")
REQUEST_FILE: Final = "request.json"
MAX_SNIPPET_CHARS: Final = 4000


def export_bar(rankings: Sequence[PageRanking], messages: Messages, *, url: str, has_key: bool) -> str:
    """Return the bar below a ranking: a switch for raw scores, downloads, and the request in curl and Python."""
    if not rankings:
        return ""
    raw = (
        f'<label class="sl-check" title="{escape(messages.raw_hint)}"><input type="checkbox" class="sl-show-raw">'
        f"{escape(messages.show_raw)}</label>"
    )
    files = (
        f'<span class="sl-downloads">{escape(messages.download)} {_link("ranking.csv", "CSV", as_csv(rankings))}'
        f"{_link('ranking.jsonl', 'JSONL', as_jsonl(rankings))}</span>"
    )
    return f'<div class="sl-tools">{raw}{files}</div>{_same_request(rankings[0].question, messages, url=url, has_key=has_key)}'


def as_csv(rankings: Sequence[PageRanking]) -> str:
    """Return the rankings as CSV; its byte order mark marks it as UTF-8 for spreadsheets."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, COLUMNS)
    table.writeheader()
    table.writerows(_rows(rankings))
    return "\ufeff" + buffer.getvalue()


def as_jsonl(rankings: Sequence[PageRanking]) -> str:
    """Return the rankings as one line of JSON per document."""
    return "".join(orjson.dumps(row).decode() + "\n" for row in _rows(rankings))


def _rows(rankings: Sequence[PageRanking]) -> Iterator[dict[str, object]]:
    for ranking in rankings:
        for rank, result in enumerate(ranking.results, start=1):
            values = (
                ranking.question.query,
                rank,
                result.index,
                result.score,
                result.raw_score,
                result.is_truncated,
                result.text,
            )
            yield dict(zip(COLUMNS, values, strict=True))


def _same_request(question: Question, messages: Messages, *, url: str, has_key: bool) -> str:
    body = json.dumps(question.body, ensure_ascii=False, indent=2)
    is_long = len(body) > MAX_SNIPPET_CHARS
    note = (
        f'<p class="sl-note">{escape(messages.same_request_file)} {_link(REQUEST_FILE, REQUEST_FILE, body)}</p>'
        if is_long
        else ""
    )
    blocks = "".join(
        f'<div class="sl-code"><div><b>{name}</b>'
        f'<button type="button" data-copy="{escape(messages.copied)}">{escape(messages.copy)}'
        f'</button></div><pre tabindex="0"><code>{escape(code)}</code></pre></div>'
        for name, code in (
            ("curl", curl(question, url, has_key=has_key, is_long=is_long)),
            ("Python", python(question, url, has_key=has_key, is_long=is_long)),
        )
    )
    return f'<details class="sl-same-request"><summary>{escape(messages.same_request)}</summary>{note}{blocks}</details>'


def curl(question: Question, url: str, *, has_key: bool, is_long: bool = False) -> str:
    """Return the request as a curl command; a long body is in `request.json`."""
    key = ' \\\n  -H "authorization: Bearer $SHORTLIST_API_KEY"' if has_key else ""
    body = f"@{REQUEST_FILE}" if is_long else shlex.quote(json.dumps(question.body, ensure_ascii=False, indent=2))
    return f"curl -s {shlex.quote(f'{url}/v1/rerank')} -H 'content-type: application/json'{key} \\\n  --data-binary {body}"


def python(question: Question, url: str, *, has_key: bool, is_long: bool = False) -> str:
    """Return the request as a Python program; a long body is in `request.json`."""
    imports = ["import json"] * is_long + ["import os"] * has_key + ["import requests"]
    body = f'json.load(open("{REQUEST_FILE}", encoding="utf-8"))' if is_long else _literal(question.body)
    key = '\n    headers={"authorization": f"Bearer {os.environ[\'SHORTLIST_API_KEY\']}"},' if has_key else ""
    return (
        "\n".join(imports)
        + f"\n\nanswer = requests.post(\n    {json.dumps(f'{url}/v1/rerank')},\n    json={body},{key}\n)\n"
        + 'answer.raise_for_status()\nfor result in answer.json()["results"]:\n'
        + '    print(result["relevance_score"], result["document"]["text"])'
    )


def _literal(body: dict[str, object]) -> str:
    """Return a body as a Python literal: strings, lists of strings and numbers are the same in JSON."""
    return json.dumps(body, ensure_ascii=False, indent=4).replace("\n", "\n    ")


def _link(file_name: str, title: str, content: str) -> str:
    data = base64.b64encode(content.encode()).decode()
    return f'<a download="{file_name}" href="data:application/octet-stream;base64,{data}">{escape(title)}</a>'
