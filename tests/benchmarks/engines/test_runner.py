"""All are asked the same; a target that fails or scores differently is out, with the reason, and the others go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from benchmarks.engines.memory import members
from benchmarks.engines.process import Spec
from benchmarks.engines.runner import Field
from benchmarks.engines.spec import RunSpec, SpecBounds
from benchmarks.loads import BenchLoad
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError
from tests.support import contender as fake
from tests.support.process import wait_until

CHECKS = (LoadRequest("q", ("a", "bb", "ccc")), LoadRequest("r", ("dddd", "eeeee")))


@contextmanager
def field(*contenders: Spec, bounds: tuple[str, ...] = (), said: list[str] | None = None) -> Iterator[Field]:
    order = RunSpec(
        model="model",
        loads=[BenchLoad.parse("1x1")],
        contenders=contenders,
        reference=contenders[0].name,
        bounds=SpecBounds.parse(bounds),
        ready_s=60,
        answer_s=20,
    )
    with Field(order, "folder", said.append if said is not None else quiet) as started:
        yield started


def quiet(_name: str) -> None:
    pass


def test_every_contender_is_started_under_its_name() -> None:
    heard: list[str] = []
    with field(fake.spec("ours"), fake.spec("peer")) as started:
        started.start(heard.append)
        assert started.names == heard == ["ours", "peer"]
        ready = started.entries["peer"].ready
        assert ready is not None
        assert ready.version == "fake 1.0 folder"


@pytest.mark.parametrize("how", ["error", "dead", "prose"])
def test_contender_that_cannot_start_is_dropped_with_the_reason(how: str) -> None:
    said: list[str] = []
    with field(fake.spec("ours"), fake.spec("peer", "--start", how), said=said) as started:
        started.start(quiet)
        assert started.names == ["ours"]
        assert said == [started.entries["peer"].why_not], "the person who waits is told at once"
        entry = started.entries["peer"]
        assert entry.ready is None
        assert entry.peak_bytes is None
        assert (entry.why_not or "").startswith("peer ")


def test_without_the_reference_there_is_no_run() -> None:
    with field(fake.spec("ours", "--start", "error")) as started, pytest.raises(UpstreamError, match="ours says: no such"):
        started.start(quiet)
    with field(fake.spec("ours", "--answer", "error")) as started:
        started.start(quiet)
        with pytest.raises(UpstreamError, match="ours says: too long"):
            started.check(CHECKS, quiet)


def test_scores_too_far_from_the_reference_are_shown_and_not_ranked() -> None:
    peers = fake.spec("near", "--shift", "0.1"), fake.spec("far", "--shift", "0.5"), fake.spec("int8", "--shift", "0.5")
    with field(fake.spec("ours"), *peers, bounds=("int8=1",)) as started:
        started.start(quiet)
        started.check(CHECKS, quiet)
        assert started.names == ["ours", "near", "int8"]
        shown = {name: entry.agreement.rms for name, entry in started.entries.items() if entry.agreement}
        assert shown == pytest.approx({"ours": 0, "near": 0.1, "far": 0.5, "int8": 0.5})
        assert started.entries["far"].why_not == "far is not ranked: its scores are 0.50 apart, 0.25 is allowed"
        assert started.entries["far"].peak_bytes
        assert started.entries["int8"].why_not is None


def test_all_contenders_answer_the_same_request_once_in_random_order(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    names = {0.0: "ours", 0.01: "one", 0.02: "two"}
    specs = [fake.spec(name, "--shift", str(shift), "--journal", str(journal)) for shift, name in names.items()]
    with field(*specs) as started:
        started.start(quiet)
        draw = Random(0)
        for number in range(8):
            assert started.play(LoadRequest(str(number), ("a",)), draw, quiet).keys() == set(names.values())
    asked = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [query for _, query in asked] == [str(number) for number in range(8) for _ in names]
    orders = {tuple(shift for shift, query in asked if query == str(number)) for number in range(8)}
    assert len(orders) > 1


def test_contender_that_fails_is_dropped_and_others_continue() -> None:
    with field(fake.spec("ours"), fake.spec("peer", "--answer", "dead", "--well", "1")) as started:
        started.start(quiet)
        draw = Random(0)
        played = [started.play(CHECKS[0], draw, quiet).keys() for _ in range(3)]
        assert played == [{"ours", "peer"}, {"ours"}, {"ours"}]
        assert started.entries["peer"].why_not == "peer ended with exit code 9: out of memory"


def test_everyone_ends_when_the_run_does_not_reach_its_end() -> None:
    roots: list[int] = []

    def interrupted() -> None:
        with field(fake.spec("ours", "--child"), fake.spec("peer")) as started:
            started.start(quiet)
            roots.extend(contender._process.pid for contender in started._running.values())
            assert sum(len(members(root)) for root in roots) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    wait_until(lambda: not any(members(root) for root in roots))


def test_memory_is_noted_for_those_still_in() -> None:
    with field(fake.spec("ours"), fake.spec("peer")) as started:
        started.start(quiet)
        started.weigh()
        assert all(entry.peak_bytes for entry in started.entries.values())
