"""vLLM as an `Engine`: splits batches into calls to the servers of one model, and merges the results.

It detects the exit of a managed process. Connections run on their own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from shortlist.engine.base import Engine, EngineInfo
from shortlist.engine.vllm.calls import cut
from shortlist.engine.vllm.loop import LoopThread
from shortlist.engine.vllm.upstream_pool import UpstreamPool
from shortlist.errors import EngineUnavailable, UpstreamError
from shortlist.types import Operation, Prompt, TokenPrompt, Value

LOOK_S: Final = 0.1
"""Poll period of the managed process in seconds."""

DEATH_S: Final = 0.5
"""Seconds to wait after a failed call: an exit may become visible only after the failure."""

SILENCE_TIMEOUT_S: Final = 30.0
"""Seconds without a healthy answer after which the managed process counts as failed."""

GONE: Final = "vLLM has ended."
SILENT: Final = "vLLM does not answer any more."


class ManagedProcess(Protocol):
    """The managed process of the only server in a pool."""

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        ...

    def close(self) -> None:
        """End the process and its children. Idempotent."""
        ...


class VllmEngine(Engine):
    """An `Engine` with one or several vLLM servers.

    Args:
        pool: Computes calls; made on `loop`.
        info: Properties of the servers.
        loop: Runs the pool; closed with the engine.
        child: The managed process of the pool's one server, if there is one.
    """

    def __init__(self, pool: UpstreamPool, info: EngineInfo, loop: LoopThread, child: ManagedProcess | None = None) -> None:
        self._pool = pool
        self._info = info
        self._loop = loop
        self._child = child
        self._is_closed = False
        loop.start(pool.wait_failed())

    @property
    def info(self) -> EngineInfo:
        """The engine's properties."""
        return self._info

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Return log-odds or unit vectors. See `Engine`."""
        self._require(operation)
        token_prompts = [prompt for prompt in prompts if isinstance(prompt, TokenPrompt)]
        assert len(token_prompts) == len(prompts), "Requests to vLLM contain token ids. This is a bug."
        try:
            return await asyncio.wrap_future(self._loop.start(self._calls(token_prompts)))
        except UpstreamError as error:
            if error.is_retryable:
                await self._survived()
            raise

    async def wait_failed(self) -> None:
        """Raise once the managed process has exited, or has been unhealthy for too long.

        Raises:
            EngineUnavailable: it has failed.
        """
        unwell_s = 0.0
        while not self._is_closed:
            if self._child is not None and not self._child.is_running:
                raise EngineUnavailable(GONE)
            is_well = self._child is None or any(server.is_well for server in self._pool.servers)
            unwell_s = 0.0 if is_well else unwell_s + LOOK_S
            if unwell_s > SILENCE_TIMEOUT_S:
                raise EngineUnavailable(SILENT)
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Close the connections, and end a managed process. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.run(self._pool.close())
            self._loop.close()
        if self._child is not None:
            self._child.close()

    async def _calls(self, prompts: Sequence[TokenPrompt]) -> list[Value]:
        """Compute all calls concurrently; if one fails, cancel the others."""
        calls = [asyncio.ensure_future(self._pool.compute(call)) for call in cut(prompts, len(self._pool.servers))]
        try:
            return [value for values in await asyncio.gather(*calls) for value in values]
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _survived(self) -> None:
        """Return once the managed process is healthy after a failed call: an unhealthy one may be exiting.

        Raises:
            EngineUnavailable: it has exited, or has been unhealthy for too long.
        """
        failed_s = time.monotonic()
        while self._child is not None and not self._is_closed:
            if not self._child.is_running:
                raise EngineUnavailable(GONE)
            since_s = time.monotonic() - failed_s
            if since_s >= DEATH_S and await asyncio.wrap_future(self._loop.start(self._pool.is_well())):
                return
            if since_s > SILENCE_TIMEOUT_S:
                raise EngineUnavailable(SILENT)
            await asyncio.sleep(LOOK_S)
        if self._is_closed:
            raise EngineUnavailable(GONE)
