"""Compute: cost of a request, release of its permit, cache keys, single flight, partial results and shared cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shortlist.errors import (
    DeadlineExceeded,
    EngineError,
    EngineUnavailable,
    InputTooLong,
    Overloaded,
    ServiceError,
)
from shortlist.scheduler.cache import Entry, cache_keys
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.scheduler.work import Computed, Work
from shortlist.text.reading import failed
from shortlist.types import (
    EMBED,
    RERANK,
    Batch,
    Encoded,
    Operation,
    Priority,
    RequestOptions,
    TextPrefix,
    TextPrompt,
    Timing,
)
from tests.support.apps import served
from tests.support.fake_engine import FakeEngine, log_odds
from tests.support.simulated import simulated
from tests.support.words import WordEncoder

PATIENCE_S = 5.0


@asynccontextmanager
async def running(engine: FakeEngine | None = None, **flat: Any) -> AsyncIterator[ServedModel]:
    """A served model with a running dispatcher; afterwards, no load is left."""
    one = served(engine, **flat)
    loop = asyncio.create_task(one.dispatcher.run())
    try:
        yield one
        assert inside(one) == (0, 0, 0, 0)
        assert one.admission.load.num_bytes == 0
        assert [len(in_flight) for in_flight in one.in_flight.values()] == [0, 0]
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def inside(one: ServedModel) -> tuple[int, int, int, int]:
    """Return how many requests, their tokens, jobs and waiting items there are."""
    load = one.admission.load
    return load.num_requests, load.num_tokens, one.dispatcher.num_jobs, one.dispatcher._queue.num_items


def encode_with(*, query: str = "red fox", look: Callable[[], None] = lambda: None) -> Callable[[Sequence[str]], list[Encoded]]:
    def encode(texts: Sequence[str]) -> list[Encoded]:
        look()
        return WordEncoder().encode_pairs(query, texts)

    return encode


def request(
    *texts: str,
    query: str = "red fox",
    timeout_s: float | None = None,
    is_partial: bool = False,
    priority: Priority = Priority.INTERACTIVE,
    encode: Callable[[Sequence[str]], list[Encoded]] | None = None,
    **changes: object,
) -> Work:
    encode = encode or encode_with(query=query)
    fields: dict[str, object] = {
        "operation": RERANK,
        "texts": texts,
        "keys": cache_keys((query,), texts),
        "overhead_chars": len(query),
        "encode": lambda positions: encode([texts[index] for index in positions]),
        "options": RequestOptions(timeout_s=timeout_s, is_partial=is_partial, priority=priority),
    }
    return Work(**{**fields, **changes})  # type: ignore[arg-type]


def its_names(one: ServedModel, text: str) -> list[bytes]:
    """Return the cache key of a text for this served model."""
    return one.keys(RERANK, ("red fox",), [text])


def values(computed: Computed) -> list[object]:
    return [found.value if isinstance(found, Entry) else type(found) for found in computed.found]


def score(text: str, query: str = "red fox") -> float:
    return log_odds(TextPrompt(TextPrefix(query, 0), text, 0))


def fails_on(word: str, error: Exception) -> Callable[[Batch], None]:
    def fault(batch: Batch) -> None:
        if any(isinstance(item.prompt, TextPrompt) and word in item.prompt.text.split() for item in batch.items):
            raise error

    return fault


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is polled
            await asyncio.sleep(0.001)


# -- cost ---------------------------------------------------------------------------------------------------------------


@simulated
async def test_cost_is_a_third_of_the_characters_before_tokenizing_and_the_tokens_afterwards() -> None:
    engine = FakeEngine(step_s=0.02)
    costs: list[int] = []
    async with running(engine) as one:
        look = lambda: costs.append(one.admission.load.num_tokens)  # noqa: E731
        texts = "a" * 30, "b" * 31
        task = asyncio.create_task(one.run(request(*texts, encode=encode_with(look=look))))
        await until(lambda: bool(engine.batches))
        costs.append(one.admission.load.num_tokens)
        await task
    estimate = (30 + 31 + len("red fox")) // 3 + 2
    assert costs == [estimate, 2 + 2 * (1 + 1)]  # a query of two words, and two texts of one word and its end


@simulated
async def test_admission_counts_only_cache_misses() -> None:
    costs: list[int] = []
    async with running() as one:
        await one.run(request("known", "also known"))
        look = lambda: costs.append(one.admission.load.num_tokens)  # noqa: E731
        await one.run(request("known", "new", "new", "also known", encode=encode_with(look=look)))
    assert costs == [(len("new") + len("red fox")) // 3 + 1]


async def test_tokenizing_does_not_block_the_loop() -> None:
    threads: list[threading.Thread] = []
    async with running() as one:
        await one.run(request("a", encode=encode_with(look=lambda: threads.append(threading.current_thread()))))
    assert threads != [threading.main_thread()]


# -- release of the permit ----------------------------------------------------------------------------------------------


@simulated
async def test_success_releases_the_permit() -> None:
    async with running() as one:
        assert values(await one.run(request("red fox", "cat"))) == [score("red fox"), score("cat")]
        assert inside(one) == (0, 0, 0, 0)


@simulated
async def test_refusal_takes_nothing() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine, max_concurrent_requests=1) as one:
        first = asyncio.create_task(one.run(request("a")))
        await until(lambda: bool(engine.batches))
        before = inside(one)
        with pytest.raises(Overloaded):
            await one.run(request("b"))
        assert inside(one) == before
        await first


@simulated
async def test_refusal_by_the_true_cost_gives_the_permit_back() -> None:
    """The estimate is admitted, the true cost does not fit."""
    engine = FakeEngine(step_s=0.1)
    many_words = " ".join("abcdefghijklmnop")
    async with running(engine, max_queue_tokens=52) as one:
        first = asyncio.create_task(one.run(request("a")))
        await until(lambda: bool(engine.batches))
        waits = asyncio.create_task(one.run(request("b")))
        await until(lambda: one.dispatcher.num_jobs == 2)
        before = inside(one)
        with pytest.raises(Overloaded, match="queue is full"):
            await one.run(request(many_words, f"{many_words} {many_words}", overhead_chars=-120))
        assert inside(one) == before
        await asyncio.gather(first, waits)


@pytest.mark.parametrize("error", [InputTooLong("too long", param="documents[0]"), ZeroDivisionError()])
@simulated
async def test_failed_tokenizing_releases_the_permit(error: Exception) -> None:
    def fails() -> None:
        raise error

    async with running() as one:
        with pytest.raises(type(error)):
            await one.run(request("a", encode=encode_with(look=fails)))
        assert inside(one) == (0, 0, 0, 0)
        assert values(await one.run(request("a"))) == [score("a")]


@simulated
async def test_text_that_cannot_be_tokenized_fails_alone() -> None:
    def encode(texts: Sequence[str]) -> list[Encoded]:
        one_by_one = encode_with(query="red fox")
        return [failed(EngineError("no tokens")) if text == "bad" else one_by_one([text])[0] for text in texts]

    async with running() as one:
        assert values(await one.run(request("good", "bad", "fox", encode=encode))) == [score("good"), EngineError, score("fox")]
        assert values(await one.run(request("bad", encode=encode))) == [EngineError]
        assert inside(one) == (0, 0, 0, 0)


@simulated
async def test_failed_text_releases_the_permit() -> None:
    async with running(FakeEngine(fault=fails_on("bad", EngineError("poison")))) as one:
        computed = await one.run(request("good", "bad", "fox"))
        assert values(computed) == [score("good"), EngineError, score("fox")]


@simulated
async def test_failed_engine_releases_the_permit() -> None:
    async with running(FakeEngine(fault=fails_on("bad", EngineUnavailable("it died")))) as one:
        with pytest.raises(EngineUnavailable):
            await one.run(request("bad"))
        with pytest.raises(EngineUnavailable):
            await one.run(request("good"))


@pytest.mark.parametrize("stage", ["tokenizing", "waiting", "computing"])
async def test_cancellation_releases_the_permit(stage: str) -> None:
    engine = FakeEngine(step_s=0.05)
    has_started, may_tokenize = threading.Event(), threading.Event()

    def look() -> None:
        has_started.set()
        assert stage != "tokenizing" or may_tokenize.wait(PATIENCE_S)

    async with running(engine) as one:
        first = asyncio.create_task(one.run(request("first"))) if stage == "waiting" else None
        if first is not None:
            await until(lambda: bool(engine.batches))
        gone = asyncio.create_task(one.run(request("gone", encode=encode_with(look=look))))
        reached = {
            "tokenizing": has_started.is_set,
            "waiting": lambda: one.dispatcher.num_jobs == 2,
            "computing": lambda: bool(engine.batches),
        }
        await until(reached[stage])
        before = one.admission.load.num_requests
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        may_tokenize.set()
        assert one.admission.load.num_requests == before - 1
        assert one.dispatcher._queue.num_items == 0
        if first is not None:
            await first
        assert inside(one) == (0, 0, 0, 0)


async def test_deadline_while_tokenizing_releases_the_permit() -> None:
    engine, late = FakeEngine(), threading.Event()

    def look() -> None:
        late.wait(0.05)

    async with running(engine) as one:
        with pytest.raises(DeadlineExceeded):
            await one.run(request("a", timeout_s=0.02, encode=encode_with(look=look)))
        assert inside(one) == (0, 0, 0, 0)
        assert len(engine.batches) == 0


@simulated
async def test_deadline_while_computing_releases_the_permit() -> None:
    engine = FakeEngine(step_s=0.2)
    async with running(engine) as one:
        with pytest.raises(DeadlineExceeded):
            await one.run(request("a", timeout_s=0.02))
        assert inside(one) == (0, 0, 0, 0)
        assert len(engine.batches) == 1


@simulated
async def test_cancelled_request_is_not_cached() -> None:
    async with running(FakeEngine(step_s=0.05)) as one:
        with pytest.raises(DeadlineExceeded):
            await one.run(request("a", timeout_s=0.01))
        await asyncio.sleep(0.06)
        assert len(one.cache) == 0


# -- cache keys ---------------------------------------------------------------------------------------------------------


@simulated
async def test_values_come_in_the_callers_order_whatever_was_known_or_doubled() -> None:
    texts = ["red", "cat", "red fox", "fox", "cat", "red fox", "dog", "fox"]
    async with running() as one:
        await one.run(request("fox", "cat"))
        computed = await one.run(request(*texts))
    assert values(computed) == [score(text) for text in texts]
    assert computed.usage.num_cached == 4  # cat and fox, twice each
    assert computed.usage.num_tokens == sum(2 + len(text.split()) + 1 for text in texts)


@simulated
async def test_failure_is_the_failure_of_every_equal_text() -> None:
    async with running(FakeEngine(fault=fails_on("bad", EngineError("poison")))) as one:
        computed = await one.run(request("bad", "fox", "bad"))
    assert values(computed) == [EngineError, score("fox"), EngineError]
    assert computed.usage.num_tokens == 2 + 1 + 1  # failed texts do not count


@simulated
async def test_failures_are_not_cached_and_other_texts_are() -> None:
    engine = FakeEngine(fault=fails_on("bad", EngineError("poison")))
    async with running(engine) as one:
        await one.run(request("bad", "fox"))
        engine.fault = None
        again = await one.run(request("bad", "fox"))
    assert values(again) == [score("bad"), score("fox")]
    assert again.usage.num_cached == 1


@simulated
async def test_cut_texts_are_named_by_every_position() -> None:
    def encode(texts: Sequence[str]) -> list[Encoded]:
        return WordEncoder(max_model_len=4).encode_pairs("red fox", texts)

    async with running() as one:
        fresh = await one.run(request("a b c", "a", "a b c", encode=encode))
        known = await one.run(request("a", "a b c", encode=encode))
    assert (fresh.truncated, known.truncated) == ([0, 2], [1])


@simulated
async def test_cached_request_needs_neither_permit_nor_engine_nor_time() -> None:
    engine = FakeEngine()
    async with running(engine, max_concurrent_requests=1) as one:
        await one.run(request("a", "b"))
        engine.step_s = 0.05
        full = asyncio.create_task(one.run(request("c")))
        await until(lambda: len(engine.batches) == 2)
        known = await one.run(request("b", "a", "b"))
        assert not full.done()
        await full
    assert values(known) == [score("b"), score("a"), score("b")]
    assert known.timing == Timing()
    assert known.usage.num_cached == 3


def lookups(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    hits, misses = (
        registry.get_sample_value(f"shortlist_cache_{what}_total", {"model": "fake"}) for what in ("hits", "misses")
    )
    return hits, misses


@simulated
async def test_lookups_are_counted_once_per_different_text() -> None:
    async with running() as one:
        await one.run(request("a", "b", "a"))
        assert lookups(one.metrics.registry) == (0, 2)
        await one.run(request("a", "b", "c", "c"))
        assert lookups(one.metrics.registry) == (2, 3)
        assert one.metrics.registry.get_sample_value("shortlist_cache_bytes", {"model": "fake"}) == one.cache.num_bytes > 0


class OtherEngine(FakeEngine):
    """The same values with another fingerprint."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self._info, "fingerprint", "other")


@pytest.mark.parametrize(
    ("task", "context"),
    [
        (EMBED, ("red fox",)),
        (RERANK, ("red", " fox")),
        (RERANK, ("red fox", "")),
        (RERANK, ("red fo", "x")),
        (RERANK, ()),
    ],
    ids=str,
)
@simulated
async def test_other_inputs_have_other_cache_keys(task: Operation, context: tuple[str, ...]) -> None:
    async with running() as one:
        usual, other = (one.keys(*each, ["fox"]) for each in ((RERANK, ("red fox",)), (task, context)))
        await one.run(request("fox", keys=usual))
        assert (await one.run(request("fox", keys=other))).usage.num_cached == 0
        assert (await one.run(request("fox", keys=usual))).usage.num_cached == 1


@pytest.mark.parametrize(("engine", "length"), [(OtherEngine(), 8192), (FakeEngine(), 100)], ids=["engine", "encoder"])
@simulated
async def test_other_engine_or_encoder_has_other_cache_keys(engine: FakeEngine, length: int) -> None:
    async with running() as one:
        await one.run(request("fox", keys=its_names(one, "fox")))
        other = served(engine, WordEncoder(length))
        object.__setattr__(other, "cache", one.cache)
        loop = asyncio.create_task(other.dispatcher.run())
        assert (await other.run(request("fox", keys=its_names(other, "fox")))).usage.num_cached == 0
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


@simulated
async def test_many_at_once_get_their_own() -> None:
    async with running(FakeEngine(step_s=0.001), max_batch_tokens=64, max_model_len=64) as one:
        asked = [[f"word{(number * 7 + place) % 50} fox" for place in range(5)] for number in range(60)]
        found = await asyncio.gather(
            *(one.run(request(*texts, query=f"word{number} fox")) for number, texts in enumerate(asked))
        )
    for number, (texts, computed) in enumerate(zip(asked, found, strict=True)):
        assert values(computed) == [score(text, f"word{number} fox") for text in texts]
        assert not any(isinstance(each, ServiceError) for each in computed.found)


# -- single flight ------------------------------------------------------------------------------------------------------


@simulated
async def test_hundred_equal_requests_cost_one_forward() -> None:
    engine = FakeEngine(step_s=0.01)
    async with running(engine) as one:
        found = await asyncio.gather(*(one.run(request("red fox", "cat")) for _ in range(100)))
        assert one.metrics.registry.get_sample_value("shortlist_coalesced_total", {"model": "fake"}) == 2 * 99
    assert [len(batch.items) for batch in engine.batches] == [2]
    assert {tuple(values(computed)) for computed in found} == {(score("red fox"), score("cat"))}


@simulated
async def test_request_computes_only_texts_that_are_not_in_flight() -> None:
    engine = FakeEngine(step_s=0.01)
    async with running(engine) as one:
        first = asyncio.create_task(one.run(request("a", "b")))
        await until(lambda: bool(engine.batches))
        second = await one.run(request("c", "b", "a"))
        await first
    assert values(second) == [score("c"), score("b"), score("a")]
    assert [len(batch.items) for batch in engine.batches] == [2, 1]


@simulated
async def test_joined_request_computes_after_a_cancelled_claim() -> None:
    engine = FakeEngine(step_s=0.03)
    async with running(engine) as one:
        leaves = asyncio.create_task(one.run(request("red fox")))
        await until(lambda: bool(engine.batches))
        stay = [asyncio.create_task(one.run(request("red fox"))) for _ in range(5)]
        await asyncio.sleep(0.005)
        leaves.cancel()
        found = await asyncio.gather(*stay)
    assert all(values(computed) == [score("red fox")] for computed in found)
    assert len(engine.batches) == 2, "one of the five computes for all of them"


@simulated
async def test_deadline_of_one_is_not_the_deadline_of_all() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine) as one:
        hasty = asyncio.create_task(one.run(request("red fox", timeout_s=0.02)))
        await until(lambda: bool(engine.batches))
        assert values(await one.run(request("red fox"))) == [score("red fox")]
        with pytest.raises(DeadlineExceeded):
            await hasty


@simulated
async def test_joined_request_has_its_own_deadline() -> None:
    engine = FakeEngine(step_s=0.1)
    async with running(engine) as one:
        patient = asyncio.create_task(one.run(request("red fox")))
        await until(lambda: bool(engine.batches))
        with pytest.raises(DeadlineExceeded):
            await one.run(request("red fox", timeout_s=0.02))
        assert values(await patient) == [score("red fox")]


@simulated
async def test_failed_text_fails_for_all_joined_requests() -> None:
    engine = FakeEngine(step_s=0.01, fault=fails_on("bad", EngineError("poison")))
    async with running(engine) as one:
        found = await asyncio.gather(*(one.run(request("bad", "fox")) for _ in range(3)))
    assert [values(computed) for computed in found] == [[EngineError, score("fox")]] * 3


@simulated
async def test_interactive_request_does_not_wait_for_a_batch_one() -> None:
    engine = FakeEngine(step_s=0.02)
    async with running(engine) as one:
        slow = asyncio.create_task(one.run(request("red fox", priority=Priority.BATCH)))
        await until(lambda: bool(engine.batches))
        await one.run(request("red fox"))
        await slow
    assert len(engine.batches) == 2


@simulated
async def test_request_that_only_joins_is_admitted_too() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine, max_concurrent_requests=2) as one:
        both = [asyncio.create_task(one.run(request("red fox"))) for _ in range(2)]
        await until(lambda: bool(engine.batches))
        with pytest.raises(Overloaded, match="too many requests"):
            await one.run(request("red fox"))
        await asyncio.gather(*both)


# -- partial results ----------------------------------------------------------------------------------------------------


@simulated
async def test_partial_request_gets_values_computed_in_time() -> None:
    async with running(FakeEngine(step_s=0.05), max_batch_tokens=8, max_model_len=8) as one:
        await one.run(request("known"))
        texts = ["known", *(f"new {number} text" for number in range(6))]
        computed = await one.run(request(*texts, timeout_s=0.08, is_partial=True))
    kinds = [isinstance(found, Entry) for found in computed.found]
    assert kinds[:2] == [True, True]
    assert not all(kinds)
    assert all(isinstance(found, Entry | DeadlineExceeded) for found in computed.found)


async def test_partial_request_late_before_tokenizing_gets_cached_values() -> None:
    late = threading.Event()
    async with running() as one:
        await one.run(request("known"))

        def look() -> None:
            late.wait(0.05)

        slow = encode_with(look=look)
        computed = await one.run(request("new", "known", timeout_s=0.01, is_partial=True, encode=slow))
    assert values(computed) == [DeadlineExceeded, score("known")]


@simulated
async def test_partial_request_gets_joined_values_computed_in_time() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(engine) as one:
        other = asyncio.create_task(one.run(request("red fox")))
        await until(lambda: bool(engine.batches))
        computed = await one.run(request("red fox", timeout_s=0.01, is_partial=True))
        assert values(computed) == [DeadlineExceeded]
        assert values(await other) == [score("red fox")]


@simulated
async def test_deadline_errors_are_not_cached() -> None:
    async with running(FakeEngine(step_s=0.05), max_batch_tokens=8, max_model_len=8) as one:
        texts = [f"new {number} text" for number in range(4)]
        first = await one.run(request(*texts, timeout_s=0.08, is_partial=True))
        assert DeadlineExceeded in values(first)
        assert values(await one.run(request(*texts))) == [score(text) for text in texts]


# -- shared cache -------------------------------------------------------------------------------------------------------


class Shelf:
    """A store of the shared cache, in this process; optionally failing."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.is_sick = False

    async def read(self, cache_keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if self.is_sick:
            raise ConnectionError
        return [self.kept.get(name) for name in cache_keys]

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        self.kept.update(values)
        return 0

    async def close(self) -> None:
        pass


def sharing(one: ServedModel, shelf: Shelf) -> SharedCache:
    shared = SharedCache(shelf, timeout_s=1.0, metrics=one.metrics, location="shelf")
    object.__setattr__(one, "shared", shared)
    return shared


@simulated
async def test_shared_cache_entries_are_not_computed_again() -> None:
    shelf, engine = Shelf(), FakeEngine()
    async with running() as one:
        shared = sharing(one, shelf)
        await one.run(request("red fox", "cat"))
        await shared.close()
    async with running(engine) as other:
        sharing(other, shelf)
        found = await other.run(request("cat", "dog", "red fox"))
        assert values(found) == [score("cat"), score("dog"), score("red fox")]
        assert found.usage.num_cached == 2
        assert [len(batch.items) for batch in engine.batches] == [1]
        shelf.is_sick = True
        assert (await other.run(request("cat"))).usage.num_cached == 1, "what was read once is remembered here"


@simulated
async def test_failing_shared_cache_is_a_miss() -> None:
    shelf = Shelf()
    shelf.is_sick = True
    async with running() as one:
        sharing(one, shelf)
        assert values(await one.run(request("red fox"))) == [score("red fox")]


@simulated
async def test_other_model_finds_nothing_of_this_one_there() -> None:
    shelf, engine = Shelf(), OtherEngine()
    async with running() as one:
        shared = sharing(one, shelf)
        await one.run(request("red fox", keys=its_names(one, "red fox")))
        await shared.close()
    assert shelf.kept
    async with running(engine) as other:
        sharing(other, shelf)
        assert (await other.run(request("red fox", keys=its_names(other, "red fox")))).usage.num_cached == 0
