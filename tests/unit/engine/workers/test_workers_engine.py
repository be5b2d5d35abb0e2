"""Batches are shared out among processes that answer, fail and end each for itself, and none is ever left behind.

The engines in them are fakes, which load in no time; `tests/contract` and `tests/faults` have real ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from shortlist.engine import workers
from shortlist.engine.workers import WorkersEngine, remote
from shortlist.engine.workers.messages import LoadEngine
from shortlist.engine.workers.remote import WORKER, RemoteEngine
from shortlist.errors import BadSetting, EngineError, EngineUnavailable, ModelRefused, ServiceError
from shortlist.types import EMBED, Batch
from tests.support import workers as loads
from tests.support.engines import compute, explain
from tests.support.fake_engine import log_odds
from tests.support.process import wait_until
from tests.support.workers import UNCOMPUTABLE, are_there, batch_of, pids

TWO = ["cpu:0", "cpu:1"]
PATIENCE_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def _visible() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        loads.visible(patch)
        yield


@pytest.fixture(scope="module")
def engine() -> Iterator[WorkersEngine]:
    """Two workers without faults."""
    engine = workers.start(partial(loads.fake, token_s=0.001, is_picky=True), TWO)
    yield engine
    engine.close()


def of(engine: WorkersEngine) -> list[int]:
    return [worker._process.pid for worker in engine._workers if worker._process is not None]


@pytest.fixture
def new() -> Callable[[], list[int]]:
    """Tells which workers there are that were not there when the test began."""
    before = set(pids())
    return lambda: [pid for pid in pids() if pid not in before]


def expected(batch: Batch) -> list[float]:
    return [log_odds(item.prompt) for item in batch.items]


# -- as an engine -------------------------------------------------------------------------------------------------------


async def test_info_is_that_of_every_worker_and_names_all_devices(engine: WorkersEngine) -> None:
    one, other = engine.replicas
    assert (one.info.device, other.info.device, engine.info.device) == ("cpu:0", "cpu:1", "cpu:0,cpu:1")
    assert one.info.fingerprint == other.info.fingerprint == engine.info.fingerprint
    assert engine.info.max_concurrent_batches == 4, "each has its next batch waiting"


async def test_every_call_gets_its_own_answer(engine: WorkersEngine) -> None:
    batches = [batch_of(*range(1, number + 2)) for number in range(20)]
    assert await asyncio.gather(*(compute(engine, batch) for batch in batches)) == [expected(batch) for batch in batches]
    explained = await explain(engine, batches[3])
    assert [each["yes"] - each["no"] for each in explained] == pytest.approx(expected(batches[3]))


async def test_vectors_are_each_in_memory_of_their_own(engine: WorkersEngine) -> None:
    vectors = await compute(engine, batch_of(3, 4, task=EMBED))
    assert [vector.base for vector in vectors] == [None, None]


async def test_batch_that_fails_fails_alone_and_with_its_own_words(engine: WorkersEngine) -> None:
    lengths = [UNCOMPUTABLE - 2, UNCOMPUTABLE - 1, UNCOMPUTABLE, UNCOMPUTABLE + 1]
    found = await asyncio.gather(*(compute(engine, batch_of(length)) for length in lengths), return_exceptions=True)
    failure = found.pop(2)
    assert found == [expected(batch_of(length)) for length in lengths if length != UNCOMPUTABLE]
    assert type(failure) is EngineError
    assert str(failure) == "an unlucky number of tokens"


async def test_both_work_at_once_and_the_one_with_less_to_do_gets_the_next(new: Callable[[], list[int]]) -> None:
    engine = workers.start(loads.telltale, TWO)
    try:
        found = await asyncio.gather(*(compute(engine, batch_of(length)) for length in (200, 20, 20, 20)))
        [long], *short = found
        assert {long, *(pid for [pid] in short)} == set(new())
        assert long not in {pid for [pid] in short}
    finally:
        engine.close()


async def test_cancelled_call_counts_as_load_until_it_is_computed(engine: WorkersEngine) -> None:
    first, second = engine._workers
    os.kill(of(engine)[0], signal.SIGSTOP)
    try:
        call = asyncio.ensure_future(compute(engine, batch_of(300)))
        await asyncio.sleep(0)
        call.cancel()
        assert await compute(engine, batch_of(1)) == expected(batch_of(1))
        assert (first.num_tokens, second.num_tokens) == (300, 0)
    finally:
        os.kill(of(engine)[0], signal.SIGCONT)
    await asyncio.to_thread(wait_until, lambda: first.num_tokens == 0)


async def test_workers_ignore_signals_to_the_process_group(engine: WorkersEngine) -> None:
    for pid in of(engine):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    assert await compute(engine, batch_of(5)) == expected(batch_of(5))
    assert await compute(engine, batch_of(5)) == expected(batch_of(5))


async def test_function_is_called_where_the_engine_is(engine: WorkersEngine) -> None:
    found = {part.run_in_engine(os.getpid, timeout_s=PATIENCE_S) for part in engine.replicas}
    assert found == set(of(engine))


# -- loading ------------------------------------------------------------------------------------------------------------


def test_progress_is_reported_and_closing_twice_leaves_nothing(new: Callable[[], list[int]]) -> None:
    said: list[str] = []
    engine = workers.start(loads.fake, ["cpu", "cpu"], notify=said.append)
    assert said == ["loaded on cpu, 1 to go", "loaded on cpu, 0 to go"]
    shares = [os.sched_getaffinity(pid) for pid in of(engine)]
    assert len(os.sched_getaffinity(0)) < 2 or not set.intersection(*shares), "they share the processors"
    engine.close()
    engine.close()
    assert new() == []


@pytest.mark.parametrize(
    ("load", "kind", "words"),
    [
        (loads.refused_by_one, ModelRefused, "^model.safetensors is not what it should be$"),
        (loads.failing, EngineUnavailable, r"could not be loaded on cpu:\d \(RuntimeError\)"),
        (loads.ending, EngineUnavailable, r"process on cpu:\d has ended \(exit code 3\)"),
        (loads.unlike, BadSetting, "cpu:0 in none as of cpu:0, cpu:1 in none as of cpu:1"),
    ],
)
def test_one_that_cannot_be_had_refuses_all_and_leaves_none(
    new: Callable[[], list[int]], load: LoadEngine, kind: type[ServiceError], words: str
) -> None:
    with pytest.raises(kind, match=words) as refusal:
        workers.start(load, TWO)
    assert "secret" not in str(refusal.value)
    assert new() == []


def test_loading_is_aborted_on_request(new: Callable[[], list[int]]) -> None:
    with pytest.raises(EngineUnavailable, match="closed while it loaded"):
        workers.start(loads.endless, TWO, is_wanted=lambda: len(new()) < 2)
    assert new() == []


def test_closing_does_not_wait_for_one_that_loads(new: Callable[[], list[int]]) -> None:
    engine = RemoteEngine(loads.endless, "cpu")
    wait_until(lambda: len(new()) == 1)
    engine.close()
    assert new() == []
    with pytest.raises(EngineUnavailable, match="closed"):
        _ = engine.info


# -- a worker that ends -------------------------------------------------------------------------------------------------


@pytest.fixture
def start(new: Callable[[], list[int]]) -> Iterator[Callable[..., WorkersEngine]]:
    """Start workers that come to harm; whatever is left of them is ended."""
    started: list[WorkersEngine] = []

    def begin(load: LoadEngine) -> WorkersEngine:
        started.append(workers.start(load, TWO))
        return started[-1]

    yield begin
    for each in started:
        each.close()
    assert new() == []


async def test_worker_killed_under_load_fails_all_calls(start: Callable[..., WorkersEngine]) -> None:
    engine = start(partial(loads.fake, token_s=0.005))
    wait_failed = asyncio.ensure_future(engine.wait_failed())
    batches = [batch_of(10 * number) for number in range(1, 41)]
    calls = [asyncio.ensure_future(compute(engine, batch)) for batch in batches]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    os.kill(of(engine)[0], signal.SIGKILL)
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_S)
    for batch, outcome in zip(batches, found, strict=True):
        assert isinstance(outcome, EngineUnavailable) or outcome == expected(batch)
    assert any(isinstance(outcome, EngineUnavailable) for outcome in found)
    with pytest.raises(EngineUnavailable, match=r"process on cpu:\d has ended \(signal 9\)"):
        await asyncio.wait_for(wait_failed, PATIENCE_S)


async def test_stopped_worker_is_noticed_and_killed(
    start: Callable[..., WorkersEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SILENCE_S", 3.0)
    engine = start(loads.fake)
    wait_failed = asyncio.ensure_future(engine.wait_failed())
    os.kill(of(engine)[0], signal.SIGSTOP)
    with pytest.raises(EngineUnavailable, match="did not answer any more"):
        await asyncio.wait_for(wait_failed, PATIENCE_S)


async def test_lost_device_takes_its_worker_with_it(start: Callable[..., WorkersEngine]) -> None:
    engine = start(loads.lost)
    wait_failed = asyncio.ensure_future(engine.wait_failed())
    with pytest.raises(EngineUnavailable, match="the device is lost"):
        await compute(engine, batch_of(1))
    with pytest.raises(EngineUnavailable, match="exit code 1"):
        await asyncio.wait_for(wait_failed, PATIENCE_S)


async def test_one_that_does_not_read_holds_up_neither_others_nor_closing(start: Callable[..., WorkersEngine]) -> None:
    engine = start(loads.fake)
    stuck, _ = engine._workers
    os.kill(of(engine)[0], signal.SIGSTOP)
    with pytest.raises(EngineUnavailable, match="does not answer"):
        stuck.run_in_engine(os.getpid, timeout_s=0.01)
    waits = asyncio.ensure_future(compute(stuck, batch_of(2_000_000)))  # more than the socket holds
    await asyncio.sleep(0)
    assert await compute(engine, batch_of(7)) == expected(batch_of(7))
    engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await asyncio.wait_for(waits, PATIENCE_S)


async def test_closing_fails_pending_watching_and_new_calls(start: Callable[..., WorkersEngine]) -> None:
    engine = start(partial(loads.fake, token_s=1.0))
    wait_failed = asyncio.ensure_future(engine.wait_failed())
    waits = asyncio.ensure_future(compute(engine, batch_of(600)))
    await asyncio.sleep(0)
    await asyncio.to_thread(engine.close)
    for call in (waits, compute(engine, batch_of(1))):
        with pytest.raises(EngineUnavailable, match="closed"):
            await asyncio.wait_for(call, PATIENCE_S)
    await asyncio.wait_for(wait_failed, PATIENCE_S)


OWNER = """
    import sys
    from functools import partial
    from shortlist.engine import workers
    from shortlist.engine.workers.remote import RemoteEngine
    from tests.support import workers as loads

    engine = workers.start(loads.fake, ["cpu:0", "cpu:1"])
    loading = RemoteEngine(loads.endless, "cpu:2")
    print("started", flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_their_owner_is_killed() -> None:
    """Neither of those that serve, nor of one that still loads."""
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    assert {owner.stdout.readline(), owner.stdout.readline()} == {"started\n", "loading\n"}
    left = pids(owner.pid)
    assert len(left) == 3
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    wait_until(lambda: not are_there(left))


def test_worker_whose_owner_was_gone_before_it_could_look_ends_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stranger = os.getppid()
        command = [*WORKER, str(theirs.fileno()), str(stranger)]
        assert subprocess.run(command, pass_fds=[theirs.fileno()], timeout=PATIENCE_S, check=False).returncode == 0
