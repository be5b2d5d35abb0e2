"""The failures that durable jobs survive: which tests show each, and how they did.

With `--job-failures FILE`, a run writes them between that document's markers, with day and commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import put

BEGIN: Final = "<!-- failures: begin; written by make job-failures, do not edit -->"
END: Final = "<!-- failures: end -->"


@dataclass(frozen=True)
class Failure:
    """One row: what fails, what happens, and how the names of its tests begin."""

    what: str
    result: str
    tests: Sequence[str]


FAULTS: Final = "tests/faults/test_jobs.py::"
RECORDS: Final = "tests/unit/jobs/test_records.py::"
HTTP: Final = "tests/api/test_jobs.py::"

FAILURES: Final = (
    Failure(
        "Servers, workers and Redis are killed at random moments",
        "every accepted job ends once, with the answer of the same request",
        (f"{FAULTS}test_random_kills",),
    ),
    Failure("A worker is killed", "another one takes the job when the lease ends", (f"{FAULTS}test_orphan",)),
    Failure("Celery loses the message", "the job is found without it", (f"{FAULTS}test_ring_lost",)),
    Failure(
        "A worker is frozen, and wakes up later",
        "its result is refused",
        (f"{FAULTS}test_frozen_worker", f"{RECORDS}test_ended_lease", f"{RECORDS}test_other_token"),
    ),
    Failure(
        "A job takes longer than lease and visibility timeout",
        "it runs once",
        (f"{FAULTS}test_job_longer", f"{RECORDS}test_beats"),
    ),
    Failure(
        "Redis is gone, or frozen",
        "503, never a 202; afterwards work goes on without a restart",
        (f"{FAULTS}test_without_redis",),
    ),
    Failure("Redis is full", "503 for new jobs; accepted ones end", (f"{RECORDS}test_full_redis",)),
    Failure("No server can be reached", "jobs wait for one", (f"{FAULTS}test_accepted_jobs_wait",)),
    Failure("The server is too busy", "the job comes again later", (f"{HTTP}test_busy_server",)),
    Failure(
        "A call to Redis is sent twice",
        "nothing changes the second time",
        (f"{RECORDS}test_transitions_sent_twice",),
    ),
    Failure(
        "A client sends a request again",
        "with the same `Idempotency-Key`, it finds the same job",
        (f"{RECORDS}test_same_idempotency_key", f"{RECORDS}test_idempotency_key", f"{HTTP}test_same_idempotency_key"),
    ),
    Failure(
        "A server dies while a client follows a job",
        "the events go on at another server: none is missing, none comes twice",
        ("tests/deploy/test_jobs_behind_nginx.py::test_events_go_on", f"{HTTP}test_events_go_on"),
    ),
    Failure(
        "A request kills every worker or server that gets it",
        "the job is given up",
        (f"{RECORDS}test_job_whose_workers_end", f"{RECORDS}test_retry_waits_and_costs"),
    ),
    Failure(
        "Releases are mixed",
        "records of the release before and after are worked on",
        (f"{RECORDS}test_records_of",),
    ),
    Failure(
        "Nothing runs any more",
        "every key in Redis expires",
        (f"{RECORDS}test_memory_returns", f"{RECORDS}test_unfinished_jobs"),
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the document to write into."""
    parser.addoption("--job-failures", metavar="FILE", help="write what durable jobs survive between this document's markers")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count and write, if asked to."""
    path = config.getoption("--job-failures")
    if path:
        put(Path(path), lines(_counts(terminalreporter)), begin=BEGIN, end=END, on="on a CPU")


def lines(counts: Mapping[Failure, Counter[str]]) -> Iterator[str]:
    """Yield the table."""
    yield "| What fails | What happens | Tests | Seen |"
    yield "| --- | --- | ---: | --- |"
    for failure, count in counts.items():
        yield f"| {failure.what} | {failure.result} | {count.total()} | {_verdict(count)} |"


def _counts(reporter: pytest.TerminalReporter) -> dict[Failure, Counter[str]]:
    counts: dict[Failure, Counter[str]] = {failure: Counter() for failure in FAILURES}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, []):
            for failure in FAILURES:
                counts[failure][outcome] += report.nodeid.startswith(tuple(failure.tests))
    return counts


def _verdict(count: Counter[str]) -> str:
    if count["failed"] or count["error"]:
        return "**no**"
    return "yes" if count["passed"] and not count["skipped"] else "not tested here"
