"""What counts as what, and what follows: speed by when answers came, latency by when requests were due."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from shortlist.bench import samples
from shortlist.bench.samples import (
    ERRORS,
    AnswerCheck,
    Fate,
    Generator,
    MeasuredWindow,
    Outcome,
    RequestSample,
    SampleLog,
    fate_of,
)
from shortlist.bench.texts import LoadRequest
from tests.support.level_runs import bad, good, level_run

# -- fates --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.OK),
        (429, Fate.REFUSED),
        (504, Fate.TIMED_OUT),
        (500, Fate.FAILED),
        (502, Fate.FAILED),
        (503, Fate.FAILED),
        (599, Fate.FAILED),
        (400, Fate.REJECTED),
        (401, Fate.REJECTED),
        (404, Fate.REJECTED),
        (408, Fate.REJECTED),
        (302, Fate.REJECTED),
        (201, Fate.REJECTED),
        (204, Fate.REJECTED),
    ],
)
def test_a_status_is_a_fate(status: int, fate: Fate) -> None:
    assert fate_of(status) is fate


def test_only_answers_and_refusals_are_no_errors() -> None:
    assert frozenset(Fate) - {Fate.OK, Fate.REFUSED} == ERRORS


def test_every_error_is_counted_warming_up_or_not() -> None:
    samples = [each for fate in Fate for each in bad(fate, 2, due_s=1.0)]
    found = level_run("ours", samples=samples)
    assert found.fates() == dict.fromkeys(Fate, 2)
    assert found.num_errors == 2 * len(ERRORS)
    assert level_run("ours", samples=good([1.0]), check=AnswerCheck(num_checked=9, num_wrong=4)).num_errors == 4


# -- speed and latency --------------------------------------------------------------------------------------------------


def test_speed_counts_answers_that_came_in_the_window() -> None:
    samples = [
        RequestSample(4.0, 0.9, Fate.OK),  # came before
        RequestSample(4.0, 1.0, Fate.OK),  # came as it began
        RequestSample(3.0, 3.0, Fate.OK),
        RequestSample(14.0, 0.9, Fate.OK),
        RequestSample(14.0, 1.0, Fate.OK),  # came as it was over
        RequestSample(9.0, 1.0, Fate.REFUSED),
        RequestSample(9.0, 1.0, Fate.WRONG),
    ]
    found = level_run("ours", samples=samples)
    assert found.qps == 3 / 10
    assert found.documents_per_s == 30 / 10


def test_in_time_counts_requests_below_the_deadline() -> None:
    found = level_run("ours", samples=good([0.5] * 10 + [1.0] * 20 + [2.0] * 30))
    assert [found.good_per_s(within_s) for within_s in (0.4, 0.5, 1.0, 9.0)] == [0, 1, 3, 6]


def test_latency_is_of_requests_due_in_the_window_however_late_their_answers() -> None:
    samples = [
        RequestSample(4.9, 3.0, Fate.OK),  # due before
        RequestSample(5.0, 2.0, Fate.OK),
        RequestSample(14.9, 60.0, Fate.OK),  # came long after
        RequestSample(15.0, 1.0, Fate.OK),  # due after
        RequestSample(9.0, 0.1, Fate.REFUSED),
    ]
    found = level_run("ours", samples=samples)
    assert found.latencies(Fate.OK) == [2.0, 60.0]
    assert found.latencies(Fate.REFUSED) == [0.1]
    assert found.latencies(Fate.LOST) == []


def test_a_window_begins_and_does_not_reach_its_end() -> None:
    window = MeasuredWindow(5.0, 15.0)
    assert window.seconds == 10
    assert [at_s in window for at_s in (4.99, 5.0, 14.99, 15.0)] == [False, True, True, False]


# -- the rest -----------------------------------------------------------------------------------------------------------


def test_checks_add_up() -> None:
    one = AnswerCheck(num_checked=3, num_wrong=1, largest=0.5)
    other = AnswerCheck(num_checked=4, num_unanswered=2, largest=0.25)
    assert one + other == AnswerCheck(num_checked=7, num_wrong=1, num_unanswered=2, largest=0.5)
    assert one + AnswerCheck() == one


@pytest.mark.parametrize(
    ("cpu_share", "lag_s", "is_limit"), [(0.1, 0.001, False), (0.8, 0.001, True), (0.1, 0.2, True), (0.7, 0.05, False)]
)
def test_a_generator_that_was_busy_or_late_may_be_the_limit(cpu_share: float, lag_s: float, is_limit: bool) -> None:
    assert Generator(cpu_share=cpu_share, lag_p99_s=lag_s).is_limit is is_limit


def test_a_request_is_over_when_its_answer_is_there() -> None:
    assert RequestSample(1.0, 2.5, Fate.OK).done_s == 3.5
    assert math.isinf(RequestSample(1.0, math.inf, Fate.LOST).done_s)


REQUEST = LoadRequest("q", ("d",))


def noted(*outcomes: Outcome, due_s: float = 100.0, num_kept: int = 0, seed: int = 1) -> SampleLog:
    """A journal of requests that were all due at one time, in a visit that began at 90."""
    sample_log = SampleLog(Random(seed), num_kept)
    for outcome in outcomes:
        sample_log.note(REQUEST, outcome, due_s=due_s, start_s=90.0)
    return sample_log


def ok(at_s: float, number: float = 0.5) -> Outcome:
    return Outcome(fate=Fate.OK, at_s=at_s, status=200, numbers=[[number]])


def test_times_start_with_the_level_run() -> None:
    refusal = Outcome(fate=Fate.REFUSED, at_s=100.5, status=429, retry_after="3", why="429 busy")
    assert noted(ok(102.0), refusal).samples == [
        RequestSample(10.0, 2.0, Fate.OK, 200),
        RequestSample(10.0, 0.5, Fate.REFUSED, 429, has_retry_after=True),
    ]


def test_reasons_are_counted_and_their_kinds_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_REASONS", 2)
    failures = [Outcome(fate=Fate.FAILED, at_s=101.0, status=500, why=why) for why in ("a", "b", "a", "c", "a")]
    sample_log = noted(*failures, ok(101.0))
    assert sample_log.reasons == {"a": 3, "b": 1}
    assert len(sample_log.samples) == 6


def test_the_pulse_is_of_the_last_seconds() -> None:
    sample_log = noted(ok(101.0), ok(104.0), ok(106.0), ok(107.0))  # over after 11, 14, 16 and 17 seconds
    sample_log.note(REQUEST, Outcome(fate=Fate.REFUSED, at_s=107.0), due_s=107.0, start_s=90.0)
    sample_log.note(REQUEST, Outcome(fate=Fate.LOST, at_s=107.0), due_s=107.0, start_s=90.0)
    pulse = sample_log.pulse(18.0, is_warming_up=False)
    assert pulse.qps == 3 / samples.RECENT_S
    assert pulse.p50_s == 6.0
    assert (pulse.num_refused, pulse.num_errors, pulse.is_warming_up) == (1, 1, False)


def test_short_level_run_has_a_current_rate() -> None:
    assert noted().pulse(0.0, is_warming_up=True).qps == 0
    young = noted(ok(91.0), due_s=90.5).pulse(2.0, is_warming_up=True)
    assert (young.qps, young.p50_s, young.is_warming_up) == (0.5, 0.5, True)
    assert noted().pulse(3.0, is_warming_up=True).p50_s is None


def test_nothing_is_kept_unless_something_shall_be() -> None:
    assert noted(*(ok(101.0) for _ in range(50))).kept == []


def test_all_are_kept_while_there_are_few() -> None:
    kept = noted(ok(101.0, 0.1), ok(101.0, 0.2), num_kept=5).kept
    assert [each.numbers for each in kept] == [[[0.1]], [[0.2]]]


def test_only_good_answers_are_kept() -> None:
    assert noted(Outcome(fate=Fate.WRONG, at_s=101.0, status=200, why="odd"), num_kept=5).kept == []


def test_every_answer_has_the_same_chance_to_be_kept() -> None:
    chosen: Counter[float] = Counter()
    for seed in range(2000):
        kept = noted(*(ok(101.0, float(number)) for number in range(10)), num_kept=2, seed=seed).kept
        assert len(kept) == 2
        chosen.update(each.numbers[0][0] for each in kept)
    assert set(chosen) == set(map(float, range(10)))
    assert min(chosen.values()) > 330  # 400 each on average; six standard deviations below would be 290
    assert max(chosen.values()) < 470
