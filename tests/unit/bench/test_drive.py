"""Users wait for their answers, arrivals never wait, every request is accounted for, and a stop keeps what there is.

Times here are lower bounds and orders of events; nothing asserts that something is fast.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import pairwise, takewhile

import pytest

from shortlist.bench.drive import PAUSE_S, Drive, Driven, Pace, happens, pause_after
from shortlist.bench.http_client import LoadClient
from shortlist.bench.plan import Level
from shortlist.bench.samples import Fate, Outcome, Pulse
from shortlist.bench.stats import arrivals
from shortlist.bench.target import targets
from shortlist.bench.texts import LoadRequest, Traffic
from tests.support.crowd import Behave, Heard, Scene, always, reply, well
from tests.support.simulated import simulated

SHORT = Pace(warm_up_s=0.1, duration_s=0.5)


async def drive(
    scene: Scene, level: Level, pace: Pace = SHORT, *, timeout_s: float = 10.0, traffic: Traffic | None = None, **fields: object
) -> Driven | None:
    asked = traffic or Traffic("seed", num_documents=2, num_words=5)
    async with LoadClient(targets([scene.url])[0], timeout_s) as asker:
        return await Drive(asker, asked, level, pace, seed="seed", **fields).run()  # type: ignore[arg-type]


async def driven(
    behave: Behave, level: Level, pace: Pace = SHORT, *, timeout_s: float = 10.0, **fields: object
) -> tuple[Driven, Scene]:
    async with Scene(behave) as scene:
        found = await drive(scene, level, pace, timeout_s=timeout_s, **fields)  # type: ignore[arg-type]
    assert found is not None
    return found, scene


def fates(found: Driven) -> Counter[Fate]:
    return Counter(sample.fate for sample in found.sample_log.samples)


# -- users --------------------------------------------------------------------------------------------------------------


@simulated
async def test_users_wait_for_their_answers() -> None:
    found, scene = await driven(always(after_s=0.02), Level.of_users(7))
    assert scene.most_at_once == 7
    assert scene.num_connections == 7
    assert fates(found) == {Fate.OK: len(scene.heard)}
    assert min(sample.latency_s for sample in found.sample_log.samples) == pytest.approx(0.02)


@simulated
async def test_a_user_asks_again_only_after_an_answer() -> None:
    found, scene = await driven(always(after_s=0.01), Level.of_users(1))
    assert scene.most_at_once == 1
    samples = found.sample_log.samples
    assert len(samples) > 5
    assert all(later.due_s >= earlier.done_s for earlier, later in pairwise(samples))


@simulated
async def test_every_request_is_new_text() -> None:
    _, scene = await driven(always(after_s=0.005), Level.of_users(3))
    queries = [heard.body["query"] for heard in scene.heard]
    assert len(set(queries)) == len(queries) > 10


@simulated
async def test_the_window_waits_until_every_user_had_an_answer() -> None:
    async def first_slow(heard: Heard) -> bytes:
        await asyncio.sleep(0.4 if heard.number == 0 else 0.01)
        return well(heard)

    found, _ = await driven(first_slow, Level.of_users(3), Pace(warm_up_s=0.05, duration_s=0.6))
    assert found.window.begin_s >= 0.4


@simulated
async def test_warm_up_is_at_most_one_duration_longer() -> None:
    async def one_hangs(heard: Heard) -> bytes:
        await asyncio.sleep(2 if heard.number == 0 else 0.01)
        return well(heard)

    found, _ = await driven(one_hangs, Level.of_users(2), Pace(warm_up_s=0.05, duration_s=0.3))
    assert 0.3 <= found.window.begin_s < 2


@simulated
async def test_a_warm_up_is_as_long_as_it_was_to_be() -> None:
    found, _ = await driven(always(after_s=0.01), Level.of_users(2), Pace(warm_up_s=0.3, duration_s=0.2))
    assert found.window.begin_s == pytest.approx(0.3)
    assert found.window.seconds == pytest.approx(0.2)
    assert any(sample.done_s < found.window.begin_s for sample in found.sample_log.samples)


@simulated
async def test_answers_under_way_at_the_end_are_waited_for() -> None:
    found, scene = await driven(always(after_s=0.25), Level.of_users(5), Pace(warm_up_s=0.0, duration_s=0.4))
    assert len(found.sample_log.samples) == len(scene.heard)
    assert max(sample.done_s for sample in found.sample_log.samples) > found.window.end_s


@simulated
async def test_requests_without_an_answer_are_lost_and_their_users_go_on() -> None:
    async def some_hang(heard: Heard) -> bytes:
        await asyncio.sleep(9 if heard.number % 5 == 0 else 0.01)
        return well(heard)

    found, scene = await driven(some_hang, Level.of_users(4), timeout_s=0.2)
    counted = fates(found)
    assert counted[Fate.LOST] >= 2
    assert counted[Fate.OK] >= 4
    assert sum(counted.values()) == len(scene.heard)


@simulated
async def test_refused_users_retry_after_the_header() -> None:
    found, scene = await driven(always(reply(429, retry_after="1")), Level.of_users(3), Pace(warm_up_s=0.1, duration_s=0.5))
    assert fates(found) == {Fate.REFUSED: 3}
    assert len(scene.heard) == 3
    assert all(sample.has_retry_after for sample in found.sample_log.samples)


@simulated
async def test_users_do_not_hammer_a_server_that_is_gone() -> None:
    found, _ = await driven(always(None), Level.of_users(3), Pace(warm_up_s=0.1, duration_s=0.5))
    assert fates(found) == {Fate.CUT: 3}


@simulated
async def test_errors_are_answers_after_which_a_user_asks_again() -> None:
    found, _ = await driven(always(reply(500, {"error": "odd"}), after_s=0.01), Level.of_users(2))
    assert fates(found)[Fate.FAILED] > 4
    assert found.sample_log.reasons == {"500 odd": fates(found)[Fate.FAILED]}


@pytest.mark.parametrize(
    ("fate", "told", "pause_s"),
    [
        (Fate.OK, None, 0),
        (Fate.FAILED, None, 0),
        (Fate.FAILED, "9", 0),
        (Fate.LOST, None, 0),
        (Fate.REFUSED, "9", 9),
        (Fate.REFUSED, " 0 ", 0),
        (Fate.REFUSED, None, PAUSE_S),
        (Fate.REFUSED, "soon", PAUSE_S),
        (Fate.REFUSED, "-5", PAUSE_S),
        (Fate.REFUSED, "²", PAUSE_S),
        (Fate.REFUSED, "Wed, 21 Oct 2026 07:28:00 GMT", PAUSE_S),
        (Fate.CUT, None, PAUSE_S),
        (Fate.UNSENT, None, PAUSE_S),
    ],
)
def test_a_pause_is_as_long_as_was_said(fate: Fate, told: str | None, pause_s: float) -> None:
    assert pause_after(Outcome(fate=fate, at_s=0.0, retry_after=told)) == pause_s


# -- arrivals -----------------------------------------------------------------------------------------------------------


@simulated
async def test_arrivals_do_not_wait_for_answers() -> None:
    """A server that does not answer is asked as often as one that does."""
    pace = Pace(warm_up_s=0.0, duration_s=0.5)
    found, scene = await driven(always(after_s=1.5), Level.of_rate(40), pace)
    wanted = list(takewhile(lambda at_s: at_s < found.window.end_s, arrivals(40, "seed")))
    assert len(wanted) > 10
    assert len(scene.heard) >= len(wanted) - 1
    assert scene.most_at_once == len(scene.heard)  # all of them before the first answer
    assert fates(found) == {Fate.OK: len(scene.heard)}


@simulated
async def test_arrivals_keep_to_their_schedule() -> None:
    found, _ = await driven(always(after_s=0.05), Level.of_rate(50), Pace(warm_up_s=0.0, duration_s=0.6))
    due = sorted(sample.due_s for sample in found.sample_log.samples)
    for at_s, expected_s in zip(due, arrivals(50, "seed"), strict=False):
        assert at_s == pytest.approx(expected_s, abs=0.003)  # a timer may be a little early, and then that counts


class Stalling(Traffic):
    """Holds everything up once, as a generator would that is too slow."""

    STALL_S = 0.4

    def __init__(self) -> None:
        super().__init__("seed", num_documents=2, num_words=5)
        self.num_asked = 0

    def next(self) -> LoadRequest:
        self.num_asked += 1
        if self.num_asked == 5:
            time.sleep(self.STALL_S)
        return super().next()


@simulated
async def test_a_request_that_is_sent_late_is_not_a_fast_one() -> None:
    """Time runs from when it was due; what could not be sent meanwhile is sent, and as slow as it was late."""
    async with Scene(always()) as scene:
        found = await drive(scene, Level.of_rate(50), Pace(warm_up_s=0.0, duration_s=0.8), traffic=Stalling())
    assert found is not None
    stalled = [sample for sample in found.sample_log.samples if sample.latency_s > Stalling.STALL_S / 2]
    assert len(stalled) >= 4  # those of half of the stall at least; 10 on average
    assert found.generator.lag_p99_s > Stalling.STALL_S / 2
    assert found.generator.is_limit
    ordered = sorted(found.sample_log.samples, key=lambda sample: sample.due_s)
    late = ordered[4:8]
    assert all(
        one.latency_s >= other.latency_s - 0.02 for one, other in pairwise(late)
    )  # the earliest due request waited longest


@simulated
async def test_arrivals_end_with_the_window() -> None:
    found, scene = await driven(always(), Level.of_rate(60), Pace(warm_up_s=0.1, duration_s=0.3))
    assert max(sample.due_s for sample in found.sample_log.samples) <= found.window.end_s
    assert len(found.sample_log.samples) == len(scene.heard)


@simulated
async def test_few_connections_do_for_many_arrivals() -> None:
    _, scene = await driven(always(), Level.of_rate(100))
    assert len(scene.heard) > 20
    assert scene.num_connections < len(scene.heard) / 2


# -- the window, the sample, the pulse ------------------------------------------------------------------------------------


@simulated
async def test_kept_answers_are_those_to_their_requests() -> None:
    found, _ = await driven(always(after_s=0.01), Level.of_users(3), num_kept=4)
    assert len(found.sample_log.kept) == 4
    for kept in found.sample_log.kept:
        assert [number for (number,) in kept.numbers] == [len(document) % 97 / 97 for document in kept.request.documents]


@simulated
async def test_progress_is_reported() -> None:
    heard: list[Pulse] = []
    await driven(always(after_s=0.01), Level.of_users(2), Pace(warm_up_s=1.5, duration_s=1.5), watch=heard.append)
    assert heard[0].is_warming_up
    assert not heard[-1].is_warming_up
    assert all(pulse.qps > 0 and pulse.p50_s and pulse.p50_s >= 0.01 for pulse in heard)
    assert heard[0].elapsed_s >= 1.0


@simulated
async def test_generator_reports_its_idle_share() -> None:
    found, _ = await driven(always(after_s=0.1), Level.of_users(1))
    assert found.generator.cpu_share < 0.9
    assert found.generator.lag_p99_s >= 0


# -- stopping -----------------------------------------------------------------------------------------------------------


async def stopped(behave: Behave, pace: Pace, after_s: float, level: Level | None = None) -> tuple[Driven | None, Scene, float]:
    stop = asyncio.Event()
    async with Scene(behave) as scene:
        started_s = time.perf_counter()
        running = asyncio.create_task(drive(scene, level or Level.of_users(3), pace, stop=stop))
        await asyncio.sleep(after_s)
        stop.set()
        found = await running
        return found, scene, time.perf_counter() - started_s


@simulated
async def test_stop_in_the_window_keeps_the_measurements() -> None:
    found, _, _ = await stopped(always(after_s=0.01), Pace(warm_up_s=0.1, duration_s=60), 1.0)
    assert found is not None
    assert 0.5 <= found.window.seconds < 30
    assert fates(found)[Fate.OK] > 5


@pytest.mark.parametrize("level", [Level.of_users(3), Level.of_rate(30)])
@simulated
async def test_a_stop_does_not_wait_for_answers_and_does_not_call_them_lost(level: Level) -> None:
    found, scene, took_s = await stopped(always(after_s=30), Pace(warm_up_s=0.0, duration_s=60), 1.0, level)
    assert took_s < 20
    assert scene.heard
    assert found is None or found.sample_log.samples == []


@pytest.mark.parametrize("after_s", [0.05, 0.4])
@simulated
async def test_a_stop_before_there_was_anything_to_measure_leaves_nothing(after_s: float) -> None:
    found, _, _ = await stopped(always(after_s=0.01), Pace(warm_up_s=0.3, duration_s=60), after_s)
    assert found is None


@simulated
async def test_a_stop_while_users_settle_leaves_nothing() -> None:
    found, _, _ = await stopped(always(after_s=30), Pace(warm_up_s=0.1, duration_s=60), 0.5)
    assert found is None


@simulated
async def test_no_connection_is_left_afterwards() -> None:
    before = len(asyncio.all_tasks())
    async with Scene(always(after_s=0.01)) as scene:
        await drive(scene, Level.of_users(5))
        await asyncio.sleep(0.05)
        assert scene.num_at_once == 0
    assert len(asyncio.all_tasks()) == before


@simulated
async def test_a_bug_is_not_a_fate() -> None:
    class Broken(Traffic):
        def next(self) -> LoadRequest:
            raise ZeroDivisionError

    async with Scene(always()) as scene:
        with pytest.raises(ExceptionGroup) as caught:
            await drive(scene, Level.of_users(2), traffic=Broken("seed", num_documents=1, num_words=1))
    assert caught.group_contains(ZeroDivisionError)


@simulated
async def test_an_event_happens_in_time_or_not() -> None:
    event = asyncio.Event()
    assert not await happens(event, 0.01)
    assert not await happens(event, 0.0)
    event.set()
    assert await happens(event, 0.0)
    assert await happens(event, 10)
