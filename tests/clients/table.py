"""Writes the results of all clients as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.clients.calls.telling import Row
from tests.clients.verdict import Verdict
from tests.support.pages import put

BEGIN: Final = "<!-- clients: begin; written by make test-clients, do not edit -->"
END: Final = "<!-- clients: end -->"


class Line(NamedTuple):
    """One call and its verdict."""

    row: Row
    verdict: Verdict


@dataclass
class Record:
    """Results of all calls so far, and the groups that ran."""

    calls: list[Line] = field(default_factory=list)
    groups: set[tuple[str, str]] = field(default_factory=set)


def lines(calls: Sequence[Line]) -> Iterator[str]:
    """Yield the table: one row per client, call and result, with the versions of the client."""
    good = sum(not call.verdict.wrong for call in calls)
    versions: dict[tuple[str, str, str], set[str]] = {}
    for row, verdict in sorted(calls, key=lambda call: call.row.client):
        versions.setdefault((row.client, row.call, verdict.shown), set()).add(row.version)
    yield f"**{good} of {len(calls)}** calls came to what they should."
    yield ""
    yield "| client | versions | call | result |"
    yield "| --- | --- | --- | --- |"
    for (client, call, shown), found in versions.items():
        yield f"| {client} | {', '.join(sorted(found, key=_numbers))} | {call} | {shown} |"


def write(path: Path, calls: Sequence[Line]) -> None:
    """Write the table between the markers of a document."""
    put(path, lines(calls), begin=BEGIN, end=END, on="with the demo model")


def _numbers(version: str) -> list[int]:
    return [-int(part) if part.isdecimal() else 0 for part in version.split(".")]
