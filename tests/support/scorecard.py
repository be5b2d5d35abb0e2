"""The reliability scorecard: which promises there are, which tests stand for them, and how they did.

With `--scorecard FILE`, a run shows them at its end and writes them between that document's markers, with day and commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import put

PROMISES: Final[Mapping[str, str]] = {
    "R1": "Overload is refused early and never slows down what was admitted",
    "R2": "A request is admitted whole or refused whole, and permits never leak",
    "R3": "The queue is bounded and fair, and the engine never idles while work waits",
    "R4": "What is late is never computed, and its caller is told in time",
    "R5": "A client that is gone costs nothing more",
    "R6": "One bad item hurts only itself",
    "R7": "Running out of memory loses nothing, and steps become smaller for a while",
    "R8": "A dead engine is loud, and comes back if it is meant to",
    "R9": "Told to stop, it answers what it has and exits with 0",
    "R10": "A sick upstream cannot drag it down",
    "R11": "Acknowledged jobs survive a crash",
    "R12": "Memory is bounded over time",
    "R13": "No body can hurt it",
    "R14": "Any bytes get a documented answer",
    "R15": "A caller's text cannot become control tokens",
    "R16": "A score does not depend on its neighbours",
    "R17": "A score is the model's score",
    "R18": "A cached score never belongs to another text",
    "R19": "Every route is closed without a key, but for those that probes ask",
    "R20": "Logs, metrics and errors never quote a caller or a key",
    "R21": "It opens no outgoing connection that was not configured",
    "R22": "What it starts with is what was meant, or it does not start",
    "R23": "A long text costs what is read of it",
    "R24": "Slow, idle and endless connections hold nothing for long",
    "R25": "Pages of other sites cannot use it",
    "R26": "The page obeys the rules of the API",
    "R27": "No header evades a caller's limits",
}

TESTS: Final[Mapping[str, Sequence[str]]] = {
    "R1": ["tests/faults/test_overload.py"],
    "R2": [
        "tests/properties/test_scheduler.py::TestAdmission",
        "tests/properties/test_dispatcher.py",
        "tests/unit/scheduler/test_admission.py",
        "tests/unit/scheduler/test_served_model.py",
    ],
    "R3": ["tests/properties/test_scheduler.py::TestScheduler", "tests/unit/scheduler/test_queue.py"],
    "R4": [
        "tests/unit/scheduler/test_dispatcher.py::test_late_job",
        "tests/unit/scheduler/test_dispatcher.py::test_job_past_its_deadline_is_refused_at_once",
        "tests/unit/scheduler/test_served_model.py::test_deadline",
        "tests/api/test_http.py::test_deadline",
        "tests/properties/test_dispatcher.py::test_storm",
    ],
    "R5": ["tests/faults/test_wire.py::test_disconnect", "tests/unit/scheduler/test_served_model.py::test_cancellation"],
    "R6": [
        "tests/unit/scheduler/test_dispatcher.py::test_bad_item",
        "tests/unit/scheduler/test_dispatcher.py::test_score_that_is_not_finite",
        "tests/unit/scheduler/test_dispatcher.py::test_wrong_number_of_values",
        "tests/properties/test_dispatcher.py::test_storm",
    ],
    "R7": [
        "tests/unit/scheduler/test_batcher.py::test_nothing_changes_while",
        "tests/unit/scheduler/test_batcher.py::test_out_of_memory_batch_halves_the_token_limit",
        "tests/unit/scheduler/test_batcher.py::test_smaller_failure",
        "tests/unit/scheduler/test_batcher.py::test_token_limit_is_raised_in_steps",
        "tests/unit/scheduler/test_batcher.py::test_another_failure",
        "tests/unit/scheduler/test_batcher.py::test_token_limit_stays_between_one_and_the_setting",
        "tests/unit/scheduler/test_dispatcher.py::test_out_of_memory",
        "tests/unit/scheduler/test_dispatcher.py::test_step",
    ],
    "R8": [
        "tests/unit/scheduler/test_dispatcher.py::test_failed_engine",
        "tests/unit/service/test_restart.py",
        "tests/properties/test_dispatcher.py::test_engine_failure",
        "tests/api/test_http.py::test_dead_engine",
        "tests/faults/test_dying.py",
        "tests/faults/test_workers.py::test_worker_killed",
        "tests/faults/test_workers.py::test_worker_failure_without_restart",
        "tests/unit/engine/workers/test_workers_engine.py::test_worker_killed",
    ],
    "R9": [
        "tests/faults/test_process.py::test_sigterm",
        "tests/faults/test_process.py::test_requests_beyond_the_drain_timeout",
        "tests/faults/test_process.py::test_second_signal",
    ],
    "R10": [
        "tests/faults/test_upstream.py",
        "tests/unit/test_breaker.py",
        "tests/unit/engine/vllm/test_calls.py::test_a_few_retries",
        "tests/unit/engine/vllm/test_calls.py::test_ten_calls",
        "tests/unit/engine/vllm/test_calls.py::test_retry_budget_is_capped",
        "tests/unit/engine/vllm/test_calls.py::test_exhausted_retry_budget",
        "tests/unit/engine/vllm/test_calls.py::test_retries_never",
    ],
    "R11": ["tests/faults/test_jobs.py", "tests/unit/jobs/test_records.py"],
    "R12": ["tests/soak/test_soak.py"],
    "R13": [
        "tests/faults/test_wire.py::test_announced",
        "tests/faults/test_wire.py::test_200_mb",
        "tests/faults/test_wire.py::test_chunked",
        "tests/faults/test_wire.py::test_slow_body",
        "tests/faults/test_wire.py::test_body_shorter",
        "tests/faults/test_bodies.py",
        "tests/faults/test_hostile.py::test_expensive_body",
        "tests/faults/test_hostile.py::test_bodies_have_a_budget",
        "tests/soak/test_hostile.py::test_expensive_bodies",
        "tests/unit/api/test_json_body.py",
    ],
    "R14": ["tests/properties/test_parse.py", "tests/faults/test_wire.py::test_garbage"],
    "R15": ["tests/properties/test_injection.py"],
    "R16": ["tests/properties/test_independence.py"],
    "R17": ["tests/parity"],
    "R18": [
        "tests/unit/scheduler/test_cache.py",
        "tests/unit/scheduler/test_codec.py",
        "tests/unit/scheduler/test_served_model.py::test_other_inputs_have_other_cache_keys",
        "tests/faults/test_redis.py",
    ],
    "R19": ["tests/security/test_closed.py"],
    "R20": ["tests/security/test_secrets.py", "tests/security/test_process.py", "tests/unit/test_logs.py"],
    "R21": ["tests/security/test_egress.py"],
    "R22": ["tests/faults/test_selftest.py", "tests/unit/hub/test_integrity.py"],
    "R23": [
        "tests/faults/test_hostile.py::test_long_text",
        "tests/faults/test_hostile.py::test_tokenizing",
        "tests/unit/text/test_reading.py",
        "tests/unit/scheduler/test_tokenizing.py",
    ],
    "R24": [
        "tests/faults/test_hostile.py::test_any_number_of_prefixes",
        "tests/faults/test_hostile.py::test_many_parameters",
        "tests/faults/test_hostile.py::test_endless_headers",
        "tests/faults/test_hostile.py::test_large_headers",
        "tests/faults/test_hostile.py::test_connection_without",
        "tests/faults/test_hostile.py::test_idle_connections",
        "tests/faults/test_hostile.py::test_answers_that_are_not_read",
        "tests/faults/test_hostile.py::test_files_running_out",
        "tests/soak/test_hostile.py::test_slow_readers",
    ],
    "R25": [
        "tests/faults/test_hostile.py::test_pages_of_other_sites",
        "tests/faults/test_hostile.py::test_other_hosts",
        "tests/faults/test_hostile.py::test_names_of_this_machine",
    ],
    "R26": ["tests/faults/test_hostile.py::test_page_", "tests/faults/test_hostile.py::test_open_page"],
    "R27": [
        "tests/faults/test_hostile.py::test_forwarded_headers",
        "tests/faults/test_hostile.py::test_two_keys",
        "tests/faults/test_hostile.py::test_host_is_required_once",
    ],
}
"""How the names of the tests begin that stand for each promise."""

BEGIN: Final = "<!-- scorecard: begin; written by make scorecard, do not edit -->"
END: Final = "<!-- scorecard: end -->"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the document to write into."""
    parser.addoption("--scorecard", metavar="FILE", help="write the reliability scorecard between this document's markers")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count, show and write, if asked to."""
    path = config.getoption("--scorecard")
    if not path:
        return
    counts = _counts(terminalreporter)
    terminalreporter.section("scorecard")
    for line in _lines(counts):
        terminalreporter.write_line(line)
    write(Path(path), counts)


def write(path: Path, counts: Mapping[str, Counter[str]]) -> None:
    """Put the table between the markers of a document."""
    put(path, _lines(counts), begin=BEGIN, end=END, on="on a CPU")


def promises_of(test: str) -> list[str]:
    """Return the promises that a test stands for, by its name as pytest writes it."""
    return [name for name, beginnings in TESTS.items() if test.startswith(tuple(beginnings))]


def _counts(reporter: pytest.TerminalReporter) -> Mapping[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in PROMISES}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, []):
            for name in promises_of(report.nodeid):
                counts[name][outcome] += 1
    return counts


def _lines(counts: Mapping[str, Counter[str]]) -> Iterator[str]:
    kept = sum(_is_kept(count) for count in counts.values())
    yield f"**{kept} of {len(PROMISES)}** promises are tested and kept."
    yield ""
    yield "| | Promise | Tests | Kept |"
    yield "| --- | --- | ---: | --- |"
    for name, expectations in PROMISES.items():
        yield f"| {name} | {expectations} | {counts[name].total()} | {_verdict(counts[name])} |"


def _is_kept(count: Counter[str]) -> bool:
    return bool(count["passed"]) and not count["failed"] and not count["error"]


def _verdict(count: Counter[str]) -> str:
    if not count.total():
        return "not tested here"
    if not _is_kept(count):
        return "**no**" if count["failed"] or count["error"] else "skipped here"
    return f"yes, {count['skipped']} skipped" if count["skipped"] else "yes"
