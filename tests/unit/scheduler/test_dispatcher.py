"""The loop: every item gets its own outcome, one bad item fails alone, a failed engine fails all jobs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from shortlist.engine.base import EngineInfo
from shortlist.errors import (
    BadScore,
    DeadlineExceeded,
    EngineError,
    EngineOutOfMemory,
    EngineUnavailable,
    UpstreamError,
)
from shortlist.scheduler.admission import Admission, AdmissionLimits
from shortlist.scheduler.dispatcher import MIN_BATCH_PRIORITY_TOKENS, Dispatcher
from shortlist.scheduler.queue import Flow, WorkQueue
from shortlist.telemetry import Metrics
from shortlist.types import (
    EMBED,
    RERANK,
    Batch,
    Priority,
    Prompt,
    TextPrefix,
    TextPrompt,
)
from tests.support.fake_engine import FakeEngine, Fault, log_odds
from tests.support.simulated import simulated

LIMITS = AdmissionLimits(max_concurrent_requests=100, max_queue_tokens=1000, max_queue_bytes=1_000_000, max_queue_delay_s=10)


def prompts(*texts: str, query: str = "query") -> list[Prompt]:
    prefix = TextPrefix(query, 2)
    return [TextPrompt(prefix, text, len(text.split())) for text in texts]


@asynccontextmanager
async def running(
    engine: FakeEngine, *, max_batch_tokens: int = 1000, max_batch_priority_tokens: int | None = None
) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(
        engine,
        WorkQueue(),
        Admission(LIMITS),
        max_batch_tokens=max_batch_tokens,
        max_batch_items=64,
        max_batch_priority_tokens=max_batch_priority_tokens,
        metrics=Metrics(),
        model="fake",
    )
    loop = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def fails_on(word: str, error: Exception) -> Fault:
    def fault(batch: Batch) -> None:
        if any(isinstance(item.prompt, TextPrompt) and word in item.prompt.text for item in batch.items):
            raise error

    return fault


async def test_outcomes_keep_the_order_of_the_prompts() -> None:
    asked = prompts("query", "other", "query words")
    async with running(FakeEngine()) as dispatcher:
        completed = await dispatcher.submit(RERANK, asked)
    assert completed.outcomes == [log_odds(prompt) for prompt in asked]
    assert completed.queue_s >= 0
    assert completed.compute_s > 0


@simulated
async def test_vectors_come_back_for_embed_jobs() -> None:
    async with running(FakeEngine()) as dispatcher:
        completed = await dispatcher.submit(EMBED, prompts("a", "b"))
    assert all(isinstance(outcome, np.ndarray) and outcome.shape == (8,) for outcome in completed.outcomes)


@simulated
async def test_requests_that_wait_together_ride_together() -> None:
    engine = FakeEngine(step_s=0.02)
    async with running(engine) as dispatcher:
        first = asyncio.create_task(dispatcher.submit(RERANK, prompts("a b", "c d")))
        await asyncio.sleep(0.005)
        await asyncio.gather(*(dispatcher.submit(RERANK, prompts("a b", "c d")) for _ in range(9)), first)
    assert [len(batch.items) for batch in engine.batches] == [2, 18]


@simulated
async def test_job_larger_than_a_step_is_spread_over_several() -> None:
    engine = FakeEngine()
    async with running(engine, max_batch_tokens=10) as dispatcher:
        completed = await dispatcher.submit(RERANK, prompts(*["one two three"] * 7))
    assert len(completed.outcomes) == 7
    assert all(batch.num_tokens <= 10 for batch in engine.batches)
    assert len(engine.batches) == 4


@pytest.mark.parametrize("num_bad", [1, 2, 5])
@simulated
async def test_bad_item_fails_alone(num_bad: int) -> None:
    texts = [f"bad {i}" if i in range(0, 32, 32 // num_bad) else f"good {i}" for i in range(32)]
    asked = prompts(*texts)
    engine = FakeEngine(fault=fails_on("bad", EngineError("poison")))
    async with running(engine) as dispatcher:
        completed = await dispatcher.submit(RERANK, asked)
    for prompt, text, outcome in zip(asked, texts, completed.outcomes, strict=True):
        if text.startswith("bad"):
            assert isinstance(outcome, EngineError)
        else:
            assert outcome == log_odds(prompt)
    num_bad = sum(text.startswith("bad") for text in texts)
    assert len(engine.batches) - 1 <= 2 * 5 * num_bad  # 2 * ceil(log2 32) for each


@simulated
async def test_unexpected_exception_of_an_engine_is_an_engine_error() -> None:
    async with running(FakeEngine(fault=fails_on("bad", ZeroDivisionError("secret text")))) as dispatcher:
        completed = await dispatcher.submit(RERANK, prompts("bad", "good"))
    bad, good = completed.outcomes
    assert isinstance(bad, EngineError)
    assert "ZeroDivisionError" in bad.message
    assert "secret" not in bad.message
    assert isinstance(good, float)


@simulated
async def test_step_that_does_not_fit_into_memory_is_halved() -> None:
    def fault(batch: Batch) -> None:
        if len(batch.items) > 2:
            raise EngineOutOfMemory("too much")

    engine = FakeEngine(fault=fault)
    async with running(engine) as dispatcher:
        completed = await dispatcher.submit(RERANK, prompts(*"abcdefgh"))
    assert all(isinstance(outcome, float) for outcome in completed.outcomes)


class Lying(FakeEngine):
    """Returns the given values."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = values

    async def score(self, batch: Batch) -> Sequence[float]:
        return self.values[: max(len(batch.items), 2)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@simulated
async def test_score_that_is_not_finite_is_an_error_of_its_item(value: float) -> None:
    async with running(Lying(1.0, value)) as dispatcher:
        completed = await dispatcher.submit(RERANK, prompts("a", "b"))
    assert completed.outcomes[0] == 1.0
    assert isinstance(completed.outcomes[1], BadScore)


@simulated
async def test_vector_that_is_not_finite_is_an_error_of_its_item() -> None:
    class Broken(FakeEngine):
        async def embed(self, batch: Batch) -> Sequence[np.ndarray]:
            return [np.array([1.0, np.nan], np.float32) for _ in batch.items]

    async with running(Broken()) as dispatcher:
        completed = await dispatcher.submit(EMBED, prompts("a"))
    assert isinstance(completed.outcomes[0], BadScore)


@simulated
async def test_wrong_number_of_values_is_never_zipped_short() -> None:
    async with running(Lying(1.0, 2.0)) as dispatcher:
        completed = await dispatcher.submit(RERANK, prompts("a", "b", "c"))
    # Three items get two values: refused; halves of one and two items: one item gets two values, two get two.
    assert isinstance(completed.outcomes[0], EngineError)
    assert completed.outcomes[1:] == [1.0, 2.0]


@simulated
async def test_late_job_gets_deadline_exceeded_and_is_never_computed() -> None:
    engine = FakeEngine(step_s=0.1)
    async with running(engine) as dispatcher:
        first = asyncio.create_task(dispatcher.submit(RERANK, prompts("first")))
        await asyncio.sleep(0.01)
        started_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await dispatcher.submit(RERANK, prompts("late"), deadline_s=started_s + 0.02)
        assert time.monotonic() - started_s < 0.09
        await first
        await asyncio.sleep(0.02)
    assert [len(batch.items) for batch in engine.batches] == [1]


@simulated
async def test_job_past_its_deadline_is_refused_at_once() -> None:
    engine = FakeEngine()
    async with running(engine) as dispatcher:
        with pytest.raises(DeadlineExceeded):
            await dispatcher.submit(RERANK, prompts("late"), deadline_s=time.monotonic() - 1)
        await asyncio.sleep(0.01)
    assert engine.batches == []


@simulated
async def test_cancelled_job_is_not_computed_and_others_are() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine) as dispatcher:
        first = asyncio.create_task(dispatcher.submit(RERANK, prompts("first")))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(dispatcher.submit(RERANK, prompts("gone", "gone")))
        stays = asyncio.create_task(dispatcher.submit(RERANK, prompts("stays")))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.gather(first, stays)
        assert gone.cancelled()
        assert dispatcher.num_jobs == 0
    texts = [item.prompt.text for batch in engine.batches for item in batch.items if isinstance(item.prompt, TextPrompt)]
    assert texts == ["first", "stays"]


@simulated
async def test_job_cancelled_during_its_batch_is_dropped() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine) as dispatcher:
        gone = asyncio.create_task(dispatcher.submit(RERANK, prompts("gone")))
        await asyncio.sleep(0.01)
        gone.cancel()
        completed = await dispatcher.submit(RERANK, prompts("next"))
    assert isinstance(completed.outcomes[0], float)


@simulated
async def test_partial_job_returns_the_values_computed_in_time() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine, max_batch_tokens=4) as dispatcher:
        asked = prompts("a b", "c d", "e f", "g h", "i j")
        deadline_s = time.monotonic() + 0.12
        completed = await dispatcher.submit(RERANK, asked, deadline_s=deadline_s, is_partial=True)
        assert dispatcher.num_jobs == 0
    done = [outcome for outcome in completed.outcomes if isinstance(outcome, float)]
    assert completed.outcomes[: len(done)] == [log_odds(prompt) for prompt in asked[: len(done)]]
    assert 1 <= len(done) < len(asked)
    assert all(isinstance(outcome, DeadlineExceeded) for outcome in completed.outcomes[len(done) :])
    assert len(engine.batches) <= len(done) + 1, "an unwanted item was computed"


@simulated
async def test_flows_take_turns() -> None:
    engine = FakeEngine(step_s=0.01)
    async with running(engine, max_batch_tokens=3) as dispatcher:
        flows = [Flow("busy", Priority.INTERACTIVE)] * 6 + [Flow("new", Priority.INTERACTIVE)]
        texts = [f"{flow.caller}" for flow in flows]
        jobs = [
            asyncio.create_task(dispatcher.submit(RERANK, prompts(text), flow=flow))
            for text, flow in zip(texts, flows, strict=True)
        ]
        await asyncio.gather(*jobs)
    order = [item.prompt.text for batch in engine.batches for item in batch.items if isinstance(item.prompt, TextPrompt)]
    assert order.index("new") <= 2


@simulated
async def test_steps_are_smaller_after_one_did_not_fit() -> None:
    def fault(batch: Batch) -> None:
        if batch.num_tokens > 10:
            raise EngineOutOfMemory("too much")

    engine = FakeEngine(fault=fault)
    async with running(engine, max_batch_tokens=1000) as dispatcher:
        await dispatcher.submit(RERANK, prompts(*"abcdefghijklmnopqrstuvwx"))
        num_failed = sum(batch.num_tokens > 10 for batch in engine.batches)
        assert num_failed
        await dispatcher.submit(RERANK, prompts(*"abcdefghijklmnopqrstuvwx"))
        assert sum(batch.num_tokens > 10 for batch in engine.batches) == num_failed, "nothing was learned"


@pytest.mark.parametrize("which", range(1, 12))
@simulated
async def test_out_of_memory_at_any_forward_loses_nothing(which: int) -> None:
    """The k-th forward fails, for every k until none does; every item still has its score."""
    calls = itertools.count(1)

    def fault(batch: Batch) -> None:
        if next(calls) == which and len(batch.items) > 1:
            raise EngineOutOfMemory("too much")

    asked = prompts(*"abcdefghijklmnopqrst")
    async with running(FakeEngine(fault=fault), max_batch_tokens=8) as dispatcher:
        completed = await dispatcher.submit(RERANK, asked)
    assert completed.outcomes == [log_odds(prompt) for prompt in asked]


@simulated
async def test_failed_engine_fails_all_jobs() -> None:
    engine = FakeEngine(step_s=0.02, fault=fails_on("deadly", EngineUnavailable("it died")))
    async with running(engine) as dispatcher:
        jobs = [asyncio.create_task(dispatcher.submit(RERANK, prompts(text))) for text in ("deadly", "waiting", "waiting")]
        results = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 1)
        assert all(isinstance(result, EngineUnavailable) for result in results)
        with pytest.raises(EngineUnavailable, match="it died"):
            await dispatcher.submit(RERANK, prompts("new"))
        assert dispatcher.failure is not None
        assert dispatcher.num_jobs == 0


@simulated
async def test_engine_that_takes_several_batches_gets_them_at_once() -> None:
    engine = FakeEngine(step_s=0.05, max_concurrent_batches=3)
    async with running(engine, max_batch_tokens=3) as dispatcher:
        started_s = time.monotonic()
        await dispatcher.submit(RERANK, prompts("a", "b", "c"))
        elapsed_s = time.monotonic() - started_s
    assert len(engine.batches) == 3
    assert elapsed_s == pytest.approx(0.05)  # one after the other would take 0.15


@simulated
async def test_steps_teach_the_speed() -> None:
    async with running(FakeEngine(step_s=0.01)) as dispatcher:
        await dispatcher.submit(RERANK, prompts("a b c"))
        await asyncio.sleep(0)
        assert dispatcher._admission.tokens_per_s is not None
        assert 50 < dispatcher._admission.tokens_per_s < 600


@simulated
async def test_batches_of_batch_priority_are_small_on_a_slow_engine_but_not_tiny() -> None:
    """300 tokens take 3 s: 50 ms would be one document."""
    engine = FakeEngine(step_s=1.5)
    texts = [" ".join("w" for _ in range(48))] * 20
    async with running(engine) as dispatcher:
        await dispatcher.submit(RERANK, prompts(*texts[:3]))
        await asyncio.sleep(0)
        assert dispatcher._admission.tokens_per_s is not None
        assert dispatcher._admission.tokens_per_s * 0.05 < 48
        del engine.batches[:]
        await dispatcher.submit(RERANK, prompts(*texts), flow=Flow("a", Priority.BATCH))
    assert max(len(batch.items) for batch in engine.batches) == (MIN_BATCH_PRIORITY_TOKENS - 2) // 48


@simulated
async def test_batches_of_batch_priority_have_as_many_tokens_as_is_set() -> None:
    engine = FakeEngine(step_s=0.01)
    async with running(engine, max_batch_priority_tokens=4) as dispatcher:
        await dispatcher.submit(RERANK, prompts("a", "b", "c"))
        await dispatcher.submit(RERANK, prompts("a", "b", "c"), flow=Flow("a", Priority.BATCH))
    assert [len(batch.items) for batch in engine.batches] == [3, 2, 1]


async def test_batches_that_are_computed_at_once_teach_how_fast_the_engine_is_with_all_of_them() -> None:
    async with running(FakeEngine(step_s=0.05, max_concurrent_batches=3), max_batch_tokens=3) as dispatcher:
        started_s = time.monotonic()
        await dispatcher.submit(RERANK, prompts("a", "b", "c"))
        await asyncio.sleep(0)
        at_least = 9 / (time.monotonic() - started_s)
        assert dispatcher._admission.tokens_per_s is not None
        assert dispatcher._admission.tokens_per_s >= at_least


@simulated
async def test_engine_marked_failed_twice_fails_once() -> None:
    async with running(FakeEngine(step_s=0.05)) as dispatcher:
        waiting = asyncio.create_task(dispatcher.submit(RERANK, prompts("a")))
        await asyncio.sleep(0.01)
        dispatcher.fail(EngineUnavailable("first"))
        dispatcher.fail(EngineUnavailable("second"))
        with pytest.raises(EngineUnavailable, match="first"):
            await waiting
        with pytest.raises(EngineUnavailable, match="second"):
            await dispatcher.submit(RERANK, prompts("b"))


@simulated
async def test_engine_that_is_back_takes_jobs_again() -> None:
    async with running(FakeEngine()) as dispatcher:
        dispatcher.fail(EngineUnavailable("gone"))
        dispatcher.resume()
        loop = asyncio.create_task(dispatcher.run())
        completed = await dispatcher.submit(RERANK, prompts("query"))
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    assert completed.outcomes == [log_odds(prompt) for prompt in prompts("query")]


# -- engines in other processes -----------------------------------------------------------------------------------------


class Remote(FakeEngine):
    """An engine that stops computing cancelled calls."""

    def __init__(self, *, ends_cancelled: bool = True, step_s: float = 60.0) -> None:
        super().__init__(step_s=step_s)
        self.num_ended = 0
        self._ends_cancelled = ends_cancelled

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, ends_cancelled=self._ends_cancelled)

    async def score(self, batch: Batch) -> Sequence[float]:
        try:
            return await super().score(batch)
        except asyncio.CancelledError:
            self.num_ended += 1
            raise


async def started(engine: FakeEngine, num_batches: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(engine.batches) < num_batches:  # noqa: ASYNC110 - the engine has no event
            await asyncio.sleep(0.001)


@simulated
async def test_batch_without_waiting_jobs_is_cancelled_and_the_next_starts() -> None:
    engine = Remote()
    async with running(engine) as dispatcher:
        with pytest.raises(DeadlineExceeded):
            await dispatcher.submit(RERANK, prompts("a"), deadline_s=time.monotonic() + 0.05)
        await asyncio.sleep(0)
        assert engine.num_ended == 1
        engine.step_s = 0.0
        assert len((await asyncio.wait_for(dispatcher.submit(RERANK, prompts("b")), 5)).outcomes) == 1


@simulated
async def test_batch_with_one_waiting_job_continues() -> None:
    engine = Remote()
    async with running(engine) as dispatcher:
        jobs = [asyncio.ensure_future(dispatcher.submit(RERANK, prompts(text))) for text in ("a", "b")]
        await started(engine)
        assert len(engine.batches[0].items) == 2
        jobs[0].cancel()
        await asyncio.sleep(0.01)
        assert engine.num_ended == 0
        jobs[1].cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.sleep(0)
        assert engine.num_ended == 1


@simulated
async def test_step_of_an_engine_that_would_not_notice_is_not_ended() -> None:
    engine = Remote(ends_cancelled=False, step_s=0.2)
    async with running(engine) as dispatcher:
        with pytest.raises(DeadlineExceeded):
            await dispatcher.submit(RERANK, prompts("a"), deadline_s=time.monotonic() + 0.05)
        assert len((await dispatcher.submit(RERANK, prompts("b"))).outcomes) == 1
        assert engine.num_ended == 0


@simulated
async def test_batch_is_not_halved_after_an_upstream_error() -> None:
    def fail_upstream(_: Batch) -> None:
        raise UpstreamError("unhealthy", is_retryable=True)

    engine = FakeEngine(fault=fail_upstream)
    async with running(engine) as dispatcher:
        outcomes = (await dispatcher.submit(RERANK, prompts(*"abcdefgh"))).outcomes
        assert [type(outcome) for outcome in outcomes] == [UpstreamError] * 8
        assert len(engine.batches) == 1
        assert dispatcher.failure is None


@simulated
async def test_coming_back_can_be_waited_for() -> None:
    async with running(FakeEngine()) as dispatcher:
        await asyncio.wait_for(dispatcher.wait_until_restarted(), 5)  # returns at once
        dispatcher.fail(EngineUnavailable("gone"))
        waiting = asyncio.ensure_future(dispatcher.wait_until_restarted())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        dispatcher.resume()
        await asyncio.wait_for(waiting, 5)
