"""The servers of one model: the one with the least to do is asked, sick ones are left alone until they are well.

A call that fails where it was sent is sent once more, to another server if there is one, within a budget. What a server was
doing that is left alone now moves to the others, however much that is: it gets nothing more, so nothing is multiplied. A call
that a server refuses is the prompts' fault if something that was sent there after the refusal is computed, and the server's
otherwise: one that dies refuses everything before it is gone, whatever it computed until then and says of itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import httpx2

from shortlist.engine.vllm.calls import RetryBudget
from shortlist.engine.vllm.upstream import Upstream, UpstreamRefusal
from shortlist.errors import EngineError, UpstreamError
from shortlist.types import Task, TokenPrompt, Value

PERIOD_S: Final = 1.0
"""How often every server is asked whether it is well."""

MAX_MISSED: Final = 2
"""Looks in a row that found a server unwell, after which it is left alone."""


class UpstreamPool:
    """Computes calls on servers of one model.

    Args:
        servers: At least one; all serve the same.
        task: What they do.
    """

    def __init__(self, servers: Sequence[Upstream], task: Task) -> None:
        self.servers = tuple(servers)
        self._task = task
        self._budget = RetryBudget()
        self._missed = dict.fromkeys(self.servers, 0)
        self._probe_locks = {server: asyncio.Lock() for server in self.servers}

    async def compute(self, prompts: Sequence[TokenPrompt]) -> Sequence[Value]:
        """Return one value per prompt.

        Raises:
            UpstreamError: no server could.
            EngineError: the prompts cannot be computed; parts of them may.
        """
        server = self._pick(self.servers)
        self._budget.earn()
        try:
            return await self._compute_on(server, prompts)
        except UpstreamError as error:
            others = [each for each in self.servers if each is not server and each.is_well]
            moves = bool(others) and not server.is_well
            if not error.is_retryable or not (moves or self._budget.spend()):
                raise
        again = self._pick(others or self.servers)
        again.upstream_metrics.retries.inc()
        return await self._compute_on(again, prompts)

    async def is_well(self) -> bool:
        """Return whether a server may be asked, and says that it is well."""
        said = await asyncio.gather(*(server.is_healthy() for server in self.servers if server.is_well))
        return any(said)

    async def wait_failed(self) -> None:
        """Look after every server, for ever."""
        await asyncio.gather(*(self._watch(server) for server in self.servers))

    async def close(self) -> None:
        """Close every connection."""
        for server in self.servers:
            await server.close()

    def _pick(self, servers: Sequence[Upstream]) -> Upstream:
        well = [server for server in servers if server.is_well]
        if not well:
            raise UpstreamError("No vLLM server is well at the moment; try again soon.", is_retryable=True)
        return min(well, key=lambda server: (server.num_tokens, server.computed_s))

    async def _compute_on(self, server: Upstream, prompts: Sequence[TokenPrompt]) -> Sequence[Value]:
        try:
            return await server.compute(self._task, prompts)
        except UpstreamRefusal as refusal:
            if refusal.status < httpx2.codes.INTERNAL_SERVER_ERROR or refusal.is_retryable:
                raise
        if not await self._still_computes(server, time.monotonic()):
            raise UpstreamError("vLLM failed at computing.", is_retryable=True)
        if not self._budget.spend():
            raise UpstreamError("vLLM cannot compute some of these texts.", is_retryable=False)
        raise EngineError("vLLM cannot compute this text.")

    async def _still_computes(self, server: Upstream, refused_s: float) -> bool:
        """Return whether a server that refused a call is well, as shown by one that began after that.

        Those who doubt it at once do so one after the other: what the first finds out, the others need not.
        """
        async with self._probe_locks[server]:
            if server.is_well and not server.has_computed_since(refused_s) and not await server.computes(self._task):
                server.mark_down("it fails at computing")
            return server.is_well

    async def _watch(self, server: Upstream) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            if server.is_well:
                await self._look_at(server)
            elif server.breaker.may_call(time.monotonic()):
                await self._try(server)

    async def _look_at(self, server: Upstream) -> None:
        self._missed[server] = 0 if await server.is_healthy() else self._missed[server] + 1
        if self._missed[server] >= MAX_MISSED:
            server.mark_down("it does not say that it is well")

    async def _try(self, server: Upstream) -> None:
        """Send the one call that decides whether a sick server is well again; nobody waits for it."""
        if await server.is_healthy() and await server.computes(self._task):
            self._missed[server] = 0
        else:
            server.breaker.failed(time.monotonic())
