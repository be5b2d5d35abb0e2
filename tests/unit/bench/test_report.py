"""Figures follow from samples and from nothing else; the file has all of them, and no key."""

from __future__ import annotations

import json

import pytest

from shortlist.bench.report import LoadReport, Row
from shortlist.bench.samples import AnswerCheck, Fate, Generator, RequestSample
from shortlist.bench.stats import Spread, percentile
from shortlist.bench.target import targets
from tests.support.level_runs import HUNDRED, RATE, TEN, bad, good, level_run, plan, report


def row(found: LoadReport, name: str, level: object) -> Row:
    [one] = [each for each in found.rows() if each.name == name and each.level == level]
    return one


def test_rows_have_the_order_of_the_plan() -> None:
    assert [(each.level.name, each.name) for each in report().rows()] == [
        ("10 users", "ours"),
        ("10 users", "peer"),
        ("100 users", "ours"),
        ("100 users", "peer"),
    ]


def test_unmeasured_level_has_no_row() -> None:
    assert [each.name for each in report(level_runs=report().level_runs[:1]).rows()] == ["peer"]
    assert report(level_runs=[]).rows() == []


def test_speed_and_latency_are_those_of_the_level_run() -> None:
    found = row(report(), "ours", TEN)
    assert found.qps == Spread.of([20.0])
    assert found.documents_per_s == Spread.of([200.0])
    assert (found.p50_s, found.p95_s, found.p99_s) == pytest.approx((0.5, 1.0, 1.0))
    assert found.refused_p99_s is None


def test_ratios_are_to_the_first_server_and_to_the_first_level() -> None:
    found = report()
    ratios = {(each.name, each.level): (each.ratio, each.of_first) for each in found.rows()}
    assert ratios["ours", TEN] == (Spread.of([1.0]), Spread.of([1.0]))
    assert ratios["peer", TEN] == (Spread.of([0.5]), Spread.of([1.0]))
    assert ratios["ours", HUNDRED] == (Spread.of([1.0]), Spread.of([22 / 20]))
    assert ratios["peer", HUNDRED] == (Spread.of([5 / 22]), Spread.of([0.5]))


def test_ratios_are_taken_within_a_round() -> None:
    """The machine was twice as fast in the second round; the ratios do not know."""
    level_runs = [
        level_run("ours", TEN, good([1.0] * 100), turn=0),
        level_run("peer", TEN, good([1.0] * 50), turn=0),
        level_run("peer", TEN, good([1.0] * 120), turn=1),
        level_run("ours", TEN, good([1.0] * 200), turn=1),
        level_run("peer", TEN, good([1.0] * 999), turn=2),
    ]
    found = row(report(plan=plan(levels=[TEN], repeats=3), level_runs=level_runs), "peer", TEN)
    assert found.ratio == Spread.of([0.5, 0.6])
    assert found.qps == Spread.of([5.0, 12.0, 99.9])


def test_first_levels_are_those_of_the_same_kind() -> None:
    level_runs = [level_run("ours", TEN, good([1.0] * 10)), level_run("ours", RATE, good([1.0] * 40))]
    found = report(plan=plan("ours=http://a", levels=[TEN, RATE]), level_runs=level_runs)
    assert row(found, "ours", RATE).of_first == Spread.of([1.0])


@pytest.mark.parametrize(
    "level_runs", [[level_run("peer", TEN, good([1.0]))], [level_run("ours", TEN), level_run("peer", TEN, good([1.0]))]]
)
def test_nothing_is_compared_with_nothing(level_runs: list[object]) -> None:
    assert row(report(level_runs=level_runs), "peer", TEN).ratio is None


def test_rounds_are_pooled() -> None:
    level_runs = [
        level_run("ours", TEN, [*good([1.0] * 98), *bad(Fate.REFUSED, told=True)], turn=0, reasons={"429 busy": 1}),
        level_run(
            "ours",
            TEN,
            [*good([5.0] * 2), *bad(Fate.REFUSED)],
            turn=1,
            reasons={"429 busy": 1, "odd": 1},
            check=AnswerCheck(num_checked=4, num_wrong=1, largest=0.5),
            generator=Generator(cpu_share=0.5, lag_p99_s=0.0001),
        ),
    ]
    found = row(report(plan=plan(repeats=2), level_runs=level_runs), "ours", TEN)
    assert (found.p50_s, found.p99_s) == (1.0, 5.0)
    assert found.fates == {Fate.OK: 100, Fate.REFUSED: 2}
    assert (found.num_sent, found.num_told, found.refused_p99_s) == (102, 1, 0.5)
    assert found.reasons == {"429 busy": 2, "odd": 1}
    assert found.check == AnswerCheck(num_checked=4, num_wrong=1, largest=0.5)
    assert found.generator == Generator(cpu_share=0.5, lag_p99_s=0.001)  # the worst of both


def test_in_time_is_counted_when_there_is_a_time() -> None:
    assert row(report(), "ours", TEN).in_time_per_s is None
    assert row(report(plan=plan(within_s=0.5)), "ours", TEN).in_time_per_s == Spread.of([10.0])


def test_errors_of_all_level_runs_add_up() -> None:
    assert report().num_errors == 3
    assert report(level_runs=[level_run("ours", TEN, [*good([1.0]), *bad(Fate.REFUSED, 9)])]).num_errors == 0


# -- the file -----------------------------------------------------------------------------------------------------------


def test_figures_can_be_computed_again_from_the_file() -> None:
    found = json.loads(report().to_json())
    for figures in found["figures"]:
        [one] = [each for each in found["visits"] if each["target"] == figures["name"] and each["level"] == figures["level"]]
        columns = one["samples"]
        begin_s, end_s = one["window"]["begin_s"], one["window"]["end_s"]
        samples = [
            RequestSample(due_s, latency_s, Fate(fate))
            for due_s, latency_s, fate in zip(columns["due_s"], columns["latency_s"], columns["fate"], strict=True)
        ]
        came = [each for each in samples if each.fate is Fate.OK and begin_s <= each.done_s < end_s]
        assert figures["qps"]["median"] == len(came) / (end_s - begin_s)
        due = sorted(each.latency_s for each in samples if each.fate is Fate.OK and begin_s <= each.due_s < end_s)
        assert figures["p99_s"] == percentile(due, 0.99)
        assert figures["fates"] == {fate: columns["fate"].count(fate) for fate in set(columns["fate"])}


def test_json_file_has_the_plan() -> None:
    found = json.loads(report(was_stopped=True).to_json())
    assert found["was_stopped"] is True
    assert found["machine"]["cpu"] == "Example CPU"
    assert found["plan"]["levels"] == [{"loop": "closed", "amount": 10}, {"loop": "closed", "amount": 100}]
    assert found["plan"]["targets"][1] == {
        "name": "peer",
        "url": "http://localhost:8081/v1/rerank",
        "dialect": "rerank",
        "model": None,
    }
    assert (found["plan"]["num_documents"], found["plan"]["seed"]) == (10, 0)
    assert found["visits"][3]["reasons"]["500 <engine> error"] == 2


def test_the_file_has_no_key() -> None:
    with_key = plan(targets=targets(["ours=http://a"], api_key=["top-secret"], model=["m"]))
    assert b"top-secret" not in report(plan=with_key).to_json()


def test_microseconds_are_kept() -> None:
    found = json.loads(
        report(level_runs=[level_run("ours", TEN, [RequestSample(5.1234567, 0.00012345, Fate.OK, 200)])]).to_json()
    )
    assert found["visits"][0]["samples"]["due_s"] == [5.123457]
    assert found["visits"][0]["samples"]["latency_s"] == [0.000123]
