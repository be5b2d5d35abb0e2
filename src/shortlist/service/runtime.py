"""All served models and their life cycle: self-test, start, ready, drain, close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from shortlist.config import Settings
from shortlist.engine.base import Notify
from shortlist.errors import Draining, EngineUnavailable, ModelRefused, NotFound
from shortlist.scheduler.model_registry import ModelRegistry
from shortlist.scheduler.served_model import ModelState, ServedModel
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.service.embed import embed
from shortlist.service.explain import explain
from shortlist.service.monitoring import watch
from shortlist.service.rerank import rerank
from shortlist.service.restart import Backoff, restart_engine
from shortlist.service.score import score
from shortlist.service.selftest import MIN_PAIRS, run_selftest
from shortlist.service.selftest_report import CheckStatus
from shortlist.service.tokens import detokenize, tokenize
from shortlist.telemetry import Metrics, logger
from shortlist.telemetry.traces import NO_TRACING, Tracing
from shortlist.types import (
    EMBED,
    RERANK,
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    Explanation,
    ModelCard,
    Operation,
    RequestOptions,
    RerankOutcome,
    RerankTask,
    ScoreOutcome,
    ScoreTask,
    TokenizeOutcome,
    TokenizeTask,
)


class ModelTask(Protocol):
    """A task that names a model."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model(self) -> str | None:
        """Name or alias; None for the default."""
        ...

    @property
    def options(self) -> RequestOptions:
        """Priority, deadline and caller."""
        ...


TaskT = TypeVar("TaskT", bound=ModelTask)
OutcomeT = TypeVar("OutcomeT")


class State(StrEnum):
    """State of the server."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    DRAINING = "draining"
    FAILED = "failed"
    CLOSED = "closed"


class Runtime:
    """The interface of the service for the HTTP layer.

    Args:
        served_models: The served models; the first that supports an operation is its default.
        settings: The settings.
        metrics: The server's metrics, shared by all served models.
        notify: Reports self-test results.
        tracing: The trace exporter.
    """

    def __init__(
        self,
        served_models: Sequence[ServedModel],
        *,
        settings: Settings,
        metrics: Metrics,
        notify: Notify = lambda _: None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.tracing = tracing
        self.state = State.STARTING
        self.failed = asyncio.Event()
        self.num_running = 0
        self.is_leaving = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._registry = ModelRegistry(served_models, unknown_model=settings.model.unknown_model)
        self._tasks: list[asyncio.Task[None]] = []
        self._failed_models: set[ServedModel] = set()
        self._backoffs: dict[ServedModel, Backoff] = {}
        self._notify = notify
        self._starting = asyncio.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether every model accepts requests, and more are welcome."""
        return self.state is State.READY and not self.is_leaving

    @property
    def is_alive(self) -> bool:
        """Whether all engines are available."""
        return self.state is not State.FAILED

    @property
    def _shared(self) -> set[SharedCache]:
        """The shared cache of all served models, if there is one."""
        return {served.shared for served in self._registry.served_models if served.shared is not None}

    def cards(self) -> list[ModelCard]:
        """Return the public model card of every model."""
        return [served.card for served in self._registry.served_models]

    def card(self, name: str | None, operation: Operation | None = None) -> ModelCard:
        """Return the public model card for a requested model name. Raises NotFound, InvalidInput."""
        return self._registry.find(name, operation).card

    async def start(self) -> None:
        """Self-test every model, then start the dispatchers; ready afterwards. Idempotent.

        Raises:
            ModelRefused: a model failed its self-test, and `self_test` is strict.
        """
        async with self._starting:
            if self.state is not State.STARTING:
                return
            for shared in self._shared:
                await shared.start()
            for served in self._registry.served_models:
                await self._run_selftest(served)
            for served in self._registry.served_models:
                self._run(served)
            self._tasks.append(asyncio.create_task(watch(self.metrics), name="watchdog"))
            self._enter(State.READY)

    async def _run_selftest(self, served: ServedModel) -> None:
        settings = self.settings.model
        if settings.self_test == "off":
            return
        self._notify(f"{served.name}: testing itself")
        limit = self.settings.scheduler.max_batch_tokens
        has_random_weights = settings.random_weights
        found = await run_selftest(served, has_random_weights=has_random_weights, max_batch_tokens=limit, max_pairs=MIN_PAIRS)
        if settings.self_test == "strict" and not found.has_passed:
            raise ModelRefused(f"{found.failure} shortlist doctor shows more; --self-test warn serves it all the same.")
        for finding in (*found.failed, *found.with_status(CheckStatus.WARNED)):
            extra = {"model": served.name, "task": finding.operation.name, "check": finding.check.value}
            logger.warning("self-test: %s", finding.detail, extra=extra)
        self._notify(found.summary)

    def _run(self, served: ServedModel) -> None:
        info = served.engine.info
        self.metrics.model_info.labels(served.name, info.device, info.dtype, info.fingerprint).set(1)
        self.metrics.model_ready.labels(served.name).set(1)
        loop = asyncio.create_task(served.dispatcher.run(), name=f"dispatcher {served.name}")
        loop.add_done_callback(partial(self._stopped, served))
        self._tasks.append(loop)
        self._watch(served)

    def _watch(self, served: ServedModel) -> None:
        self._tasks.append(asyncio.create_task(_fail_when_engine_fails(served), name=f"watch {served.name}"))

    async def run(
        self, operation: Operation | None, service: Callable[[ServedModel, TaskT], Awaitable[OutcomeT]], task: TaskT
    ) -> OutcomeT:
        """Run a task with the model that it names.

        Args:
            operation: What the model must support; None for any model.
            service: Runs the task with a model.
            task: The task.

        Raises:
            UnknownModel, WrongModel: no such model is served.
            Draining, EngineUnavailable: the server is not ready.
            The errors of `service`.
        """
        served = self._registry.find(task.model, operation)
        with self._running():
            async with served.in_use(task.options) as options:
                return await service(served, task if options is task.options else replace(task, options=options))

    async def rerank(self, task: RerankTask) -> RerankOutcome:
        """Rank documents. See `run` and `service.rerank.rerank`."""
        return await self.run(RERANK, rerank, task)

    async def score(self, task: ScoreTask) -> ScoreOutcome:
        """Score pairs. See `run` and `service.score.score`."""
        return await self.run(RERANK, score, task)

    async def embed(self, task: EmbedTask) -> EmbedOutcome:
        """Embed texts. See `run` and `service.embed.embed`."""
        return await self.run(EMBED, embed, task)

    async def tokenize(self, task: TokenizeTask) -> TokenizeOutcome:
        """Tokenize texts. See `run` and `service.tokens.tokenize`."""
        return await self.run(None, tokenize, task)

    async def detokenize(self, task: DetokenizeTask) -> DetokenizeOutcome:
        """Detokenize ids. See `run` and `service.tokens.detokenize`."""
        return await self.run(None, detokenize, task)

    async def explain(self, task: RerankTask) -> Explanation:
        """Explain scores. See `run` and `service.explain.explain`. Raises NotFound unless `explain` is enabled."""
        if not self.settings.server.explain:
            raise NotFound("This server does not explain; start it with --explain.")
        return await self.run(RERANK, explain, task)

    async def unload(self, name: str | None) -> None:
        """Unload a model; see `ServedModel.unload`.

        Raises:
            UnknownModel: no such model is served.
            EngineUnavailable: the server is not ready, or the model cannot be loaded again.
        """
        served = self._registry.find(name)
        with self._running():
            if served.load_again is None:
                raise EngineUnavailable(f"The model {served.name} cannot be loaded again.")
        await served.unload()
        self.metrics.model_ready.labels(served.name).set(0)

    async def load(self, name: str | None) -> None:
        """Load an unloaded model again, with its self-test; see `ServedModel.load`.

        Raises:
            UnknownModel: no such model is served.
            ModelRefused: it failed its self-test.
            The errors of `ServedModel.load`.
        """
        served = self._registry.find(name)
        if served.state is ModelState.LOADED:
            return
        await served.load(self._run_selftest)
        self.metrics.model_ready.labels(served.name).set(1)
        if served.dispatcher.failure is None:
            self._watch(served)
        else:  # it was unloaded before its restart
            served.dispatcher.resume()
            self._run(served)

    async def wait_idle(self) -> None:
        """Wait until no request runs."""
        await self._idle.wait()

    def leave(self) -> None:
        """Go on serving, but no longer be ready: other servers take over."""
        self.is_leaving = True
        self._enter(self.state)

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests and wait for running ones; return whether all finished."""
        if self.state is not State.FAILED:
            self._enter(State.DRAINING)
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("drain timed out", extra={"requests": self.num_running})
        return not self.num_running

    async def close(self) -> None:
        """Stop the loops, fail waiting requests, and close the engines. Idempotent."""
        self._enter(State.CLOSED)
        for loop in self._tasks:
            loop.cancel()
        for served in self._registry.served_models:
            served.dispatcher.fail(EngineUnavailable("The server was closed before this was done."))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for shared in self._shared:
            await shared.close()
        for served in self._registry.served_models:
            served.close()
        if self.tracing.is_on:
            await asyncio.to_thread(self.tracing.close)

    @contextmanager
    def _running(self) -> Iterator[None]:
        if self.state is State.FAILED:
            raise EngineUnavailable("The engine has failed; the server needs a restart.")
        if self.state is State.RESTARTING:
            raise EngineUnavailable("The engine has failed and is being restarted; try again soon.")
        if self.state is not State.READY:
            raise Draining("The server is starting or stopping; try another one, or again soon.")
        self.num_running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.num_running -= 1
            if not self.num_running:
                self._idle.set()

    def _stopped(self, served: ServedModel, loop: asyncio.Task[None]) -> None:
        """Handle the end of a dispatcher: a failed engine, or a bug."""
        self.metrics.model_ready.labels(served.name).set(0)
        if loop.cancelled():
            return
        error = loop.exception()
        if error is not None:
            logger.error("dispatcher failed", exc_info=error, extra={"model": served.name})
            served.dispatcher.fail(EngineUnavailable("The dispatcher failed; restart the server."))
        if error is None and served.restarts and self.state in {State.READY, State.RESTARTING}:
            self._tasks.append(asyncio.create_task(self._restart_engine(served), name=f"restart {served.name}"))
        else:
            self._mark_failed()

    async def _restart_engine(self, served: ServedModel) -> None:
        """Restart a failed engine; the server is not ready meanwhile."""
        self._enter(State.RESTARTING)
        self._failed_models.add(served)
        try:
            await restart_engine(served, self._run_selftest, self._backoffs.setdefault(served, Backoff()))
        except ModelRefused as error:
            logger.error("restarted engine refused", extra={"model": served.name, "error": error.message})
            self._mark_failed()
            return
        self._failed_models.remove(served)
        if served.state is ModelState.LOADED:
            self._run(served)
        if not self._failed_models and self.state is State.RESTARTING:
            self._enter(State.READY)

    def _mark_failed(self) -> None:
        self._enter(State.FAILED)
        self.failed.set()

    def _enter(self, state: State) -> None:
        self.state = state
        self.metrics.ready.set(self.is_ready)


async def _fail_when_engine_fails(served: ServedModel) -> None:
    """Fail waiting requests as soon as an idle engine fails."""
    try:
        await served.engine.wait_failed()
    except EngineUnavailable as error:
        if served.dispatcher.failure is None and served.state is ModelState.LOADED:
            logger.error("engine failed", extra={"model": served.name, "error": error.message})
            served.dispatcher.fail(error)
