"""Everything is noted; progress is about the last few seconds; answers to be checked are a fair sample."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from shortlist.bench.texts import Request
from shortlist.bench.traffic import journal as room
from shortlist.bench.traffic.asker import Outcome
from shortlist.bench.traffic.journal import Journal
from shortlist.bench.traffic.tally import Fate, Sample

REQUEST = Request("q", ("d",))


def noted(*outcomes: Outcome, due_s: float = 100.0, num_kept: int = 0, seed: int = 1) -> Journal:
    """A journal of requests that were all due at one time, in a visit that began at 90."""
    journal = Journal(Random(seed), num_kept)
    for outcome in outcomes:
        journal.note(REQUEST, outcome, due_s=due_s, start_s=90.0)
    return journal


def ok(at_s: float, number: float = 0.5) -> Outcome:
    return Outcome(fate=Fate.OK, at_s=at_s, status=200, numbers=[[number]])


def test_times_count_from_the_beginning_of_the_visit() -> None:
    refusal = Outcome(fate=Fate.REFUSED, at_s=100.5, status=429, retry_after="3", why="429 busy")
    assert noted(ok(102.0), refusal).samples == [
        Sample(10.0, 2.0, Fate.OK, 200),
        Sample(10.0, 0.5, Fate.REFUSED, 429, has_retry_after=True),
    ]


def test_reasons_are_counted_and_their_kinds_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_REASONS", 2)
    failures = [Outcome(fate=Fate.FAILED, at_s=101.0, status=500, why=why) for why in ("a", "b", "a", "c", "a")]
    journal = noted(*failures, ok(101.0))
    assert journal.reasons == {"a": 3, "b": 1}
    assert len(journal.samples) == 6


def test_the_pulse_is_of_the_last_seconds() -> None:
    journal = noted(ok(101.0), ok(104.0), ok(106.0), ok(107.0))  # over after 11, 14, 16 and 17 seconds
    journal.note(REQUEST, Outcome(fate=Fate.REFUSED, at_s=107.0), due_s=107.0, start_s=90.0)
    journal.note(REQUEST, Outcome(fate=Fate.LOST, at_s=107.0), due_s=107.0, start_s=90.0)
    pulse = journal.pulse(18.0, is_warming_up=False)
    assert pulse.qps == 3 / room.RECENT_S
    assert pulse.p50_s == 6.0
    assert (pulse.num_refused, pulse.num_errors, pulse.is_warming_up) == (1, 1, False)


def test_a_young_visit_has_a_pulse_too() -> None:
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
