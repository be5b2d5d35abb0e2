"""Writes the result of a whole run of the tests, those marked `full` included: `--full-report FILE`, as `make test-full` does.

A test marked `full` is slow and rarely fails; its promise has a quick test as well, which `make test` runs. A run of a part of
the tests writes nothing.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import commit

NUM_SLOWEST: Final = 10
OUTCOMES: Final = ("passed", "failed", "error", "skipped")
EVERYTHING: Final = "not clients and not vllm and not image"
"""What needs no environment but the main one; the same words stand in the Makefile."""

PARTIAL: Final = ("keyword", "lf", "failedfirst", "deselect", "ignore", "ignore_glob", "maxfail", "stepwise", "core")
"""Options of pytest, by their destinations, with which a run may be of a part only."""

_STARTED: Final = pytest.StashKey[float]()


@dataclass(frozen=True)
class Result:
    """What a whole run found. Units: seconds."""

    counts: Mapping[str, int]
    seconds: float
    slowest: Sequence[tuple[str, float]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the document to write."""
    parser.addoption("--full-report", metavar="FILE", help="write the result of a whole run of the tests to this document")


def pytest_configure(config: pytest.Config) -> None:
    """Note when the run begins."""
    config.stash[_STARTED] = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Write the document, if this was a whole run."""
    path = config.getoption("--full-report")
    if not path:
        return
    reason = why_partial(config, exitstatus)
    if reason:
        terminalreporter.write_line(f"{path} is not written: {reason}", yellow=True)
        return
    found = result_of(terminalreporter.stats, time.monotonic() - config.stash[_STARTED])
    Path(path).write_text("\n".join(lines(found)) + "\n", encoding="utf-8")
    terminalreporter.write_line(f"{path} is written")


def why_partial(config: pytest.Config, exitstatus: int) -> str | None:
    """Say why a run was not one of every test, if it was not."""
    if config.getoption("markexpr") != EVERYTHING:
        return f"the tests were not chosen by -m '{EVERYTHING}'"
    if exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return "the run did not reach its end"
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return "only some paths were asked for"
    chosen = [name for name in PARTIAL if config.getoption(name, None)]
    return f"only some tests were asked for ({', '.join(chosen)})" if chosen else None


def result_of(stats: Mapping[str, Sequence[object]], seconds: float) -> Result:
    """Count and rank what a terminal reporter has gathered."""
    reports = (pytest.TestReport, pytest.CollectReport)
    counts = {outcome: sum(isinstance(each, reports) for each in stats.get(outcome, ())) for outcome in OUTCOMES}
    took: defaultdict[str, float] = defaultdict(float)
    for report in itertools.chain.from_iterable(stats.values()):
        if isinstance(report, pytest.TestReport):
            took[report.nodeid] += report.duration
    return Result(counts, seconds, sorted(took.items(), key=lambda each: -each[1])[:NUM_SLOWEST])


def lines(found: Result) -> Iterator[str]:
    """Yield the lines of the document."""
    counts = ", ".join(
        f"{found.counts[outcome]} {outcome}" for outcome in OUTCOMES if found.counts[outcome] or outcome != "error"
    )
    yield "# The last whole run of the tests"
    yield ""
    yield "Written by `make test-full`, do not edit. It runs everything that `make test` runs, and the tests marked `full`."
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| Date | {datetime.now(UTC).date().isoformat()} |"
    yield f"| Commit | `{commit()}` |"
    yield f"| Python | {platform.python_version()} |"
    yield f"| Cores | {os.cpu_count()} |"
    yield f"| Tests | {counts} |"
    yield f"| Time | {found.seconds / 60:.1f} min |"
    yield ""
    yield f"The {NUM_SLOWEST} slowest, set-up and tear-down included:"
    yield ""
    yield "| Test | Seconds |"
    yield "| --- | ---: |"
    for name, seconds in found.slowest:
        yield f"| `{name.replace('|', chr(92) + '|')}` | {seconds:.1f} |"
