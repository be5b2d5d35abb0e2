"""Tests the contender runner: equal requests for all; a contender that fails or scores differently is dropped with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from benchmarks.engines.memory import members
from benchmarks.engines.process import Spec
from benchmarks.engines.runner import ContenderRunner
from benchmarks.engines.spec import RunSpec, SpecBounds
from benchmarks.loads import BenchLoad
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError
from tests.support import contender as fake
from tests.support.process import wait_until

CHECKS = (LoadRequest("q", ("a", "bb", "ccc")), LoadRequest("r", ("dddd", "eeeee")))


@contextmanager
def running(*contenders: Spec, bounds: tuple[str, ...] = (), reasons: list[str] | None = None) -> Iterator[ContenderRunner]:
    run_spec = RunSpec(
        model="model",
        loads=[BenchLoad.parse("1x1")],
        contenders=contenders,
        reference=contenders[0].name,
        bounds=SpecBounds.parse(bounds),
        ready_s=60,
        answer_s=20,
    )
    with ContenderRunner(run_spec, "folder", reasons.append if reasons is not None else ignore) as runner:
        yield runner


def ignore(_name: str) -> None:
    pass


def test_every_contender_is_started_under_its_name() -> None:
    started_names: list[str] = []
    with running(fake.spec("ours"), fake.spec("peer")) as runner:
        runner.start(started_names.append)
        assert runner.names == started_names == ["ours", "peer"]
        ready = runner.entries["peer"].ready
        assert ready is not None
        assert ready.version == "fake 1.0 folder"


@pytest.mark.parametrize("behaviour", ["error", "dead", "prose"])
def test_contender_that_cannot_start_is_dropped_with_the_reason(behaviour: str) -> None:
    reasons: list[str] = []
    with running(fake.spec("ours"), fake.spec("peer", "--start", behaviour), reasons=reasons) as runner:
        runner.start(ignore)
        assert runner.names == ["ours"]
        assert reasons == [runner.entries["peer"].why_not], "the reason is reported at once"
        entry = runner.entries["peer"]
        assert entry.ready is None
        assert entry.peak_bytes is None
        assert (entry.why_not or "").startswith("peer ")


def test_failed_reference_ends_the_run() -> None:
    with (
        running(fake.spec("ours", "--start", "error")) as runner,
        pytest.raises(UpstreamError, match="ours reported an error: no such"),
    ):
        runner.start(ignore)
    with running(fake.spec("ours", "--answer", "error")) as runner:
        runner.start(ignore)
        with pytest.raises(UpstreamError, match="ours reported an error: too long"):
            runner.check(CHECKS, ignore)


def test_contender_too_far_from_the_reference_is_not_ranked() -> None:
    peers = fake.spec("near", "--shift", "0.1"), fake.spec("far", "--shift", "0.5"), fake.spec("int8", "--shift", "0.5")
    with running(fake.spec("ours"), *peers, bounds=("int8=1",)) as runner:
        runner.start(ignore)
        runner.check(CHECKS, ignore)
        assert runner.names == ["ours", "near", "int8"]
        rms = {name: entry.agreement.rms for name, entry in runner.entries.items() if entry.agreement}
        assert rms == pytest.approx({"ours": 0, "near": 0.1, "far": 0.5, "int8": 0.5})
        assert runner.entries["far"].why_not == "far is not ranked: its scores differ by 0.50 (RMS), but 0.25 is the limit"
        assert runner.entries["far"].peak_bytes
        assert runner.entries["int8"].why_not is None


def test_all_contenders_answer_the_same_request_once_in_random_order(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    names = {0.0: "ours", 0.01: "one", 0.02: "two"}
    specs = [fake.spec(name, "--shift", str(shift), "--journal", str(journal)) for shift, name in names.items()]
    with running(*specs) as runner:
        runner.start(ignore)
        rng = Random(0)
        for number in range(8):
            assert runner.run_round(LoadRequest(str(number), ("a",)), rng, ignore).keys() == set(names.values())
    requests = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [query for _, query in requests] == [str(number) for number in range(8) for _ in names]
    orders = {tuple(shift for shift, query in requests if query == str(number)) for number in range(8)}
    assert len(orders) > 1


def test_contender_that_fails_is_dropped_and_others_continue() -> None:
    with running(fake.spec("ours"), fake.spec("peer", "--answer", "dead", "--well", "1")) as runner:
        runner.start(ignore)
        rng = Random(0)
        timed_names = [runner.run_round(CHECKS[0], rng, ignore).keys() for _ in range(3)]
        assert timed_names == [{"ours", "peer"}, {"ours"}, {"ours"}]
        assert runner.entries["peer"].why_not == "peer exited with code 9: out of memory"


def test_interrupted_run_ends_all_contenders() -> None:
    roots: list[int] = []

    def interrupted() -> None:
        with running(fake.spec("ours", "--child"), fake.spec("peer")) as runner:
            runner.start(ignore)
            roots.extend(contender._process.pid for contender in runner._running.values())
            assert sum(len(members(root)) for root in roots) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    wait_until(lambda: not any(members(root) for root in roots))


def test_memory_of_running_contenders_is_recorded() -> None:
    with running(fake.spec("ours"), fake.spec("peer")) as runner:
        runner.start(ignore)
        runner.record_memory()
        assert all(entry.peak_bytes for entry in runner.entries.values())
