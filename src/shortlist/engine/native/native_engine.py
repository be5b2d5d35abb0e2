"""The native engine: a loaded model and the one thread that computes with it.

It runs batches one after another off the event loop. A batch that does not fit or fails, fails alone. A device error ends the
thread and fails all waiting calls.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import torch

from shortlist.engine.base import Engine, EngineInfo, ScoreScale, content_name
from shortlist.engine.device import pick_device, pick_dtype
from shortlist.engine.native.accuracy_check import check_accuracy
from shortlist.engine.native.dynamic_range import Samples, fitting_dtype
from shortlist.engine.native.kernel_selection import select_kernels
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import AnswerIds, load_weights, published_answer_ids
from shortlist.errors import BadSetting, EngineError, EngineOutOfMemory, EngineUnavailable, ServiceError
from shortlist.types import EMBED, RERANK, Operation, Prompt, Value, num_batch_tokens

ENGINE_VERSION: Final = 5
"""Incremented by every change that can change a number; part of the fingerprint."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long `close` waits for the running batch."""

logger = logging.getLogger(__name__)


class BatchRunner(Protocol):
    """Computes batches on the calling thread. See `Runner`."""

    def begin(self, operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        """Start a batch; return a function that waits for one value per prompt, in order."""
        ...

    def explain(self, prompts: Sequence[Prompt]) -> list[Mapping[str, float]]:
        """Return the logits of every score, by name."""
        ...


Wait = Callable[[], list[Any]]
"""Waits for a started batch and returns one result per prompt."""

Compute = Callable[[BatchRunner], Wait]
"""Starts the computation of a batch, on the device thread."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _BatchJob:
    prompts: Sequence[Prompt]
    compute: Compute
    result: Future[list[Any]]


class NativeEngine(Engine):
    """An `Engine` with one device thread.

    If batches may overlap, the thread starts the next batch before it waits for the previous one, so the device never idles.

    Args:
        runner: Computes batches; used by the thread only.
        info: The engine's properties.
    """

    def __init__(self, runner: BatchRunner, info: EngineInfo) -> None:
        self._info = info
        self._runner: BatchRunner | None = runner
        self._jobs: queue.SimpleQueue[_BatchJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failure: EngineUnavailable | None = None
        self._started: deque[tuple[_BatchJob, Wait]] = deque()
        self._thread = threading.Thread(target=self._serve, name="shortlist-device", daemon=True)
        self._thread.start()

    @classmethod
    def load(  # noqa: PLR0913 - all are needed in each process
        cls,
        folder: Path,
        *,
        operation: Operation,
        max_model_len: int,
        model_limit: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        answer_ids: AnswerIds = published_answer_ids,
        samples: Samples = tuple,
        digest: str | None = None,
    ) -> NativeEngine:
        """Return an engine for the model in `folder`.

        Args:
            folder: The model folder, with configuration and weights.
            operation: The model's operation.
            max_model_len: Longest prompt in tokens.
            model_limit: The model's own limit, for display; None for its positions.
            device: cpu, cuda, cuda:N, or auto.
            dtype: float32, bfloat16, float16, int8, fp8, or auto: the fastest of the device, float16 if `samples` show that it
                holds the model's dynamic range.
            answer_ids: Returns the token ids of "yes" and "no"; called once the layers are loaded.
            samples: Returns prompts for `auto` on a GPU and for the accuracy check of fp8.
            digest: Digest of the model's files; see `content_name`.

        Raises:
            ModelRefused: the folder does not hold a model that this engine supports.
            BadSetting: `device`, `dtype` or `max_model_len` is not available, or the model fails the accuracy check in `dtype`.
        """
        target = pick_device(device)
        compute = pick_dtype(dtype, target)
        config = Qwen3Config.read(folder)
        if max_model_len > config.max_positions:
            raise BadSetting(f"max_model_len is {max_model_len}; the model in {folder} allows {config.max_positions} at most.")
        load = partial(load_weights, folder, config, operation=operation, answer_ids=answer_ids)
        if dtype == "auto" and target.type == "cuda":
            compute = fitting_dtype(compute, load, config, samples(), device=target)
        kernels = select_kernels(config, compute, target)
        weights = load(dtype=kernels.dtype, device=target, prepare=kernels.prepare)
        dtype_name = str(compute).removeprefix("torch.")
        machine = f"{target.type}-{kernels.name}-torch{torch.__version__}"
        info = EngineInfo(
            fingerprint=f"native{ENGINE_VERSION}-{machine}-{dtype_name}-{content_name(digest)}",
            operations=frozenset({operation}),
            max_model_len=max_model_len,
            model_limit=model_limit or config.max_positions,
            score_scale=ScoreScale.LOG_ODDS,
            dimensions={EMBED: config.hidden_size}.get(operation),
            device=str(target),
            dtype=dtype_name,
            max_concurrent_batches=kernels.max_concurrent_batches,
        )
        runner = kernels.runner(config, weights, max_model_len=max_model_len)
        if compute == torch.float8_e4m3fn:
            check_accuracy(runner, load, config, samples(), operation=operation, device=target)
        return cls(runner, info)

    @property
    def info(self) -> EngineInfo:
        """The engine's properties."""
        return self._info

    @property
    def is_alive(self) -> bool:
        """Whether the engine can still compute batches."""
        return self._failure is None

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Return log-odds of relevance, or unit vectors. See `Engine`."""
        self._require(operation)
        return await self._submit(prompts, lambda runner: runner.begin(operation, prompts))

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """Return the logits `yes` and `no` of every prompt, or `score` of a model with one output. See `Engine`."""
        self._require(RERANK)
        return await self._submit(prompts, lambda runner: partial(runner.explain, prompts))

    def close(self) -> None:
        """Stop the thread after the running batch, fail waiting batches, and free the model.

        The wait is bounded: the thread is a daemon and ends with a long batch or with the process.
        """
        self._leave(EngineUnavailable("The engine was closed."))
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT_S)

    # -- on the event loop --

    async def _submit(self, prompts: Sequence[Prompt], compute: Compute) -> list[Any]:
        job = _BatchJob(prompts, compute, Future())
        with self._lock:
            if self._failure is not None:
                raise EngineUnavailable(self._failure.message)
            self._jobs.put(job)
        return await asyncio.wrap_future(job.result)

    # -- on the device thread --

    def _serve(self) -> None:
        reason = "The engine was closed."
        try:
            self._work()
        except BaseException as error:  # any end of the thread must fail the waiting calls
            reason = f"The engine's device thread died ({type(error).__name__})."
            logger.critical(reason, exc_info=error)
            # An error that is kept, by a log handler for example, must not keep the model and its tensors.
            traceback.clear_frames(error.__traceback__)
        self._leave(EngineUnavailable(reason))
        while self._started:
            self._started.popleft()[0].result.set_exception(EngineUnavailable(reason))
        self._runner = None
        gc.unfreeze()  # a ready server excludes loaded objects, the model included, from garbage collection
        gc.collect()

    def _leave(self, reason: EngineUnavailable) -> None:
        """Accept no more batches and fail waiting ones. The first reason is kept."""
        with self._lock:
            self._failure = self._failure or reason
            message = self._failure.message
        while (job := _next_or_none(self._jobs)) is not None:
            _fail(job, EngineUnavailable(message))

    def _work(self) -> None:
        """Start batches, and wait for them in the same order, until `close`."""
        num_ahead = 1 if self._info.max_concurrent_batches > 1 else 0
        while True:
            try:
                job = self._jobs.get(block=not self._started)
            except queue.Empty:
                self._end(*self._started.popleft())
                continue
            if job is None:
                break
            self._begin(job)
            while len(self._started) > num_ahead:
                self._end(*self._started.popleft())
        while self._started:
            self._end(*self._started.popleft())

    def _begin(self, job: _BatchJob) -> None:
        if self._failure is not None:
            _fail(job, EngineUnavailable(self._failure.message))
        elif job.result.set_running_or_notify_cancel():
            wait = self._attempt(job, job.compute)
            if wait is not None:
                self._started.append((job, wait))

    def _end(self, job: _BatchJob, wait: Wait) -> None:
        values = self._attempt(job, lambda _: wait())
        if values is not None:
            job.result.set_result(values)

    def _attempt(self, job: _BatchJob, act: Callable[[BatchRunner], T]) -> T | None:
        """Return the result of `act`; if it fails, fail the job and return None."""
        try:
            outcome = self._outcome(job, act)
        except BaseException as error:
            failure = EngineUnavailable(f"The engine's device thread died ({type(error).__name__}).")
            self._leave(failure)
            job.result.set_exception(failure)
            raise
        if isinstance(outcome, ServiceError):
            job.result.set_exception(outcome)
            return None
        return outcome

    def _outcome(self, job: _BatchJob, act: Callable[[BatchRunner], T]) -> T | ServiceError:
        """Return the result of `act`, or the error of this batch alone.

        Errors are created after their `except` block, when the frames with the batch's tensors are released.

        Raises:
            torch.AcceleratorError: the device is lost; the engine has failed permanently.
        """
        if self._runner is None:
            raise RuntimeError("The device thread outlived its model. This is a bug.")
        problem = ""
        try:
            return act(self._runner)
        except torch.AcceleratorError:
            raise
        except ServiceError as error:
            return error.with_traceback(None)
        except (torch.OutOfMemoryError, MemoryError):
            is_memory = True
        except Exception as error:  # attributed to the batch; the scheduler retries its halves
            is_memory = _is_cpu_out_of_memory(error)
            problem = type(error).__name__
            if not is_memory:
                logger.exception("batch of %d items failed", len(job.prompts))
        if is_memory:
            _free_device_memory()
            return EngineOutOfMemory(f"A batch of {num_batch_tokens(job.prompts)} tokens did not fit into the device's memory.")
        return EngineError(f"The batch could not be computed ({problem}).")


def _next_or_none(jobs: queue.SimpleQueue[_BatchJob | None]) -> _BatchJob | None:
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return None
        if job is not None:
            return job


def _fail(job: _BatchJob, error: EngineUnavailable) -> None:
    if job.result.set_running_or_notify_cancel():
        job.result.set_exception(error)


def _is_cpu_out_of_memory(error: Exception) -> bool:
    """Return whether torch's CPU allocator failed; its error has no class of its own."""
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _free_device_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
