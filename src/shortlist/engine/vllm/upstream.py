"""One vLLM server: connection pool, in-flight tokens, health and metrics. `upstream_pool` chooses between servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import httpx2

from shortlist.breaker import Breaker, BreakerLimits, BreakerState
from shortlist.engine.vllm import exposition, payloads
from shortlist.engine.vllm.limited_transport import LIMIT, PLAIN, AsyncLimitedTransport
from shortlist.errors import UpstreamBusy, UpstreamError
from shortlist.telemetry import Metrics, logger
from shortlist.telemetry.vllm_state import ReadState, VllmState
from shortlist.types import Operation, TokenPrompt, Value, num_batch_tokens

CHILD: Final = "child"
"""Metric label of a managed server: its port changes with every start, and labels stay bounded."""

LIMITS: Final = BreakerLimits(max_failures=3, rest_s=1.0, max_rest_s=15.0)

CONNECT_TIMEOUT_S: Final = 2.0

HEALTH_TIMEOUT_S: Final = 2.0

METRICS_TIMEOUT_S: Final = 2.0

KEEP_ALIVE_S: Final = 4.0
"""Idle connections are closed before vLLM closes them after 5 s: a request sent at that moment would be lost.
Source: `VLLM_HTTP_TIMEOUT_KEEP_ALIVE` in vLLM's `envs.py`."""

MAX_CONNECTIONS: Final = 64

CONNECTIONS: Final = httpx2.Limits(
    max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S
)

OTHER_MODEL: Final = "it serves another model than at the start"


class UpstreamRefusal(UpstreamError):
    """The server refused a call, and not because it is busy.

    Args:
        status: HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"vLLM answered a call with status {status}.", is_retryable=False)
        self.status = status


_BUSY: Final = frozenset({httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE})


class Upstream:
    """One vLLM server.

    Args:
        url: Base URL.
        identity: What it served at the start. Another model's values would be cached as this one's.
        timeout_s: Timeout of a call in seconds.
        upstream_metrics: Counts calls and failures.
        api_key: Sent as a bearer token; None sends none.
    """

    def __init__(
        self,
        url: str,
        identity: payloads.Identity,
        *,
        timeout_s: float,
        upstream_metrics: UpstreamMetrics,
        api_key: str | None = None,
    ) -> None:
        self.url = url
        self.identity = identity
        self.upstream_metrics = upstream_metrics
        self.breaker = Breaker(LIMITS)
        self.num_tokens = 0
        self.computed_s = float("-inf")
        self._state: VllmState | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._is_closed = False
        self._timeout_s = timeout_s
        self._calls: set[asyncio.Task[httpx2.Response]] = set()
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers=PLAIN | ({"authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            transport=AsyncLimitedTransport(httpx2.AsyncHTTPTransport(limits=CONNECTIONS)),
            follow_redirects=False,
            trust_env=False,
        )
        upstream_metrics.show(is_well=lambda: self.is_well, num_tokens=lambda: self.num_tokens, read_state=lambda: self.state)

    @property
    def state(self) -> VllmState | None:
        """What the server reported of itself when it was last read; None if that failed, or if it is unhealthy."""
        return self._state if self.is_well else None

    @property
    def is_well(self) -> bool:
        """Whether its breaker is closed."""
        return not self._is_closed and self.breaker.state is BreakerState.CLOSED

    def has_computed_since(self, moment_s: float) -> bool:
        """Return whether a call that began after this time succeeded."""
        return self.computed_s > moment_s

    async def compute(
        self, operation: Operation, prompts: Sequence[TokenPrompt], *, expected: Sequence[Value] | None = None
    ) -> Sequence[Value]:
        """Return one value per prompt.

        Args:
            operation: What to compute.
            prompts: The prompts.
            expected: The values that the model at the start has for them; None if they are not known.

        Cancelling closes the connection, which stops vLLM's computation.

        Raises:
            UpstreamRefusal: the server refused the call.
            UpstreamError: the server did not answer in time, or its response is invalid.
        """
        endpoint = payloads.ENDPOINTS[operation]
        cost = num_batch_tokens(prompts)
        self.num_tokens += cost
        self.upstream_metrics.requests.inc()
        started_s = time.monotonic()
        try:
            limit = payloads.max_bytes(len(prompts))
            response = await self._send(endpoint.path, payloads.body_of(operation, prompts), limit)
            self._check(response.status_code)
            values = endpoint.read(response.content, len(prompts), self.identity)
            if expected is not None and not payloads.are_close(operation, values, expected):
                raise payloads.OtherModel
        except payloads.OtherModel:
            self.upstream_metrics.failures.inc()
            self.mark_down(OTHER_MODEL)
            raise
        except UpstreamError as error:
            # The pool decides whether the server or the prompts are at fault.
            self.upstream_metrics.failures.inc()
            if error.is_retryable:
                self._failed(error.message)
            raise
        finally:
            self.num_tokens -= cost
        self.upstream_metrics.duration.observe(time.monotonic() - started_s)
        self._computed(started_s)
        return values

    async def computes(self, operation: Operation) -> bool:
        """Return whether the server computes the probe, with the values that it had at the start."""
        try:
            await self.compute(operation, payloads.probe_prompts(), expected=self.identity.values)
        except UpstreamError:
            return False
        return True

    async def serves_same_model(self) -> bool:
        """Return whether the server lists the model that it had at the start; True if it does not answer."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                response = await self._http.get("/v1/models")
        except (httpx2.HTTPError, TimeoutError):
            return True
        listed = payloads.listed_model(response.content) if response.status_code == httpx2.codes.OK else None
        return listed is None or listed == self.identity.listed

    async def is_healthy(self) -> bool:
        """Return whether the health check passes. A busy server also answers it at once."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                response = await self._http.get("/health")
        except (httpx2.HTTPError, TimeoutError):
            return False
        return response.status_code == httpx2.codes.OK

    async def read_state(self) -> None:
        """Read the server's metrics, within `METRICS_TIMEOUT_S`; they count as unknown if that fails."""
        if self._is_closed:
            return
        self._reading = asyncio.ensure_future(self._read_metrics())
        await asyncio.wait([self._reading])
        self._state = None if self._reading.cancelled() else exposition.state_of(self._reading.result())

    async def _read_metrics(self) -> bytes:
        with suppress(httpx2.HTTPError, TimeoutError):
            async with asyncio.timeout(METRICS_TIMEOUT_S):  # of the whole response
                response = await self._http.get("/metrics")
            return response.content if response.status_code == httpx2.codes.OK else b""
        return b""

    def mark_down(self, why: str) -> None:
        """Open the breaker, and cancel in-flight calls, which are retried elsewhere."""
        if self.breaker.trip(time.monotonic()):
            self._log_down(why)
        for call in self._calls:
            call.cancel()

    async def close(self) -> None:
        """Close all connections; no more calls."""
        self._is_closed = True
        if self._reading is not None:  # a connection that it opens now would outlive the client
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._http.aclose()

    async def _send(self, path: str, body: bytes, limit: int) -> httpx2.Response:
        call = asyncio.ensure_future(self._post(path, body, limit))
        self._calls.add(call)
        try:
            return await call
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise UpstreamError("vLLM stopped answering.", is_retryable=True) from None  # see `mark_down`
        finally:
            self._calls.discard(call)

    async def _post(self, path: str, body: bytes, limit: int) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._timeout_s):  # of the whole response: slow bytes would never time out otherwise
                return await self._http.post(path, content=body, headers=_JSON, extensions={LIMIT: limit})
        except (TimeoutError, httpx2.TimeoutException):
            raise UpstreamError("vLLM did not answer in time.", is_retryable=True) from None
        except httpx2.HTTPError as error:
            raise UpstreamError(f"vLLM could not be asked ({type(error).__name__}).", is_retryable=True) from None

    def _check(self, status: int) -> None:
        if 300 <= status < 400:
            raise payloads.wrong("a redirect, which is not followed")
        if status in _BUSY:
            raise UpstreamBusy("vLLM is busy; try again soon.", is_retryable=True)
        if status != httpx2.codes.OK:
            raise UpstreamRefusal(status)

    def _computed(self, started_s: float) -> None:
        self.computed_s = max(self.computed_s, started_s)
        if self.breaker.succeeded():
            logger.warning("vLLM server is healthy again", extra={"upstream": self.url})

    def _failed(self, why: str) -> None:
        if self.breaker.failed(time.monotonic()):
            self._log_down(why)

    def _log_down(self, why: str) -> None:
        logger.warning("vLLM server is unhealthy", extra={"upstream": self.url, "error": why})


_JSON: Final[dict[str, Any]] = {"content-type": "application/json"}


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class UpstreamMetrics:
    """The metrics of one server.

    Args:
        metrics: The server's metrics.
        model: The served model name.
        upstream: Its configured address, or `CHILD`.
    """

    def __init__(self, metrics: Metrics, model: str, upstream: str) -> None:
        self.requests = metrics.upstream_requests.labels(model, upstream)
        self.failures = metrics.upstream_failures.labels(model, upstream)
        self.retries = metrics.upstream_retries.labels(model, upstream)
        self.duration = metrics.upstream_duration.labels(model, upstream)
        self._up = metrics.upstream_up.labels(model, upstream)
        self._tokens = metrics.upstream_tokens.labels(model, upstream)
        self._add_state = partial(metrics.vllm_states.add, model, upstream)

    def show(self, *, is_well: Callable[[], bool], num_tokens: Callable[[], int], read_state: ReadState) -> None:
        """Set the functions that are called at scrape time, from any thread."""
        self._up.set_function(is_well)
        self._tokens.set_function(num_tokens)
        self._add_state(read_state)
