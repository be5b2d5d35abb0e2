"""A worker process: `python -m shortlist.engine.workers.worker DESCRIPTOR OWNER`, with a socket to its owner.

It loads an engine and computes batches until the socket closes; then it exits at once. A failed engine ends its worker.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from shortlist import gc_pause
from shortlist.engine.base import Engine
from shortlist.engine.workers.messages import (
    HEARTBEAT_S,
    ComputeCall,
    Heartbeat,
    RemoteCall,
    StartMessage,
    Values,
    WorkerAnswer,
    pack_values,
    unpack,
)
from shortlist.errors import EngineError, EngineUnavailable, ServiceError

logger = logging.getLogger(__name__)

LEFT_TO_THE_OWNER: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals to the whole process group end the server, not its workers: running requests still need them."""

_PR_SET_PDEATHSIG: Final = 1
"""Source: Linux, include/uapi/linux/prctl.h."""


def main(descriptor: int, owner_pid: int) -> None:
    """Load the engine and serve the owner's calls until the socket closes."""
    _end_with(owner_pid)
    gc_pause.pause()
    for number in LEFT_TO_THE_OWNER:
        signal.signal(number, signal.SIG_IGN)
    owner: Connection[Any, Any] = Connection(descriptor)
    with suppress(EOFError, OSError):  # the owner has exited
        engine = _load(owner)
        if engine is not None:
            asyncio.run(_serve(engine, owner))
    _end(0)


def _end_with(owner_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner_pid:  # the owner exited before the call
        _end(0)


def _end(code: int) -> None:
    """Exit without waiting for threads, which may be blocked in a device."""
    os._exit(code)


def _load(owner: Connection[Any, Any]) -> Engine | None:
    """Load the engine and send its info; on an error, send the error and return None."""
    start: StartMessage = owner.recv()
    start.configure_logging()
    try:
        engine = start.load(device=start.device)
    except ServiceError as error:
        owner.send(error)
        return None
    except Exception as error:
        logger.exception("the model could not be loaded on %s", start.device)
        owner.send(EngineUnavailable(f"The model could not be loaded on {start.device} ({type(error).__name__})."))
        return None
    owner.send(engine.info)
    gc_pause.resume_and_freeze()
    return engine


async def _serve(engine: Engine, owner: Connection[Any, Any]) -> None:
    """Answer calls concurrently."""
    async with asyncio.TaskGroup() as calls:
        calls.create_task(_beat(owner))
        while True:
            asked = await asyncio.to_thread(owner.recv)
            calls.create_task(_answer(engine, asked, owner))


async def _beat(owner: Connection[Any, Any]) -> None:
    while True:
        owner.send(Heartbeat())
        await asyncio.sleep(HEARTBEAT_S)


async def _answer(engine: Engine, asked: ComputeCall | RemoteCall, owner: Connection[Any, Any]) -> None:
    outcome = await _outcome(engine, asked)
    owner.send(WorkerAnswer(asked.number, outcome))
    if isinstance(outcome, EngineUnavailable):
        _end(1)


async def _outcome(engine: Engine, asked: ComputeCall | RemoteCall) -> Any | ServiceError:
    try:
        return await (asyncio.to_thread(asked.function) if isinstance(asked, RemoteCall) else _computed(engine, asked))
    except ServiceError as error:
        return error
    except Exception as error:
        logger.exception("a worker could not do what it was asked")
        return EngineError(f"The engine failed: {type(error).__name__}.")


async def _computed(engine: Engine, call: ComputeCall) -> Values:
    prompts = unpack(call.prompts)
    if call.is_explained:
        return list(await engine.explain(prompts))
    return pack_values(await engine.compute(call.operation, prompts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
