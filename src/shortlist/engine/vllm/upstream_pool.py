"""The vLLM servers of one model: calls go to the healthy server with the least work.

A failed call is retried once, on another server if there is one, within a budget. The calls of a server that becomes
unhealthy all move to the others; it gets no more calls, so retries do not multiply. When a server refuses a call, a probe
decides: if the server computes the probe, the prompts are at fault, otherwise the server. A dying server refuses
everything before it exits, whatever its health check says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import httpx2

from shortlist.engine.vllm.calls import RetryBudget
from shortlist.engine.vllm.upstream import OTHER_MODEL, Upstream, UpstreamRefusal
from shortlist.errors import EngineError, UpstreamBusy, UpstreamError
from shortlist.types import Operation, TokenPrompt, Value

PERIOD_S: Final = 1.0
"""Period of health checks in seconds."""

STATE_PERIOD_S: Final = 5.0
"""Pause in seconds between two reads of a server's own metrics: shorter than usual scrape intervals."""

MAX_MISSED: Final = 2
"""Failed health checks in a row until a server is unhealthy."""


class UpstreamPool:
    """Distributes calls over the servers of one model.

    Args:
        servers: At least one; all serve the same model.
        operation: Their operation.
    """

    def __init__(self, servers: Sequence[Upstream], operation: Operation) -> None:
        self.servers = tuple(servers)
        self._operation = operation
        self._budget = RetryBudget()
        self._missed = dict.fromkeys(self.servers, 0)
        self._probe_locks = {server: asyncio.Lock() for server in self.servers}

    async def compute(self, prompts: Sequence[TokenPrompt]) -> Sequence[Value]:
        """Return one value per prompt.

        Raises:
            UpstreamError: all servers failed.
            EngineError: the prompts cannot be computed; single ones may.
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
        """Return whether a server is up and passes its health check."""
        said = await asyncio.gather(*(server.is_healthy() for server in self.servers if server.is_well))
        return any(said)

    async def wait_failed(self) -> None:
        """Run health checks, and read the servers' own metrics, until cancelled."""
        watches = [watch(server) for watch in (self._watch, self._watch_state) for server in self.servers]
        await asyncio.gather(*watches)

    async def close(self) -> None:
        """Close every connection."""
        for server in self.servers:
            await server.close()

    def _pick(self, servers: Sequence[Upstream]) -> Upstream:
        well = [server for server in servers if server.is_well]
        if not well:
            raise UpstreamBusy("No vLLM server is healthy at the moment; try again soon.", is_retryable=True)
        return min(well, key=lambda server: (server.num_tokens, server.computed_s))

    async def _compute_on(self, server: Upstream, prompts: Sequence[TokenPrompt]) -> Sequence[Value]:
        try:
            return await server.compute(self._operation, prompts)
        except UpstreamRefusal as refusal:
            if refusal.status < httpx2.codes.INTERNAL_SERVER_ERROR or refusal.is_retryable:
                raise
        if not await self._still_computes(server, time.monotonic()):
            raise UpstreamError("vLLM failed at computing.", is_retryable=True)
        if not self._budget.spend():
            raise UpstreamError("vLLM cannot compute some of these texts.", is_retryable=False)
        raise EngineError("vLLM cannot compute this text.")

    async def _still_computes(self, server: Upstream, refused_s: float) -> bool:
        """Return whether a server that refused a call computes a probe that was sent after the refusal.

        A lock serialises concurrent probes: the others use the result of the first.
        """
        async with self._probe_locks[server]:
            if server.is_well and not server.has_computed_since(refused_s) and not await server.computes(self._operation):
                server.mark_down("it fails at computing")
            return server.is_well

    async def _watch(self, server: Upstream) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            if server.is_well:
                await self._look_at(server)
            elif server.breaker.may_call(time.monotonic()):
                await self._try(server)

    async def _watch_state(self, server: Upstream) -> None:
        """Read the metrics of a server apart from its health checks, which a slow answer would delay."""
        while True:
            if server.is_well:
                await server.read_state()
            await asyncio.sleep(STATE_PERIOD_S)

    async def _look_at(self, server: Upstream) -> None:
        if not await server.serves_same_model():
            server.mark_down(OTHER_MODEL)
            return
        self._missed[server] = 0 if await server.is_healthy() else self._missed[server] + 1
        if self._missed[server] >= MAX_MISSED:
            server.mark_down("it does not say that it is well")

    async def _try(self, server: Upstream) -> None:
        """Send the probe that closes the breaker of an unhealthy server, in the background."""
        if await server.is_healthy() and await server.serves_same_model() and await server.computes(self._operation):
            self._missed[server] = 0
        else:
            server.breaker.failed(time.monotonic())
