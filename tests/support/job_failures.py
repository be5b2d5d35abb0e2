"""The failures that durable jobs survive: which tests show each, and how they did.

With `--job-failures`, a run writes them into both pages, between their markers, with day and commit.
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
    """One row: how the names of its tests begin, what fails and what happens, in English and Chinese."""

    tests: Sequence[str]
    english: tuple[str, str]
    chinese: tuple[str, str]


FAULTS: Final = "tests/faults/test_jobs.py::"
RECORDS: Final = "tests/unit/jobs/test_records.py::"
HTTP: Final = "tests/api/test_jobs.py::"

FAILURES: Final = (
    Failure(
        (f"{FAULTS}test_random_kills",),
        (
            "Servers, workers and Redis are killed at random moments",
            "every accepted job ends once, with the answer of the same request",
        ),
        ("随机时刻杀死服务器、worker 和 Redis", "每个已接受的任务都恰好结束一次，答案与同步请求相同"),
    ),
    Failure(
        (f"{FAULTS}test_orphan",),
        ("A worker is killed", "another one takes the job when the lease ends"),
        ("worker 被杀死", "租约到期后由另一个 worker 接手"),
    ),
    Failure(
        (f"{FAULTS}test_ring_lost",),
        ("Celery loses the message", "the job is found without it"),
        ("Celery 丢失消息", "没有消息也能找到任务"),
    ),
    Failure(
        (
            f"{FAULTS}test_frozen_worker",
            f"{RECORDS}test_ended_lease",
            f"{RECORDS}test_other_token",
        ),
        ("A worker is frozen, and wakes up later", "its result is refused"),
        ("worker 被冻结后又恢复", "它的结果被拒绝"),
    ),
    Failure(
        (
            f"{FAULTS}test_job_longer",
            f"{RECORDS}test_beats",
        ),
        ("A job takes longer than lease and visibility timeout", "it runs once"),
        ("任务耗时超过租约和可见性超时", "只执行一次"),
    ),
    Failure(
        (f"{FAULTS}test_worker_that_fails",),
        ("A worker fails inside", "its process ends, and its supervisor starts it again"),
        ("worker 内部出错", "进程退出，由进程管理器重启"),
    ),
    Failure(
        (f"{FAULTS}test_without_redis",),
        ("Redis is gone, or frozen", "503, never a 202; afterwards work goes on without a restart"),
        ("Redis 消失或冻结", "返回 503，绝不返回 202；恢复后无需重启即可继续"),
    ),
    Failure(
        (f"{RECORDS}test_full_redis",),
        ("Redis is full", "503 for new jobs; accepted ones end"),
        ("Redis 已满", "新任务得到 503；已接受的照常结束"),
    ),
    Failure(
        (f"{FAULTS}test_accepted_jobs_wait",),
        ("No server can be reached", "jobs wait for one"),
        ("没有可用的服务器", "任务等待服务器恢复"),
    ),
    Failure(
        (f"{HTTP}test_busy_server",),
        ("The server is too busy", "the job comes again later"),
        ("服务器过载", "任务稍后重试"),
    ),
    Failure(
        (f"{RECORDS}test_transitions_sent_twice",),
        ("A call to Redis is sent twice", "nothing changes the second time"),
        ("对 Redis 的调用被发送两次", "第二次不改变任何东西"),
    ),
    Failure(
        (
            f"{RECORDS}test_same_idempotency_key",
            f"{RECORDS}test_idempotency_key",
            f"{HTTP}test_same_idempotency_key",
        ),
        ("A client sends a request again", "with the same `Idempotency-Key`, it finds the same job"),
        ("客户端重发请求", "同一个 `Idempotency-Key` 得到同一个任务"),
    ),
    Failure(
        (
            "tests/deploy/test_jobs_behind_nginx.py::test_events_go_on",
            f"{HTTP}test_events_go_on",
        ),
        ("A server dies while a client follows a job", "the events go on at another server: none is missing, none comes twice"),
        ("客户端跟踪任务时服务器退出", "在另一台服务器上续传：不丢、不重"),
    ),
    Failure(
        (
            f"{RECORDS}test_job_whose_workers_end",
            f"{RECORDS}test_retry_waits_and_costs",
        ),
        ("A request kills every worker or server that gets it", "the job is given up"),
        ("某个请求弄垮每个处理它的进程", "放弃该任务"),
    ),
    Failure(
        (f"{RECORDS}test_records_of",),
        ("Releases are mixed", "records of the release before and after are worked on"),
        ("多个版本混用", "相邻版本的记录都能处理"),
    ),
    Failure(
        (
            f"{RECORDS}test_memory_returns",
            f"{RECORDS}test_unfinished_jobs",
        ),
        ("Nothing runs any more", "every key in Redis expires"),
        ("所有进程都停止", "Redis 中的每个键都会过期"),
    ),
)

ENGLISH: Final = Path("docs/jobs.md")
CHINESE: Final = Path("docs/jobs.zh-CN.md")
SEEN: Final = {"yes": "是", "**no**": "**否**", "not tested here": "此处未测试"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the wish to write."""
    parser.addoption(
        "--job-failures", action="store_true", help="write what durable jobs survive into docs/jobs.md, and the Chinese page"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count and write, if asked to."""
    if config.getoption("--job-failures"):
        counts = _counts(terminalreporter)
        put(ENGLISH, english(counts), begin=BEGIN, end=END, on="on a CPU")
        put(CHINESE, chinese(counts), begin=BEGIN, end=END, on="CPU")


def english(counts: Mapping[Failure, Counter[str]]) -> Iterator[str]:
    """Yield the table."""
    yield "| What fails | What happens | Tests | Seen |"
    yield "| --- | --- | ---: | --- |"
    for failure, count in counts.items():
        yield f"| {' | '.join(failure.english)} | {count.total()} | {_verdict(count)} |"


def chinese(counts: Mapping[Failure, Counter[str]]) -> Iterator[str]:
    """Yield the table in Chinese."""
    yield "| 故障 | 结果 | 测试数 | 通过 |"
    yield "| --- | --- | ---: | --- |"
    for failure, count in counts.items():
        yield f"| {' | '.join(failure.chinese)} | {count.total()} | {SEEN[_verdict(count)]} |"


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
