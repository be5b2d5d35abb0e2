"""A served model: its encoder, engine, scheduler and caches, and the path of a request through them.

`ServedModel.run`: cache -> admit -> single flight -> tokenize -> dispatch -> cache. Steps 10 to 17 of the request path
(docs/architecture.md). Equal texts are computed once; misses are tokenized in a worker thread and submitted as one job.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from shortlist import gc_pause
from shortlist.engine.base import Engine
from shortlist.engine.unloaded import UnloadedEngine
from shortlist.errors import DeadlineExceeded, EngineUnavailable
from shortlist.scheduler.admission import Admission, Permit
from shortlist.scheduler.cache import Entry, ScoreCache, cache_keys
from shortlist.scheduler.dispatcher import LATE, Completed, Dispatcher
from shortlist.scheduler.queue import Flow
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.scheduler.single_flight import InFlight
from shortlist.scheduler.tokenizing import in_thread
from shortlist.scheduler.work import Computed, Positions, TextValue, Work, text_values
from shortlist.telemetry import Metrics
from shortlist.telemetry.traces import add_span, span
from shortlist.text.encoder import Encoder
from shortlist.types import (
    ModelCard,
    Operation,
    Priority,
    Prompt,
    RequestOptions,
    Timing,
    Usage,
    num_batch_tokens,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the self-test expects of a model.

    Attributes:
        understands: Whether it must separate right from wrong documents in the bundled pairs.
        remedy: Advice for a failed test; one sentence, empty if unknown.
        suffix: The token ids that end every prompt, truncated or not; none for models with their own templates.
    """

    understands: bool = False
    suffix: tuple[int, ...] = ()
    remedy: str = ""


NO_EXPECTATIONS: Final = Expectations()


LoadAgain = Callable[[], tuple[Engine, Encoder]]
"""Loads a model again; called in a worker thread after its engine was closed."""


class ModelState(StrEnum):
    """State of a served model."""

    LOADED = "loaded"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"


@dataclass(slots=True, kw_only=True, eq=False)
class ServedModel:
    """One model with its encoder, engine, scheduler and caches. Served models share nothing but the shared cache.

    Attributes:
        encoder: Its encoder; deleted while the model is not loaded.
        engine: Its engine; an `UnloadedEngine` while the model is not loaded.
        in_flight: In-flight computations by priority: an interactive request never waits for a batch request.
        load_again: Loads engine and encoder again; None if that is not possible.
        on_close: Called on close; may abort a running `load_again`.
        restarts: Whether a failed engine is loaded again; otherwise the server exits.
        restart_s: Expected restart time in seconds; None if requests do not wait for a restart.
        state: Whether it is loaded.
        num_running: Requests that use it.
    """

    card: ModelCard
    encoder: Encoder
    engine: Engine
    dispatcher: Dispatcher
    admission: Admission
    cache: ScoreCache
    in_flight: Mapping[Priority, InFlight[TextValue]]
    metrics: Metrics
    expectations: Expectations = NO_EXPECTATIONS
    load_again: LoadAgain | None = None
    on_close: Callable[[], None] = lambda: None
    restarts: bool = False
    restart_s: float | None = None
    shared: SharedCache | None = None
    state: ModelState = field(default=ModelState.LOADED, init=False)
    num_running: int = field(default=0, init=False)
    _is_closed: bool = field(default=False, init=False)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _idle: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_loading: asyncio.Future[None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._idle.set()

    @property
    def name(self) -> str:
        """The served model name."""
        return self.card.name

    def keys(self, operation: Operation, context: Sequence[str], texts: Sequence[str]) -> list[bytes]:
        """Return the cache key of every text.

        Args:
            operation: What to compute.
            context: Everything besides model and text that determines a value (query, instruction, limits).
            texts: The texts.
        """
        return cache_keys((self.engine.info.fingerprint, self.encoder.fingerprint, operation.name, *context), texts)

    @asynccontextmanager
    async def in_use(self, options: RequestOptions) -> AsyncIterator[RequestOptions]:
        """Keep the model loaded during the block; wait while it is being loaded.

        Args:
            options: The options of the request.

        Yields:
            The options with the time that is left.

        Raises:
            EngineUnavailable: it is not loaded.
            DeadlineExceeded: the deadline passed while it was being loaded.
        """
        while self._is_loading is not None:
            started_s = time.monotonic()
            await asyncio.wait([self._is_loading], timeout=options.timeout_s)
            if options.timeout_s is not None:
                left_s = options.timeout_s - (time.monotonic() - started_s)
                if left_s <= 0:
                    raise DeadlineExceeded(LATE)
                options = replace(options, timeout_s=left_s)
        if self.state is not ModelState.LOADED:
            raise EngineUnavailable(f"The model {self.name} is not loaded.")
        self.num_running += 1
        self._idle.clear()
        try:
            yield options
        finally:
            self.num_running -= 1
            if not self.num_running:
                self._idle.set()

    async def unload(self) -> None:
        """Finish running requests, then free engine, encoder and cache. New requests are refused. Idempotent.

        A cancelled call that still waits for requests leaves the model loaded.
        """
        async with self._changing:
            if self.state is ModelState.UNLOADED:
                return
            self.state = ModelState.UNLOADING
            try:
                await self._idle.wait()
            except asyncio.CancelledError:
                self.state = ModelState.LOADED
                raise
            await self._free()

    async def load(self, test: Callable[[ServedModel], Awaitable[None]]) -> None:
        """Load an unloaded model again, and test it; requests wait meanwhile. Idempotent.

        Raises:
            EngineUnavailable: the loaded model differs from the one before.
            The errors of loading and of the test; the model stays unloaded.
        """
        async with self._changing:
            if self.state is ModelState.LOADED:
                return
            self.state = ModelState.LOADING
            self._is_loading = asyncio.get_running_loop().create_future()
            try:
                await self._reload()
                await test(self)
            except BaseException:
                await self._free()
                raise
            else:
                self.state = ModelState.LOADED
            finally:
                self._is_loading.set_result(None)
                self._is_loading = None

    async def restart(self) -> None:
        """Close a failed engine, which frees its memory, and load the model again.

        Raises:
            EngineUnavailable: the loaded model differs, so its values would be mixed with cached ones.
            The errors of loading; a repeated call tries again.
        """
        async with self._changing:
            if self.state is ModelState.LOADED:
                await self._reload()

    def close(self) -> None:
        """Free all resources, and never load again. Idempotent."""
        self._is_closed = True
        self.on_close()
        self.engine.close()

    async def _reload(self) -> None:
        assert self.load_again is not None, "Only what can be loaded again is reloaded. This is a bug."
        before = self.engine.info
        await asyncio.to_thread(self.engine.close)
        loading = asyncio.ensure_future(asyncio.to_thread(self.load_again))
        try:
            engine, encoder = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_close_loaded)
            raise
        if self._is_closed or engine.info != before:
            engine.close()
            raise EngineUnavailable("The model is not the same any more; the server needs a restart.")
        self.engine = self.dispatcher.engine = engine
        self.encoder = encoder

    async def _free(self) -> None:
        engine, self.engine = self.engine, UnloadedEngine(self.engine.info)
        self.dispatcher.engine = self.engine
        if hasattr(self, "encoder"):
            del self.encoder
        self.cache.clear()
        await asyncio.to_thread(engine.close)
        del engine
        await asyncio.to_thread(gc_pause.release_memory)
        self.state = ModelState.UNLOADED

    async def run(self, work: Work) -> Computed:
        """Return a value or an error for every text.

        Raises:
            Overloaded: the whole request is refused.
            DeadlineExceeded: the deadline passed, and the request is not partial.
            InputTooLong: a text does not fit and must not be truncated.
            EngineUnavailable: the engine has failed.
        """
        timeout_s = work.options.timeout_s
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        positions = {key: index for index, key in enumerate(work.keys)}  # equal texts share a key and are computed once
        with span("cache"):
            cached = await self._cached(work.operation, positions)
        missing = {key: index for key, index in positions.items() if key not in cached}
        self.metrics.cache_hits.labels(self.name).inc(len(cached))
        self.metrics.cache_misses.labels(self.name).inc(len(missing))
        values: dict[bytes, TextValue] = {**cached}
        timing = await self._compute_missing(work, missing, deadline_s, values) if missing else Timing()
        found = [values[key] for key in work.keys]
        num_tokens = sum(entry.num_tokens for entry in found if isinstance(entry, Entry))
        return Computed(found, Usage(num_tokens, sum(key in cached for key in work.keys)), timing)

    async def _cached(self, operation: Operation, positions: Positions) -> dict[bytes, Entry]:
        """Return cached entries: from memory, then from the shared cache."""
        cached = self.cache.get_many(positions)
        if self.shared is None or len(cached) == len(positions):
            return cached
        remote = await self.shared.get_many(operation, [key for key in positions if key not in cached])
        width = self.engine.info.dimensions
        remote = {key: entry for key, entry in remote.items() if operation.value_type.has_width(entry.value, width)}
        self.cache.put_many(remote)
        return {**cached, **remote}

    async def _compute_missing(
        self, work: Work, missing: Positions, deadline_s: float, values: dict[bytes, TextValue]
    ) -> Timing:
        """Compute missing keys into `values`, and join those in flight; a joined key without a result is computed here."""
        timing = Timing()
        num_bytes = sum(sys.getsizeof(work.texts[index]) for index in missing.values())
        # Admission counts all missing keys, as joined requests may be cancelled. A request that only joins is admitted as well.
        with self.admission.admit(
            work.estimate([*missing.values()]),
            num_bytes=num_bytes,
            flow=Flow.of(work.options),
            timeout_s=work.options.timeout_s,
        ) as permit:
            try:
                while left := [key for key in missing if key not in values]:
                    joined = self.in_flight[work.options.priority].join(left)
                    claimed = {key: missing[key] for key in left if key not in joined}
                    if claimed:
                        timing = await self._compute_claimed(work, claimed, permit, deadline_s, values)
                    permit.settle(0)
                    started_s = time.monotonic()
                    values |= await self._join(work, joined, deadline_s)
                    timing = replace(timing, queue_s=timing.queue_s + time.monotonic() - started_s)
            except DeadlineExceeded as late:
                if not work.options.is_partial:
                    raise
                for key in missing:
                    values.setdefault(key, late)
        return timing

    async def _compute_claimed(
        self, work: Work, claimed: Positions, permit: Permit, deadline_s: float, values: dict[bytes, TextValue]
    ) -> Timing:
        """Claim and compute keys. Requests that joined do not inherit this request's deadline errors."""
        permit.settle(work.estimate([*claimed.values()]))
        with self.in_flight[work.options.priority].claim(claimed) as results:
            fresh, timing = await self._compute(work, claimed, permit, deadline_s)
            results.update({key: value for key, value in fresh.items() if not isinstance(value, DeadlineExceeded)})
        values |= fresh
        return timing

    async def _join(
        self, work: Work, joined: Mapping[bytes, asyncio.Future[TextValue | None]], deadline_s: float
    ) -> dict[bytes, TextValue]:
        """Return the results of other requests' computations; keys without a result are left out."""
        if not joined:
            return {}
        self.metrics.coalesced.labels(self.name).inc(len(joined))
        with span("join"):
            _, late = await asyncio.wait(joined.values(), timeout=_left_s(deadline_s))
        if late and not work.options.is_partial:
            raise DeadlineExceeded(LATE)
        results = {key: DeadlineExceeded(LATE) if future in late else future.result() for key, future in joined.items()}
        return {key: result for key, result in results.items() if result is not None}

    async def _compute(
        self, work: Work, claimed: Positions, permit: Permit, deadline_s: float
    ) -> tuple[dict[bytes, TextValue], Timing]:
        """Tokenize, submit, collect, cache."""
        started_s = time.monotonic()
        positions = list(claimed.values())
        encoded = await in_thread(lambda: work.encode(positions), _left_s(deadline_s))
        tokenize_s = time.monotonic() - started_s
        add_span("tokenize", started_s)
        prompts = [prompt for each in encoded for prompt in each.prompts]
        permit.settle(num_batch_tokens(prompts))
        self.metrics.tokenize_duration.labels(self.name, work.operation.name).observe(tokenize_s)
        self.metrics.escaped.labels(self.name).inc(sum(each.num_escaped for each in encoded))
        completed = await self._submit(work, prompts, deadline_s)
        add_span("queue", completed.submitted_s, completed.submitted_s + completed.queue_s)
        add_span("inference", completed.submitted_s + completed.queue_s)
        fresh = dict(zip(claimed, text_values(work.operation, encoded, completed), strict=True))
        self._store({key: value for key, value in fresh.items() if isinstance(value, Entry)})
        return fresh, Timing(tokenize_s=tokenize_s, queue_s=completed.queue_s, compute_s=completed.compute_s)

    async def _submit(self, work: Work, prompts: Sequence[Prompt], deadline_s: float) -> Completed:
        """Submit prompts; after an engine failure, submit them again once it has restarted, if the deadline allows."""
        if not prompts:  # no text could be tokenized
            return Completed([], time.monotonic(), 0.0, 0.0)
        while True:
            try:
                return await self.dispatcher.submit(
                    work.operation,
                    prompts,
                    flow=Flow.of(work.options),
                    deadline_s=None if deadline_s == math.inf else deadline_s,
                    is_partial=work.options.is_partial,
                )
            except EngineUnavailable:
                if not self._can_wait_for_restart(deadline_s):
                    raise
            try:
                async with asyncio.timeout(_left_s(deadline_s)):
                    await self.dispatcher.wait_until_restarted()
            except TimeoutError:
                raise DeadlineExceeded(LATE) from None

    def _can_wait_for_restart(self, deadline_s: float) -> bool:
        """Return whether a request's deadline is later than the expected end of the restart."""
        if self.restart_s is None or deadline_s == math.inf:
            return False
        return deadline_s - time.monotonic() > self.restart_s

    def _store(self, entries: Mapping[bytes, Entry]) -> None:
        self.cache.put_many(entries)
        self.metrics.cache_bytes.labels(self.name).set(self.cache.num_bytes)
        if self.shared is not None:
            self.shared.put_many(entries)


def _left_s(deadline_s: float) -> float | None:
    return None if deadline_s == math.inf else deadline_s - time.monotonic()


def _close_loaded(loading: asyncio.Future[tuple[Engine, Encoder]]) -> None:
    """Close an engine that was loaded for a cancelled call."""
    with suppress(Exception):  # it failed to load, so there is nothing to close
        loading.result()[0].close()
