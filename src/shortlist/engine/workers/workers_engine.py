"""The engine of a model on several devices: every batch goes to the worker with the least work.

When one worker exits, the whole engine fails, and a restart starts all workers. Continuing with the others would need a second
life cycle for a rare case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from shortlist.engine.base import Engine, EngineInfo, Notify
from shortlist.engine.workers.balance import least_loaded, shares_of
from shortlist.engine.workers.messages import LoadEngine
from shortlist.engine.workers.remote import RemoteEngine
from shortlist.errors import BadSetting, EngineUnavailable
from shortlist.types import Operation, Prompt

MIN_BATCHES: Final = 2
"""Concurrent batches per worker: one running, one queued."""

LOOK_S: Final = 0.2


class WorkersEngine(Engine):
    """An `Engine` with one worker per device.

    Args:
        workers: At least one, loaded, all of the same model; closed with this engine.

    Raises:
        BadSetting: the workers' engines differ.
    """

    def __init__(self, workers: Sequence[RemoteEngine]) -> None:
        self._workers = tuple(workers)
        self._info = _joined([worker.info for worker in workers])

    @property
    def info(self) -> EngineInfo:
        """The workers' info; `device` lists all devices."""
        return self._info

    @property
    def replicas(self) -> Sequence[Engine]:
        """The workers' engines."""
        return self._workers

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Compute on the least loaded worker. See `Engine`."""
        return await self._pick().compute(operation, prompts)

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """Compute on the least loaded worker. See `Engine`."""
        return await self._pick().explain(prompts)

    async def wait_failed(self) -> None:
        """Raise when a worker exits; return on close. See `Engine`."""
        await asyncio.gather(*(worker.wait_failed() for worker in self._workers))

    def close(self) -> None:
        """End all workers. Idempotent."""
        _close(self._workers)

    def _pick(self) -> RemoteEngine:
        return self._workers[least_loaded([worker.num_tokens for worker in self._workers])]


def start(
    load: LoadEngine, devices: Sequence[str], *, notify: Notify = lambda _: None, is_wanted: Callable[[], bool] = lambda: True
) -> WorkersEngine:
    """Return an engine with one worker per device. The workers load concurrently.

    Args:
        load: Called by every worker with its device; must load identical bytes in all of them.
        devices: Device names; several CPU workers share the CPUs.
        notify: Reports loaded workers.
        is_wanted: Whether loading is still wanted; if not, it is aborted.

    Raises:
        BadSetting: the workers' engines differ.
        EngineUnavailable: a worker has exited, or loading was aborted.
        The errors of `load`, if they are Shortlist's.
    """
    workers: list[RemoteEngine] = []
    with ExitStack() as on_failure:
        on_failure.callback(_close, workers)
        for device, cores in zip(devices, shares_of(devices), strict=True):
            workers.append(RemoteEngine(load, device, cores=cores))
        loading = {worker.loaded for worker in workers}
        while loading:
            if not is_wanted():
                raise EngineUnavailable("The engine was closed while it loaded.")
            loaded, loading = wait(loading, LOOK_S, FIRST_COMPLETED)
            for left, each in zip(reversed(range(len(loaded))), loaded, strict=True):
                notify(f"loaded on {each.result().device}, {len(loading) + left} to go")
        engine = WorkersEngine(workers)
        on_failure.pop_all()
    return engine


def _close(workers: Sequence[RemoteEngine]) -> None:
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.close()


def _joined(infos: Sequence[EngineInfo]) -> EngineInfo:
    first = infos[0]
    for info in infos:
        if replace(info, device=first.device) != first:
            raise BadSetting(
                f"device (--device) names devices that do not compute the same: {first.device} in {first.dtype} as "
                f"{first.fingerprint}, {info.device} in {info.dtype} as {info.fingerprint}. Say --dtype, or name those that do."
            )
    return replace(
        first,
        device=",".join(info.device for info in infos),
        max_concurrent_batches=sum(max(info.max_concurrent_batches, MIN_BATCHES) for info in infos),
    )
