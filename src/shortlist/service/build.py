"""The composition root: settings in, a runtime with every model loaded out."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shortlist.config import ModelSettings, SchedulerSettings, Settings
from shortlist.engine.base import Engine, Notify
from shortlist.engine.memory_plan import MemoryPlan
from shortlist.engine.registry import ENGINES, EngineSpec
from shortlist.errors import EngineUnavailable, ModelRefused
from shortlist.hub.config_checks import WeightsReader
from shortlist.models import RECOMMENDED, LoadContext, ResolvedModel, resolve
from shortlist.scheduler.admission import Admission, AdmissionLimits
from shortlist.scheduler.cache import ScoreCache
from shortlist.scheduler.dispatcher import Dispatcher
from shortlist.scheduler.queue import WorkQueue
from shortlist.scheduler.redis_store import RedisStore, location_of
from shortlist.scheduler.served_model import NO_EXPECTATIONS, Expectations, LoadAgain, ServedModel
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.scheduler.single_flight import InFlight
from shortlist.service.model_names import alias_pairs, aliases_of, check_names, name_of
from shortlist.service.monitoring import show_gpus, tracing_to
from shortlist.service.runtime import Runtime
from shortlist.service.selftest_data import calibration_texts
from shortlist.service.vllm_deployment import MetricLabels, VllmDeployment, deployments, engine_and_encoder, remedy_for
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, RERANK, ModelCard, Operation, Priority

DEMO = "demo"

PLAN_S = 60.0
"""Timeout of the memory plan in another process, imports included."""

NO_MODEL = (
    "No model was named, so the bundled demo model is served: small, real, English.\n"
    f"For more: shortlist serve {RECOMMENDED[RERANK]} {RECOMMENDED[EMBED]}"
)


def build_runtime(settings: Settings, *, notify: Notify) -> Runtime:
    """Find, fetch and load every model that the settings name; the demo model if they name none.

    Raises:
        BadSetting: a setting does not fit the models.
        ModelRefused: a model is not available, or cannot be served.
    """
    metrics = Metrics()
    alias_pairs(settings.model)  # a malformed alias is an error before anything is loaded
    shared = shared_cache(settings.scheduler, metrics)  # so is a malformed address
    tracing = tracing_to(settings.server.otlp_endpoint, sample_ratio=settings.server.otlp_sample_ratio)
    served_models, local_models = [], []
    requested = _wanted(settings.model, notify)
    chosen = deployments(settings, [text for text, _ in requested])
    with _importing("torch") if None in chosen else nullcontext():
        models = [
            find(text, declared, settings.model, deployment=deployment)
            for (text, declared), deployment in zip(requested, chosen, strict=True)
        ]
    check_names(settings.model, [text for text, _ in requested], models)
    for (text, declared), deployment, model in zip(requested, chosen, models, strict=True):
        loaded = load_found(model, settings.model, notify=notify, metrics=metrics, deployment=deployment)
        if loaded.spec is not None and loaded.spec.is_planned and (plan := loaded.memory(settings.scheduler)) is not None:
            scope = "on each device, " if len(loaded.engine.replicas) > 1 else ""
            notify(f"{loaded.name}: {scope}{plan.summary}")
        served = served_model_for(loaded, text, declared, settings, metrics, shared=shared)
        if deployment is None:
            local_models.append(served)
        served_models.append(served)
    show_gpus(metrics, local_models)
    return Runtime(served_models, settings=settings, metrics=metrics, notify=notify, tracing=tracing)


def _wanted(settings: ModelSettings, notify: Notify) -> list[tuple[str, Operation | None]]:
    requested: list[tuple[str, Operation | None]] = [(text, None) for text in settings.models]
    requested += [(text, RERANK) for text in settings.reranker]
    requested += [(text, EMBED) for text in settings.embedder]
    if not requested:
        notify(NO_MODEL)
    return requested or [(DEMO, None)]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A loaded model.

    Attributes:
        model: Its files.
        load_again, on_close, restarts: As of `ServedModel`.
        deployment: Its vLLM deployment; None if vLLM does not compute it.
        load_s: How long loading took in seconds.
    """

    model: ResolvedModel
    engine: Engine
    encoder: Encoder
    load_again: LoadAgain
    on_close: Callable[[], None] = lambda: None
    restarts: bool = False
    deployment: VllmDeployment | None = None
    load_s: float = 0.0

    @property
    def name(self) -> str:
        """The name on a hub; a folder's name without its path."""
        return name_of(self.model)

    @property
    def spec(self) -> EngineSpec | None:
        """The engine that computes it; None for vLLM."""
        return ENGINES[self.model.family.engine] if self.deployment is None else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether other processes compute it."""
        return self.deployment is not None or len(self.engine.replicas) > 1

    def memory(self, settings: SchedulerSettings) -> MemoryPlan | None:
        """Peak memory per device under these settings; None for vLLM."""
        if self.spec is None:
            return None
        one, *_ = self.engine.replicas
        plan = partial(self.spec.plan, self.model.path, one.info, settings)
        return one.run_in_engine(plan, timeout_s=PLAN_S)

    @property
    def expectations(self) -> Expectations:
        """Expectations of the self-test."""
        ids = self.encoder.template_ids
        return Expectations(
            understands=self.model.family.understands,
            suffix=() if ids is None else ids.suffix_ids,
            remedy="" if self.deployment is None else remedy_for(self.model, self.deployment),
        )


def load(
    text: str,
    declared: Operation | None,
    settings: ModelSettings,
    *,
    notify: Notify,
    metrics: Metrics,
    deployment: VllmDeployment | None = None,
) -> LoadedModel:
    """Find, fetch and load one model; see `find` and `load_found`.

    Raises:
        BadSetting: a setting does not fit the model.
        ModelRefused: it is not available, or cannot be served.
    """
    with _importing("torch") if deployment is None else nullcontext():
        model = find(text, declared, settings, deployment=deployment)
    return load_found(model, settings, notify=notify, metrics=metrics, deployment=deployment)


def find(
    text: str, declared: Operation | None, settings: ModelSettings, *, deployment: VllmDeployment | None = None
) -> ResolvedModel:
    """Find and fetch one model.

    Args:
        text: Hub name or folder.
        declared: The configured task, or None to detect it from the files.
        settings: Model settings.
        deployment: Its vLLM deployment; None for the other engines.

    Raises:
        ModelRefused: it is not available, or cannot be served.
    """
    revision = settings.revision if _has_revisions(text) else None
    return resolve(text, declared=declared, revision=revision, reader=_reader(deployment))


def load_found(
    model: ResolvedModel, settings: ModelSettings, *, notify: Notify, metrics: Metrics, deployment: VllmDeployment | None = None
) -> LoadedModel:
    """Load one model that has been fetched.

    Args:
        model: The resolved model.
        settings: Model settings.
        notify: Reports progress.
        metrics: Counts calls to vLLM.
        deployment: Its vLLM deployment; None for the other engines.

    Raises:
        BadSetting: a setting does not fit the model.
        ModelRefused: it cannot be served.
    """
    notify(f"{model.name}: {model.family.name} ({model.why})")
    notify(f"{model.name}: weights {_checksum_note(model, _reader(deployment))}")
    started_s = time.monotonic()

    is_closed = threading.Event()

    def is_wanted() -> bool:
        return not is_closed.is_set()

    def make() -> tuple[Engine, Encoder]:
        if deployment is None:
            context = LoadContext(settings=settings, samples=calibration_texts, notify=notify, is_wanted=is_wanted)
            return load_here(model, context)
        metric_labels = MetricLabels(metrics=metrics, name=name_of(model))
        return engine_and_encoder(model, settings, deployment, metric_labels=metric_labels, notify=notify, is_wanted=is_wanted)

    engine, encoder = make()
    load_s = time.monotonic() - started_s
    info = engine.info
    notify(f"{model.name}: loaded in {load_s:.1f} s, {info.dtype} on {info.device}, up to {info.max_model_len} tokens")
    return LoadedModel(
        model,
        engine,
        encoder,
        load_again=lambda: _again(make, deployment),
        on_close=is_closed.set,
        restarts=settings.restart_engine or (deployment is not None and deployment.is_managed),
        deployment=deployment,
        load_s=load_s,
    )


def load_here(model: ResolvedModel, context: LoadContext) -> tuple[Engine, Encoder]:
    """Load a model with the preferred engine of its family. See `models.base.Load`."""
    return model.family.load[model.family.engine](model.files, context)


def _again(make: LoadAgain, deployment: VllmDeployment | None) -> tuple[Engine, Encoder]:
    """Load a model again. A managed vLLM that does not start now may start later, once memory is free."""
    try:
        return make()
    except ModelRefused as error:
        if deployment is None:
            raise
        raise EngineUnavailable(error.message) from None


def shared_cache(settings: SchedulerSettings, metrics: Metrics) -> SharedCache | None:
    """Return the shared cache, if configured. It does not connect yet.

    Raises:
        BadSetting: the address is malformed, or the library is not installed.
    """
    if settings.cache_url is None:
        return None
    url = settings.cache_url.get_secret_value()
    store = RedisStore(url, ttl_s=settings.cache_ttl_s)
    return SharedCache(store, timeout_s=settings.cache_timeout_ms / 1000, metrics=metrics, location=location_of(url))


def served_model_for(
    loaded: LoadedModel,
    text: str,
    declared: Operation | None,
    settings: Settings,
    metrics: Metrics,
    *,
    shared: SharedCache | None = None,
) -> ServedModel:
    """Return the served model of a loaded model that the settings name `text`."""
    served = served_model_of(
        loaded.engine,
        loaded.encoder,
        name=loaded.name,
        aliases=aliases_of(settings.model, text, loaded.model),
        operations=_operations(loaded.model, declared),
        settings=settings.scheduler,
        metrics=metrics,
        expectations=loaded.expectations,
    )
    return replace(
        served,
        shared=shared,
        load_again=loaded.load_again,
        on_close=loaded.on_close,
        restarts=loaded.restarts,
        restart_s=loaded.load_s if loaded.restarts and loaded.is_elsewhere else None,
    )


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Import a module in a thread meanwhile: hashing files releases the GIL."""

    def load_module() -> None:
        with suppress(ImportError):
            importlib.import_module(name)

    thread = threading.Thread(target=load_module, name=f"import {name}")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _checksum_note(model: ResolvedModel, reader: WeightsReader) -> str:
    if reader is WeightsReader.UPSTREAM:
        return "not needed here: the --upstream servers have them"
    if model.checksum_source is None:
        return "not checked: no checksums; add a SHA256SUMS file to the folder"
    return f"checked against {model.checksum_source}"


def _operations(model: ResolvedModel, declared: Operation | None) -> frozenset[Operation]:
    """Return the operations of a model.

    Of its defaults, the demo model serves all that it can.
    """
    if declared is not None:
        return frozenset({declared})
    defaults = model.family.default_operations
    return model.family.operations if defaults is None or model.name == DEMO else defaults


def _has_revisions(text: str) -> bool:
    return text != DEMO and not Path(text).is_dir()


def _reader(deployment: VllmDeployment | None) -> WeightsReader:
    return WeightsReader.SHORTLIST if deployment is None else deployment.reader


def served_model_of(
    engine: Engine,
    encoder: Encoder,
    *,
    name: str,
    aliases: tuple[str, ...],
    operations: frozenset[Operation],
    settings: SchedulerSettings,
    metrics: Metrics,
    expectations: Expectations = NO_EXPECTATIONS,
) -> ServedModel:
    """Return a served model with this engine and encoder."""
    limits = AdmissionLimits(
        max_concurrent_requests=settings.max_concurrent_requests,
        max_queue_tokens=settings.max_queue_tokens,
        max_queue_bytes=settings.max_queue_bytes,
        max_queue_delay_s=settings.max_queue_delay_ms / 1000,
    )
    admission = Admission(limits)
    dispatcher = Dispatcher(
        engine,
        WorkQueue(),
        admission,
        max_batch_tokens=settings.max_batch_tokens,
        max_batch_items=settings.max_batch_items,
        metrics=metrics,
        model=name,
    )
    card = ModelCard(
        name=name,
        aliases=aliases,
        operations=operations & engine.info.operations,
        max_model_len=engine.info.max_model_len,
        dimensions=engine.info.dimensions,
        created_s=int(time.clock_gettime(time.CLOCK_REALTIME)),
    )
    metrics.expect(name, card.operations)
    metrics.queue_delay.labels(name).set_function(lambda: admission.queue_delay_s)  # called at scrape time
    return ServedModel(
        card=card,
        encoder=encoder,
        engine=engine,
        dispatcher=dispatcher,
        admission=admission,
        cache=ScoreCache(settings.cache_bytes),
        in_flight={priority: InFlight() for priority in Priority},
        metrics=metrics,
        expectations=expectations,
    )
