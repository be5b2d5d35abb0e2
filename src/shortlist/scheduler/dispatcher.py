"""The loop that drives queue, batcher, admission and engine: the only I/O around the pure policies.

A request submits one job and gets one result; the dispatcher computes it in batches. A failed batch is halved until the failing
item is alone, so that only this item fails. When the engine fails, all waiting and all new jobs get `EngineUnavailable`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shortlist.engine.base import Engine
from shortlist.errors import BadScore, DeadlineExceeded, EngineError, EngineOutOfMemory, EngineUnavailable, UpstreamError
from shortlist.scheduler import batcher
from shortlist.scheduler.admission import Admission
from shortlist.scheduler.batcher import BatchTokenLimit
from shortlist.scheduler.queue import DEFAULT_FLOW, Flow, WorkQueue
from shortlist.telemetry import Metrics, logger
from shortlist.types import Batch, Operation, Outcome, Prompt, Value, WorkItem

BATCH_PRIORITY_S: Final = 0.05
"""Time of a batch with items of batch priority: an interactive request that arrives meanwhile waits no longer."""

UNMEASURED_BATCH_PRIORITY_TOKENS: Final = 1024
"""Their tokens before the speed is known."""

MIN_BATCH_PRIORITY_TOKENS: Final = 256
"""Their least tokens by default: on a slow engine, batches of a few tokens would take longer in total, and spare little."""

LATE: Final = "The deadline passed before the work was done."


@dataclass(frozen=True, slots=True)
class Completed:
    """One finished job. Units: seconds.

    Attributes:
        outcomes: One per prompt, in order.
        submitted_s: Submission time on `time.monotonic`.
        queue_s: From submission to its first batch.
        compute_s: The batches that contained its items, shared ones in full.
    """

    outcomes: Sequence[Outcome]
    submitted_s: float
    queue_s: float
    compute_s: float


@dataclass(slots=True)
class _Job:
    """A submitted job: collects the outcomes of its items."""

    done: asyncio.Future[None]
    outcomes: list[Outcome | None]
    submitted_s: float
    started_s: float | None = None
    compute_s: float = 0.0
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.outcomes)

    def resolve(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def give_up(self) -> None:
        """Mark missing outcomes as `DeadlineExceeded`."""
        late = DeadlineExceeded(LATE)
        self.outcomes = [late if outcome is None else outcome for outcome in self.outcomes]

    def completed(self) -> Completed:
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        assert len(outcomes) == len(self.outcomes), "A finished job has every outcome. This is a bug."
        started_s = self.submitted_s if self.started_s is None else self.started_s
        return Completed(outcomes, self.submitted_s, started_s - self.submitted_s, self.compute_s)


class _CallCancelled(Exception):
    """An engine call was cancelled because no job waits for its items."""


class Dispatcher:
    """Feeds one engine.

    Args:
        engine: Computes the batches.
        queue: The queue; used by this dispatcher only.
        admission: Gets the measured throughput.
        max_batch_tokens: Token limit of a batch; lower for a while after an out-of-memory batch.
        max_batch_items: Item limit of a batch.
        max_batch_priority_tokens: Token limit of a batch with items of batch priority; None is what the engine computes in
            `BATCH_PRIORITY_S`, and at least `MIN_BATCH_PRIORITY_TOKENS`.
        metrics: Counts batches.
        model: The label of those metrics.
    """

    def __init__(
        self,
        engine: Engine,
        queue: WorkQueue,
        admission: Admission,
        *,
        max_batch_tokens: int,
        max_batch_items: int,
        max_batch_priority_tokens: int | None = None,
        metrics: Metrics,
        model: str,
    ) -> None:
        self.engine = engine
        self.failure: EngineUnavailable | None = None
        self._queue = queue
        self._admission = admission
        self._token_limit = BatchTokenLimit(max_batch_tokens)
        self._max_batch_items = max_batch_items
        self._max_batch_priority_tokens = max_batch_priority_tokens
        self._metrics = metrics
        self._model = model
        self._jobs: dict[int, _Job] = {}
        self._ids = itertools.count()
        self._work = asyncio.Event()
        self._restarted = asyncio.Event()
        self._calls: dict[asyncio.Future[Sequence[Value]], frozenset[int]] = {}
        self._slots = asyncio.Semaphore(engine.info.max_concurrent_batches)
        self._last_batch_s = -math.inf

    @property
    def num_jobs(self) -> int:
        """Submitted jobs that are not finished."""
        return len(self._jobs)

    async def submit(
        self,
        operation: Operation,
        prompts: Sequence[Prompt],
        *,
        flow: Flow = DEFAULT_FLOW,
        deadline_s: float | None = None,
        is_partial: bool = False,
    ) -> Completed:
        """Compute a whole job and return the outcome of every item.

        Cancelling the call removes the job's items from the queue; a running batch finishes.

        Args:
            operation: What to compute.
            prompts: At least one.
            flow: Caller and priority.
            deadline_s: Deadline on `time.monotonic`.
            is_partial: Whether to return finished items at the deadline, the others as DeadlineExceeded, instead of raising.

        Raises:
            DeadlineExceeded: the deadline passed; items still in the queue are never computed.
            EngineUnavailable: the engine has failed.
        """
        if self.failure is not None:
            raise EngineUnavailable(self.failure.message)
        job_id = next(self._ids)
        self._queue.put(job_id, operation, prompts, flow=flow, deadline_s=deadline_s)
        job = _Job(asyncio.get_running_loop().create_future(), [None] * len(prompts), time.monotonic())
        self._jobs[job_id] = job
        self._changed()
        try:
            async with asyncio.timeout(None if deadline_s is None else deadline_s - time.monotonic()):
                await job.done
        except TimeoutError:
            if not is_partial:
                raise DeadlineExceeded(LATE) from None
            job.give_up()
        finally:
            del self._jobs[job_id]
            self._queue.cancel(job_id)
            self._cancel_unwanted_calls()
            self._changed()
        return job.completed()

    async def run(self) -> None:
        """Run batches until cancelled, or until the engine fails."""
        async with asyncio.TaskGroup() as tasks:
            while self.failure is None:
                await self._slots.acquire()
                batch = await self._next_batch()
                if batch is not None:
                    tasks.create_task(self._run_batch(batch))

    def fail(self, error: EngineUnavailable) -> None:
        """Mark the engine as failed: all waiting and all new jobs get `EngineUnavailable`."""
        self.failure = error
        self._restarted.clear()
        for job in self._jobs.values():
            if not job.done.done():
                job.done.set_exception(EngineUnavailable(error.message))
        self._work.set()

    def resume(self) -> None:
        """Accept jobs again after an engine restart; call `run` again."""
        self.failure = None
        self._slots = asyncio.Semaphore(self.engine.info.max_concurrent_batches)
        self._restarted.set()

    async def wait_until_restarted(self) -> None:
        """Wait until a failed engine has been restarted."""
        if self.failure is not None:
            await self._restarted.wait()

    async def _next_batch(self) -> Batch | None:
        while self.failure is None:
            self._queue.expire(time.monotonic())
            batch = batcher.form_batch(
                self._queue,
                max_tokens=self._token_limit.num_tokens,
                max_items=self._max_batch_items,
                max_batch_priority_tokens=self._low_limit(),
            )
            if batch is not None:
                return batch
            self._work.clear()
            await self._work.wait()
        return None

    def _low_limit(self) -> int:
        """Return the token limit of a batch with items of batch priority."""
        if self._max_batch_priority_tokens is not None:
            return self._max_batch_priority_tokens
        speed = self._admission.tokens_per_s
        if speed is None:
            return UNMEASURED_BATCH_PRIORITY_TOKENS
        return max(MIN_BATCH_PRIORITY_TOKENS, int(speed * BATCH_PRIORITY_S))

    async def _run_batch(self, batch: Batch) -> None:
        started_s = time.monotonic()
        running = self._metrics.running_items.labels(self._model)
        running.inc(len(batch.items))
        try:
            await self._compute(batch)
        except EngineUnavailable as error:
            logger.error("engine failed", extra={"model": self._model, "error": error.message})
            self.fail(error)
            return
        finally:
            running.dec(len(batch.items))
            self._slots.release()
            before_s, self._last_batch_s = self._last_batch_s, time.monotonic()
        # Of concurrent batches, each is measured from the end of the one before it.
        self._admission.observe(batch.num_tokens, self._last_batch_s - max(started_s, before_s))
        self._observe(batch, self._last_batch_s - started_s)

    async def _compute(self, batch: Batch) -> None:
        """Compute a batch; halve it on failure until every item has its own outcome."""
        wanted = self._still_wanted(batch)
        if wanted is None:
            return
        started_s = time.monotonic()
        self._mark_started(wanted, started_s)
        failure: EngineError
        try:
            values = await self._call(wanted)
        except _CallCancelled:
            return
        except EngineUnavailable:
            raise
        except EngineError as error:
            failure = error.with_traceback(None)  # its frames may hold the batch's tensors
        else:
            self._deliver(wanted, values, time.monotonic() - started_s)
            self._token_limit.fits()
            return
        await self._after_failure(wanted, failure)

    def _deliver(self, batch: Batch, values: Sequence[Value], elapsed_s: float) -> None:
        """Resolve every item with its value."""
        for job_id in {item.job_id for item in batch.items} & self._jobs.keys():
            self._jobs[job_id].compute_s += elapsed_s
        is_finite = batch.operation.value_type.is_finite
        for item, value in zip(batch.items, values, strict=True):
            self._resolve(item, value if is_finite(value) else BadScore("The model returned a number that is not finite."))

    async def _call(self, batch: Batch) -> Sequence[Value]:
        try:
            values = await self._call_engine(batch)
        except (EngineError, _CallCancelled):
            raise
        except Exception as error:
            # The traceback is logged for a single item only: halves would repeat it.
            traceback = error if len(batch.items) == 1 else None
            extra = {"model": self._model, "items": len(batch.items), "error": type(error).__name__}
            logger.error("engine raised an unexpected error", exc_info=traceback, extra=extra)
            raise EngineError(f"The engine failed: {type(error).__name__}.") from error
        if len(values) != len(batch.items):
            raise EngineError(f"The engine returned {len(values)} values for {len(batch.items)} items.")
        return values

    async def _call_engine(self, batch: Batch) -> Sequence[Value]:
        """Call the engine; raise `_CallCancelled` when no job waits for the items any more."""
        call: asyncio.Future[Sequence[Value]] = asyncio.ensure_future(self.engine.compute(batch.operation, batch.prompts))
        self._calls[call] = frozenset(item.job_id for item in batch.items)
        try:
            return await call
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            raise _CallCancelled from None
        finally:
            del self._calls[call]

    def _cancel_unwanted_calls(self) -> None:
        """Cancel calls without a waiting job, if the engine stops computing for them."""
        if self.engine.info.ends_cancelled:
            for call, job_ids in self._calls.items():
                if job_ids.isdisjoint(self._jobs):
                    call.cancel()

    async def _after_failure(self, batch: Batch, error: EngineError) -> None:
        self._metrics.batch_failures.labels(self._model, type(error).__name__).inc()
        if isinstance(error, EngineOutOfMemory):
            self._token_limit.lower(batch.num_tokens)
        if len(batch.items) == 1 or isinstance(error, UpstreamError):  # not the fault of an item, and retries would add load
            for item in batch.items:
                self._resolve(item, error)
            return
        for half in batcher.split_batch(batch):
            await self._compute(half)

    def _still_wanted(self, batch: Batch) -> Batch | None:
        items = tuple(item for item in batch.items if item.job_id in self._jobs)
        return Batch(batch.operation, items) if items else None

    def _mark_started(self, batch: Batch, now_s: float) -> None:
        for item in batch.items:
            job = self._jobs[item.job_id]
            if job.started_s is None:
                job.started_s = now_s
                self._metrics.queue_duration.labels(self._model, batch.operation.name).observe(now_s - job.submitted_s)

    def _resolve(self, item: WorkItem, outcome: Outcome) -> None:
        job = self._jobs.get(item.job_id)
        if job is not None:
            job.resolve(item.index, outcome)

    def _changed(self) -> None:
        self._metrics.queue_items.labels(self._model).set(self._queue.num_items)
        self._metrics.queue_tokens.labels(self._model).set(self._queue.num_tokens)
        self._work.set()

    def _observe(self, batch: Batch, elapsed_s: float) -> None:
        self._metrics.inference_duration.labels(self._model, batch.operation.name).observe(elapsed_s)
        self._metrics.batch_items.labels(self._model).observe(len(batch.items))
        self._metrics.batch_tokens.labels(self._model).observe(batch.num_tokens)
        self._metrics.tokens.labels(self._model).inc(batch.num_tokens)
