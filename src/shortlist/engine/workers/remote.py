"""An engine in a worker process that owns one device.

Callers queue messages for the writer thread, which sends them, so that a blocked worker does not block callers. The reader
thread starts the worker, receives its answers, and fails pending calls when the worker exits.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

import numpy as np

from shortlist.engine.base import Engine, EngineInfo
from shortlist.engine.workers.messages import (
    ComputeCall,
    Heartbeat,
    LoadEngine,
    RemoteCall,
    StartMessage,
    Values,
    WorkerAnswer,
    pack,
)
from shortlist.errors import EngineUnavailable, ServiceError
from shortlist.logs import as_here
from shortlist.types import RERANK, Operation, Prompt, num_batch_tokens

END_S: Final = 2.0
"""Seconds for a silent or killed worker to exit."""

SILENCE_S: Final = 10.0
"""Seconds without a heartbeat after which a worker counts as stopped, and is killed."""

T = TypeVar("T")

WORKER: Final = (sys.executable, "-P", "-m", "shortlist.engine.workers.worker")
"""-P: not from the current folder, where a file may shadow a module."""


@dataclass(frozen=True, slots=True, eq=False)
class _PendingCall:
    """A call without an answer yet; a cancelled call is still computed."""

    num_tokens: int
    result: Future[Any] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.result.set_running_or_notify_cancel()


class RemoteEngine(Engine):
    """An `Engine` in a worker process, which starts at once.

    Args:
        load: Called in the worker.
        device: Its argument.
        cores: CPUs that the worker may use; empty for all.
    """

    def __init__(self, load: LoadEngine, device: str, *, cores: Sequence[int] = ()) -> None:
        self.device = device
        self.loaded: Future[EngineInfo] = Future()
        """The engine's info once it is loaded, or the error of loading."""
        self._cores = cores
        self._lock = threading.Lock()
        self._gone: EngineUnavailable | None = None
        self._is_closed = False
        self._ended: Future[None] = Future()
        self._ended.set_running_or_notify_cancel()
        self._waiting: dict[int, _PendingCall] = {}
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        ours, theirs = socket.socketpair()
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._writer = ThreadPoolExecutor(1, f"to {device}")
        # The worker exits with the thread that starts it, which is the reader thread.
        start = StartMessage(load, device, as_here())
        self._reader = threading.Thread(target=self._read_messages, args=(theirs, start), name=f"from {device}", daemon=True)
        self._reader.start()

    @property
    def info(self) -> EngineInfo:
        """The engine's info; waits for it. Raises the error of loading."""
        return self.loaded.result()

    @property
    def num_tokens(self) -> int:
        """In-flight tokens."""
        with self._lock:
            return sum(each.num_tokens for each in self._waiting.values())

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """See `Engine`. Vectors are copies, so that a kept vector does not keep the whole batch."""
        values = await self._call(operation, prompts)
        return [vector.copy() for vector in values] if isinstance(values, np.ndarray) else values

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """See `Engine`."""
        return list(await self._call(RERANK, prompts, is_explained=True))

    async def wait_failed(self) -> None:
        """Raise when the worker exits; return on close. See `Engine`."""
        await asyncio.wrap_future(self._ended)

    def end(self) -> None:
        """Kill the worker; `close` waits for its exit."""
        with self._lock:
            self._is_closed = True
            self._gone = self._gone or EngineUnavailable("The engine was closed.")
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the worker, and fail pending calls. Idempotent."""
        self.end()
        self._reader.join(2 * END_S)

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Run a function in the worker. See `Engine`."""
        waiting = self._submit(0, lambda number: RemoteCall(number, function))
        try:
            result: T = waiting.result(timeout_s)
        except TimeoutError:
            raise EngineUnavailable(f"The engine's process on {self.device} does not answer.") from None
        return result

    async def _call(self, operation: Operation, prompts: Sequence[Prompt], *, is_explained: bool = False) -> Values:
        make_call = partial(ComputeCall, operation=operation, prompts=pack(prompts), is_explained=is_explained)
        values: Values = await asyncio.wrap_future(self._submit(num_batch_tokens(prompts), make_call))
        return values

    def _submit(self, num_tokens: int, make: Callable[[int], ComputeCall | RemoteCall]) -> Future[Any]:
        waiting = _PendingCall(num_tokens)
        with self._lock:
            if self._gone is not None:
                raise EngineUnavailable(self._gone.message)
            number = next(self._numbers)
            self._waiting[number] = waiting
            self._writer.submit(self._send, make(number))
        return waiting.result

    # -- on the writer thread --

    def _send(self, message: ComputeCall | RemoteCall) -> None:
        with suppress(OSError):  # the worker has exited; the reader thread fails pending calls
            self._connection.send(message)

    # -- on the reader thread --

    def _read_messages(self, theirs: socket.socket, start: StartMessage) -> None:
        try:
            with theirs:
                self._start(theirs.fileno())
            self._connection.send(start)
            while not self.loaded.done() or self._connection.poll(SILENCE_S):  # loading is silent, and may take minutes
                self._handle_message(self._connection.recv())
        except (EOFError, OSError):
            pass  # the worker has exited, or could not be started
        finally:
            self._fail_pending()

    def _start(self, descriptor: int) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*WORKER, str(descriptor), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
                start_new_session=True,  # or Ctrl-C would reach it
            )
            if self._cores:
                os.sched_setaffinity(self._process.pid, self._cores)

    def _handle_message(self, message: EngineInfo | WorkerAnswer | ServiceError | Heartbeat) -> None:
        match message:
            case Heartbeat():
                pass
            case EngineInfo():
                self.loaded.set_result(message)
            case ServiceError():
                self.loaded.set_exception(message)
            case WorkerAnswer():
                with self._lock:
                    waiting = self._waiting.pop(message.number)
                if isinstance(message.outcome, ServiceError):
                    waiting.result.set_exception(message.outcome)
                else:
                    waiting.result.set_result(message.outcome)

    def _fail_pending(self) -> None:
        """Ensure that the worker has exited, and fail pending calls."""
        reason = EngineUnavailable(f"The engine's process on {self.device} has ended ({self._how_ended()}).")
        with self._lock:
            self._gone = reason = self._gone or reason
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for each in waiting:
            each.result.set_exception(EngineUnavailable(reason.message))
        if not self.loaded.done():
            self.loaded.set_exception(reason)
        if self._is_closed:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(reason)
        self._writer.shutdown(wait=True)
        self._connection.close()

    def _how_ended(self) -> str:
        if self._process is None:
            return "it was not started"
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            return "it did not answer any more"
        return f"signal {-code}" if code < 0 else f"exit code {code}"
