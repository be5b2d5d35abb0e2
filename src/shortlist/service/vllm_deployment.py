"""Decides for each model which vLLM computes it, managed or upstream, and its share of GPU memory, before any start."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from shortlist.config import ModelSettings, Settings, VllmSettings
from shortlist.engine.base import Notify
from shortlist.engine.vllm.command import VllmPlan, right_command
from shortlist.engine.vllm.probe import served_names
from shortlist.engine.vllm.start import StartHooks, UpstreamAccess, connect, launch
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub.config_checks import WeightsReader
from shortlist.models import ResolvedModel
from shortlist.models.base import VllmSupport
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.types import basename

TOTAL_GPU_SHARE: Final = 0.9
"""Share of a GPU for all models together; the rest is for uncounted memory."""

_UPSTREAM_SETTINGS: Final = frozenset({"upstream", "upstream_api_key", "upstream_timeout_s"})
"""Settings that apply to upstream servers; all others are arguments of `vllm serve`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmDeployment:
    """The vLLM deployment of one model.

    Attributes:
        settings: vLLM settings.
        urls: Upstream servers; empty for a managed vLLM.
        share: Configured share of device memory; None if not set.
        fair_share: Share of a GPU if not set; None leaves it to vLLM.
    """

    settings: VllmSettings
    urls: tuple[str, ...] = ()
    share: float | None = None
    fair_share: float | None = None

    @property
    def is_managed(self) -> bool:
        """Whether Shortlist starts and restarts it."""
        return not self.urls

    @property
    def reader(self) -> WeightsReader:
        """Reader of the model's weights."""
        return WeightsReader.VLLM if self.is_managed else WeightsReader.UPSTREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLabels:
    """Metrics of one model's calls, and its name as label."""

    metrics: Metrics
    name: str


def deployments(settings: Settings, models: Sequence[str]) -> list[VllmDeployment | None]:
    """Return the vLLM deployment of every model; None for other engines.

    Raises:
        BadSetting: the settings contradict each other, or leave a model without a server.
    """
    explicit = settings.vllm.model_fields_set
    if settings.model.engine != "vllm":
        if explicit & {"upstream", "vllm_executable", "vllm_arg"}:
            raise BadSetting("upstream, vllm_executable and vllm_arg need --engine vllm; add it, or remove them.")
        return [None] * len(models)
    if not settings.vllm.upstream:
        fair = None if len(models) == 1 else round(TOTAL_GPU_SHARE / len(models), 3)
        shares = _shares(settings.vllm, len(models))
        return [VllmDeployment(settings=settings.vllm, share=share, fair_share=fair) for share in shares]
    if explicit - _UPSTREAM_SETTINGS:
        raise BadSetting(
            f"{min(explicit - _UPSTREAM_SETTINGS)} applies to a managed vLLM; with --upstream, set it on the servers."
        )
    return [VllmDeployment(settings=settings.vllm, urls=urls) for urls in _servers_by_model(settings, models)]


def engine_and_encoder(
    model: ResolvedModel,
    settings: ModelSettings,
    deployment: VllmDeployment,
    *,
    metric_labels: MetricLabels,
    notify: Notify,
    is_wanted: Callable[[], bool] = lambda: True,
) -> tuple[VllmEngine, Encoder]:
    """Return the engine and the encoder of a model.

    Args:
        model: The model.
        settings: Model settings.
        deployment: Its deployment.
        metric_labels: Metrics and label of its calls.
        notify: Reports start progress.
        is_wanted: Whether the start is still wanted; if not, it is aborted.

    Raises:
        BadSetting: a setting does not fit the model, or vLLM.
        ModelRefused: vLLM, or this vLLM, cannot serve it.
    """
    plan = _plan(model, settings, deployment)
    access = UpstreamAccess(
        timeout_s=deployment.settings.upstream_timeout_s,
        api_key=_secret(deployment.settings),
        metrics=metric_labels.metrics,
        model=metric_labels.name,
    )
    if deployment.urls:
        engine = connect(deployment.urls, plan, access)
    else:
        executable = deployment.settings.vllm_executable
        hooks = StartHooks(notify=lambda text: notify(f"{model.name}: {text}"), is_wanted=is_wanted)
        engine = launch(plan, access, hooks, executable=executable, digest=model.digest)
    with ExitStack() as on_failure:
        on_failure.callback(engine.close)
        encoder = _support(model).encoder(model.path, engine.info.max_model_len, settings)
        on_failure.pop_all()
    return engine, encoder


def remedy_for(model: ResolvedModel, deployment: VllmDeployment) -> str:
    """Return advice for a vLLM whose scores are wrong."""
    if deployment.is_managed:
        return "Check --vllm-arg and --quantization."
    command = right_command(_plan(model, ModelSettings(), deployment))
    return f"The servers of --upstream must be started like this: {command}"


def _plan(model: ResolvedModel, settings: ModelSettings, deployment: VllmDeployment) -> VllmPlan:
    support = _support(model)
    if settings.dtype in {"int8", "fp8"}:
        raise BadSetting(f"dtype is {settings.dtype!r}, native engine only; with --engine vllm, set --quantization.")
    (operation,) = model.family.operations
    vllm = deployment.settings
    return VllmPlan(
        model=str(model.path) if deployment.is_managed else model.name,
        operation=operation,
        hf_overrides=support.hf_overrides,
        dtype=settings.dtype,
        max_model_len=min(settings.max_model_len, _max_positions(model) or settings.max_model_len),
        max_num_seqs=vllm.max_num_seqs,
        max_num_batched_tokens=vllm.max_num_batched_tokens,
        gpu_memory_utilization=deployment.share,
        fair_share=deployment.fair_share,
        enforce_eager=vllm.enforce_eager,
        enable_prefix_caching=vllm.enable_prefix_caching,
        tensor_parallel_size=vllm.tensor_parallel_size,
        data_parallel_size=vllm.data_parallel_size,
        quantization=vllm.quantization,
        extra=vllm.vllm_arg,
    )


def _support(model: ResolvedModel) -> VllmSupport:
    if model.family.vllm is None:
        raise ModelRefused(f"{model.name} is a {model.family.name}, which --engine vllm does not serve; leave --engine out.")
    return model.family.vllm


def _max_positions(model: ResolvedModel) -> int | None:
    """Return the token limit in the model's files; None leaves it to vLLM."""
    found = json.loads((model.path / "config.json").read_bytes()).get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def _secret(settings: VllmSettings) -> str | None:
    return settings.upstream_api_key.get_secret_value() if settings.upstream_api_key else None


def _shares(settings: VllmSettings, num_models: int) -> list[float | None]:
    """Return every model's configured share of device memory, or None."""
    explicit = settings.gpu_memory_utilization
    if not explicit:
        return [None] * num_models
    if len(explicit) not in {1, num_models}:
        raise BadSetting(
            f"gpu_memory_utilization (--gpu-memory-utilization) has {len(explicit)} shares for {num_models} models; give one "
            "for each, or one for all."
        )
    shares = explicit * num_models if len(explicit) == 1 else explicit
    if sum(shares) > 1:
        most = f"{TOTAL_GPU_SHARE / num_models:.2f}"
        raise BadSetting(
            f"gpu_memory_utilization (--gpu-memory-utilization) adds up to {sum(shares):.2f} for {num_models} models, which is "
            f"more than 1; {most} for each would fit."
        )
    return list(shares)


def _servers_by_model(settings: Settings, models: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the servers of every model: all for a single model, else those that list it."""
    urls = settings.vllm.upstream
    if len(models) == 1:
        return [urls]
    names = {url: served_names(url, api_key=_secret(settings.vllm)) for url in urls}
    divided = [tuple(url for url in urls if basename(model) in names[url]) for model in models]
    for model, own_urls in zip(models, divided, strict=True):
        if not own_urls:
            served = ", ".join(sorted({name for each in names.values() for name in each}))
            raise BadSetting(
                f"No server of --upstream serves {model}; they serve {served}. Start them with --served-model-name."
            )
    return divided
