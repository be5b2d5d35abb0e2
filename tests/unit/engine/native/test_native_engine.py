"""The device thread: one batch at a time, off the event loop, with an error for every failure."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from shortlist.engine.base import Engine, EngineInfo, ScoreScale
from shortlist.engine.native.native_engine import NativeEngine, _BatchJob
from shortlist.errors import BadSetting, EngineError, EngineOutOfMemory, EngineUnavailable, ModelRefused
from shortlist.types import EMBED, RERANK, Batch, Operation, Prompt, TokenPrompt, Value
from tests.support.engines import compute
from tests.support.fixtures import ModelFactory
from tests.support.native import batch_of, prefix_of, prompt_of

INFO = EngineInfo(fingerprint="f", operations=frozenset({RERANK}), max_model_len=100)
BATCH = batch_of([prompt_of(prefix_of(3), 4)])

Act = Callable[[Sequence[Prompt]], Sequence[Value]]


class ScriptedRunner:
    """Runs the next act for every batch; the last is repeated."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.threads: set[int] = set()
        self.num_runs = 0

    def begin(self, operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        self.threads.add(threading.get_ident())
        self.num_runs += 1
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        values = list(act(prompts))
        return lambda: values

    def explain(self, prompts: Sequence[Prompt]) -> list[Mapping[str, float]]:
        return [{"yes": 1.0, "no": 0.0} for _ in self.begin(RERANK, prompts)()]


def fine(prompts: Sequence[Prompt]) -> list[Value]:
    return [1.0] * len(prompts)


def failing(error: BaseException) -> Act:
    def act(prompts: Sequence[Prompt]) -> list[Value]:
        raise error

    return act


class Gate:
    """An act that waits until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, prompts: Sequence[Prompt]) -> list[Value]:
        self.entered.set()
        assert self.opened.wait(10)
        return fine(prompts)


@pytest.fixture
def start() -> Iterator[Callable[..., NativeEngine]]:
    engines: list[NativeEngine] = []

    def make(*acts: Act) -> NativeEngine:
        engines.append(NativeEngine(ScriptedRunner(*acts), INFO))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def runner_of(engine: NativeEngine) -> ScriptedRunner:
    assert isinstance(engine._runner, ScriptedRunner)
    return engine._runner


async def settled(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


# -- a loaded model --


async def test_loaded_reranker_keeps_the_contract(make_model: ModelFactory) -> None:
    engine: Engine = NativeEngine.load(make_model(), operation=RERANK, max_model_len=512, device="cpu", dtype="float32")
    found = await compute(engine, batch_of([prompt_of(prefix_of(3), 4), prompt_of(prefix_of(0), 1)]))
    assert all(type(score) is float for score in found)
    assert len(found) == 2
    info = engine.info
    assert (info.operations, info.max_model_len, info.dimensions) == (frozenset({RERANK}), 512, None)
    assert (info.score_scale, info.device, info.dtype) == (ScoreScale.LOG_ODDS, "cpu", "float32")
    engine.close()


async def test_loaded_embedder_keeps_the_contract(make_model: ModelFactory) -> None:
    engine = NativeEngine.load(make_model(kind="embedder"), operation=EMBED, max_model_len=512, device="cpu")
    [vector] = await compute(engine, batch_of([prompt_of(prefix_of(0), 4)], EMBED))
    assert vector.shape == (64,)
    assert vector.dtype == np.dtype("float32")
    assert (engine.info.operations, engine.info.dimensions) == (frozenset({EMBED}), 64)
    engine.close()


def test_fingerprint_names_weights_dtype_and_version(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(dtype: str = "float32", digest: str | None = "d1") -> str:
        engine = NativeEngine.load(make_model(), operation=RERANK, max_model_len=512, device="cpu", dtype=dtype, digest=digest)
        engine.close()
        return engine.info.fingerprint

    found = [fingerprint(), fingerprint(dtype="bfloat16"), fingerprint(digest="d2")]
    assert fingerprint() == found[0]
    monkeypatch.setattr("shortlist.engine.native.native_engine.ENGINE_VERSION", 99)
    assert len({*found, fingerprint()}) == 4
    assert fingerprint(digest=None) != fingerprint(digest=None), "unverified weights get a unique fingerprint"


def never() -> Sequence[TokenPrompt]:
    raise AssertionError("samples were requested")


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float32"])
def test_cpus_never_use_float16(make_model: ModelFactory, dtype: str) -> None:
    engine = NativeEngine.load(
        make_model(), operation=RERANK, max_model_len=512, device="cpu", dtype=dtype, samples=never, digest="d"
    )
    engine.close()
    assert engine.info.dtype in {"bfloat16", "float32"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("dtype", "expected"), [("auto", "float16"), ("bfloat16", "bfloat16")])
def test_gpus_use_float16_if_the_samples_fit(make_model: ModelFactory, dtype: str, expected: str) -> None:
    samples = partial(tuple[TokenPrompt], [prompt_of(prefix_of(3), 4)])
    engine = NativeEngine.load(
        make_model(), operation=RERANK, max_model_len=512, device="cuda", dtype=dtype, samples=samples, digest="d"
    )
    engine.close()
    assert engine.info.dtype == expected
    assert f"-{expected}-d" in engine.info.fingerprint


def test_limit_beyond_the_models_positions_is_refused(make_model: ModelFactory) -> None:
    with pytest.raises(BadSetting, match="max_model_len is 4097"):
        NativeEngine.load(make_model(), operation=RERANK, max_model_len=4097, device="cpu")


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ModelRefused):
        NativeEngine.load(tmp_path, operation=RERANK, max_model_len=4, device="cpu")
    assert threading.active_count() == before


# -- running --


async def test_batches_run_on_one_thread_off_the_event_loop(start: Callable[..., NativeEngine]) -> None:
    engine = start(fine)
    runner = runner_of(engine)
    await asyncio.gather(*(compute(engine, BATCH) for _ in range(20)))
    assert len(runner.threads) == 1
    assert threading.get_ident() not in runner.threads


async def test_event_loop_is_free_while_a_batch_runs(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    running = asyncio.ensure_future(compute(start(gate), BATCH))
    await settled(gate.entered)
    assert not running.done()
    gate.opened.set()
    assert await running == [1.0]


async def test_other_task_is_refused(start: Callable[..., NativeEngine]) -> None:
    engine = start(fine)
    with pytest.raises(EngineError):
        await compute(engine, batch_of([prompt_of(prefix_of(0), 1)], EMBED))
    with pytest.raises(EngineError):
        await compute(engine, batch_of([prompt_of(prefix_of(0), 1)], EMBED))


async def test_batch_cancelled_while_waiting_is_never_run(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    engine = start(gate, fine)
    runner = runner_of(engine)
    first = asyncio.ensure_future(compute(engine, BATCH))
    await settled(gate.entered)
    waiting = asyncio.ensure_future(compute(engine, BATCH))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.opened.set()
    assert await first == [1.0]
    assert await compute(engine, BATCH) == [1.0]
    assert runner.num_runs == 2


async def test_batch_cancelled_while_running_leaves_the_engine_healthy(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    engine = start(gate, fine)
    running = asyncio.ensure_future(compute(engine, BATCH))
    await settled(gate.entered)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.opened.set()
    assert await compute(engine, BATCH) == [1.0]


# -- overlapping batches --


class Overlapping:
    """A runner that starts batches at once and ends them by `ends`."""

    def __init__(self, *ends: Callable[[], list[Value]]) -> None:
        self.ends = list(ends)
        self.events: list[str] = []
        self.is_started = [threading.Event() for _ in ends]
        self.hold = threading.Event()
        """While cleared, the first batch does not start, so that others queue up."""
        self.hold.set()

    def begin(self, operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        number = len([event for event in self.events if event.startswith("begin")])
        self.events.append(f"begin {number}")
        self.is_started[number].set()
        assert self.hold.wait(10)

        def end() -> list[Value]:
            try:
                return self.ends[number]()
            finally:
                self.events.append(f"end {number}")

        return end

    def explain(self, prompts: Sequence[Prompt]) -> list[Mapping[str, float]]:
        raise NotImplementedError


def ending(value: float, after: threading.Event | None = None) -> Callable[[], list[Value]]:
    def end() -> list[Value]:
        assert after is None or after.wait(10)
        return [value]

    return end


def raising(error: BaseException) -> Callable[[], list[Value]]:
    def end() -> list[Value]:
        raise error

    return end


AHEAD = dataclasses.replace(INFO, max_concurrent_batches=3)


def queued(engine: NativeEngine, count: int) -> list[asyncio.Future[Sequence[float]]]:
    """Start calls that are all queued before the thread takes the first."""
    return [asyncio.ensure_future(compute(engine, BATCH)) for _ in range(count)]


async def test_next_batch_starts_before_the_previous_one_ends() -> None:
    done = threading.Event()
    runner = Overlapping(ending(1.0, done), ending(2.0), ending(3.0))
    runner.hold.clear()
    engine = NativeEngine(runner, AHEAD)
    calls = queued(engine, 3)
    await settled(runner.is_started[0])
    runner.hold.set()
    await settled(runner.is_started[1])
    assert runner.events == ["begin 0", "begin 1"]
    assert not calls[0].done()
    done.set()
    assert await asyncio.gather(*calls) == [[1.0], [2.0], [3.0]]
    assert runner.events == ["begin 0", "begin 1", "end 0", "begin 2", "end 1", "end 2"]
    engine.close()


async def test_last_batch_is_finished_at_once() -> None:
    runner = Overlapping(ending(1.0), ending(2.0))
    engine = NativeEngine(runner, AHEAD)
    assert [await compute(engine, BATCH), await compute(engine, BATCH)] == [[1.0], [2.0]]
    assert runner.events == ["begin 0", "end 0", "begin 1", "end 1"]
    engine.close()


async def test_engine_without_overlap_starts_one_batch_at_a_time() -> None:
    runner = Overlapping(ending(1.0), ending(2.0))
    runner.hold.clear()
    engine = NativeEngine(runner, INFO)
    calls = queued(engine, 2)
    await settled(runner.is_started[0])
    runner.hold.set()
    await asyncio.gather(*calls)
    assert runner.events == ["begin 0", "end 0", "begin 1", "end 1"]
    engine.close()


async def test_batch_that_fails_after_its_start_fails_alone() -> None:
    runner = Overlapping(raising(ValueError("secret")), ending(2.0))
    engine = NativeEngine(runner, AHEAD)
    found = await asyncio.gather(*queued(engine, 2), return_exceptions=True)
    assert [type(found[0]), found[1]] == [EngineError, [2.0]]
    assert engine.is_alive
    engine.close()


async def test_lost_device_fails_started_batches() -> None:
    runner = Overlapping(raising(torch.AcceleratorError("lost")), ending(2.0), ending(3.0))
    runner.hold.clear()
    engine = NativeEngine(runner, AHEAD)
    calls = queued(engine, 3)
    await settled(runner.is_started[0])
    runner.hold.set()
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert [type(one) for one in found] == [EngineUnavailable] * 3
    assert not engine.is_alive
    engine.close()


async def test_close_waits_for_started_batches() -> None:
    done = threading.Event()
    runner = Overlapping(ending(1.0, done), ending(2.0))
    runner.hold.clear()
    engine = NativeEngine(runner, AHEAD)
    calls = queued(engine, 2)
    await settled(runner.is_started[0])
    runner.hold.set()
    await settled(runner.is_started[1])
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    await asyncio.sleep(0.01)
    done.set()
    assert await asyncio.wait_for(asyncio.gather(*calls), 5) == [[1.0], [2.0]]
    await closing


# -- a batch that fails alone --


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
        ),
    ],
)
async def test_out_of_memory_fails_the_batch_only(start: Callable[..., NativeEngine], error: Exception) -> None:
    engine = start(failing(error), fine)
    with pytest.raises(EngineOutOfMemory, match="7 tokens"):
        await compute(engine, BATCH)
    assert engine.is_alive
    assert await compute(engine, BATCH) == [1.0]


async def test_tensors_of_an_out_of_memory_batch_are_freed_before_its_error(start: Callable[..., NativeEngine]) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def exhaust(batch: Batch) -> list[Value]:
        big = torch.zeros(1000)
        held.append(weakref.ref(big))
        raise torch.OutOfMemoryError

    engine = start(exhaust)
    with pytest.raises(EngineOutOfMemory) as caught:
        await compute(engine, BATCH)
    assert held[0]() is None
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


async def test_unexpected_error_fails_the_batch_only_and_is_logged(
    start: Callable[..., NativeEngine], caplog: pytest.LogCaptureFixture
) -> None:
    engine = start(failing(ValueError("shape of secret")), fine)
    with pytest.raises(EngineError, match="ValueError") as caught:
        await compute(engine, BATCH)
    assert type(caught.value) is EngineError
    assert "secret" not in caught.value.message
    assert "ValueError" in caplog.text
    assert await compute(engine, BATCH) == [1.0]


async def test_engine_error_is_passed_through(start: Callable[..., NativeEngine]) -> None:
    engine = start(failing(EngineError("too long")), fine)
    with pytest.raises(EngineError, match="too long"):
        await compute(engine, BATCH)
    assert await compute(engine, BATCH) == [1.0]


# -- an engine that has failed --


@pytest.mark.parametrize("error", [torch.AcceleratorError("CUDA error: device-side assert triggered"), SystemExit(3)])
async def test_lost_device_is_critical_and_fails_every_call(
    start: Callable[..., NativeEngine], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    gate = Gate()

    def lose(prompts: Sequence[Prompt]) -> list[Value]:
        gate(prompts)
        raise error

    engine = start(lose)
    calls = [asyncio.ensure_future(compute(engine, BATCH)) for _ in range(5)]
    await settled(gate.entered)
    gate.opened.set()
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert [type(one) for one in found] == [EngineUnavailable] * 5
    assert not engine.is_alive
    with pytest.raises(EngineUnavailable):
        await compute(engine, BATCH)
    engine.close()
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)


def test_engine_is_not_alive_before_the_first_call_fails(start: Callable[..., NativeEngine]) -> None:
    engine = start(failing(torch.AcceleratorError("lost")))
    states: list[bool] = []
    result: Future[list[Value]] = Future()
    result.add_done_callback(lambda _: states.append(engine.is_alive))
    engine._jobs.put(_BatchJob(BATCH.prompts, lambda runner: runner.begin(RERANK, BATCH.prompts), result))
    assert isinstance(result.exception(10), EngineUnavailable)
    engine.close()
    assert states == [False]


async def test_lost_device_frees_the_model(start: Callable[..., NativeEngine]) -> None:
    engine = start(failing(torch.AcceleratorError("lost")))
    model = weakref.ref(runner_of(engine))
    with pytest.raises(EngineUnavailable):
        await compute(engine, BATCH)
    engine.close()
    gc.collect()
    assert model() is None


# -- closing --


async def test_close_waits_for_the_running_batch_and_fails_queued_ones(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    engine = start(gate, fine)
    runner = runner_of(engine)
    first, second = (asyncio.ensure_future(compute(engine, BATCH)) for _ in range(2))
    await settled(gate.entered)
    closing = asyncio.ensure_future(asyncio.to_thread(engine.close))
    with pytest.raises(EngineUnavailable):
        await asyncio.wait_for(second, 5)
    assert not closing.done()
    gate.opened.set()
    assert await first == [1.0]
    await asyncio.wait_for(closing, 5)
    assert runner.num_runs == 1


async def test_closed_engine_refuses_work_and_frees_the_model(start: Callable[..., NativeEngine]) -> None:
    engine = start(fine)
    model = weakref.ref(runner_of(engine))
    engine.close()
    assert not engine.is_alive
    with pytest.raises(EngineUnavailable, match="closed"):
        await compute(engine, BATCH)
    gc.collect()
    assert model() is None


def test_closing_twice_is_harmless(start: Callable[..., NativeEngine]) -> None:
    engine = start(fine)
    engine.close()
    engine.close()


async def test_closing_from_many_threads_at_once_is_harmless(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    engine = start(gate)
    running = asyncio.ensure_future(compute(engine, BATCH))
    await settled(gate.entered)
    closers = [asyncio.ensure_future(asyncio.to_thread(engine.close)) for _ in range(4)]
    gate.opened.set()
    await asyncio.wait_for(asyncio.gather(*closers), 5)
    assert await running == [1.0]


async def test_no_call_is_ever_left_waiting(start: Callable[..., NativeEngine]) -> None:
    """Calls race a close; each of them ends with a value or an error."""
    for attempt in range(8):
        engine = start(fine)
        calls = [asyncio.ensure_future(compute(engine, BATCH)) for _ in range(30)]
        await asyncio.sleep(0 if attempt % 2 else 0.0005)
        closing = asyncio.to_thread(engine.close)
        found = (await asyncio.wait_for(asyncio.gather(closing, *calls, return_exceptions=True), 5))[1:]
        assert all(one == [1.0] or isinstance(one, EngineUnavailable) for one in found)


async def test_waiting_does_not_block_the_event_loop(start: Callable[..., NativeEngine]) -> None:
    gate = Gate()
    running = asyncio.ensure_future(compute(start(gate), BATCH))
    await settled(gate.entered)
    spent = time.process_time()
    await asyncio.sleep(0.2)
    assert time.process_time() - spent < 0.1
    gate.opened.set()
    await running
