"""Documents of which a run of the tests writes a part."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path


def put(path: Path, lines: Iterable[str], *, begin: str, end: str, on: str) -> None:
    """Put a table between the markers of a document, below the day, the commit and what it was measured on."""
    before, has_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, has_end, after = rest.partition(end)
    assert has_begin, f"{path} has no line {begin!r}"
    assert has_end, f"{path} has no line {end!r}"
    when = f"{datetime.now(UTC).date().isoformat()}, commit `{commit()}`, {on}."
    path.write_text("\n".join((f"{before}{begin}", "", when, "", *lines, "", f"{end}{after}")), encoding="utf-8")


def commit() -> str:
    """Return the short name of the commit that is checked out."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
