"""Create a vLLM engine: connect to upstream servers, or launch a managed process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from shortlist.engine.base import EngineInfo, Notify, content_name
from shortlist.engine.vllm.command import VllmPlan, arguments, process_environment, share_of
from shortlist.engine.vllm.loop import LoopThread
from shortlist.engine.vllm.probe import Probe, ProbeResult
from shortlist.engine.vllm.process import VllmProcess, find_executable, free_port, version_of
from shortlist.engine.vllm.upstream import CHILD, Upstream, UpstreamMetrics
from shortlist.engine.vllm.upstream_pool import UpstreamPool
from shortlist.engine.vllm.vllm_engine import ManagedProcess, VllmEngine
from shortlist.telemetry import Metrics

BATCHES_PER_SERVER = 2
"""One running, one in transit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamAccess:
    """How to call upstream servers, and the metrics to update. Units: seconds.

    Attributes:
        timeout_s: Timeout of a call.
        api_key: Sent as a bearer token; None sends none.
        metrics: Counts calls.
        model: Served model name, a label of those metrics.
    """

    timeout_s: float
    api_key: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    model: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartHooks:
    """Callbacks during a start.

    Attributes:
        notify: Reports progress.
        is_wanted: Whether the start is still wanted.
    """

    notify: Notify = lambda _: None
    is_wanted: Callable[[], bool] = lambda: True


def connect(urls: Sequence[str], plan: VllmPlan, access: UpstreamAccess) -> VllmEngine:
    """Return an engine for upstream servers.

    Raises:
        ModelRefused: a server is unreachable, or serves something else.
    """
    with ThreadPoolExecutor(len(urls), "probe") as probes:
        found = list(probes.map(lambda url: Probe(url, plan, api_key=access.api_key).run(), urls))
    versions = "+".join(sorted({each.version for each in found}))
    name = f"vllm:{versions}:{plan.dtype}:{content_name(None)}"
    return _engine(found, plan, access, fingerprint=name, device="upstream")


def launch(plan: VllmPlan, access: UpstreamAccess, hooks: StartHooks, *, executable: str, digest: str) -> VllmEngine:
    """Start vLLM, and return an engine once it answers.

    Args:
        plan: Model and options.
        access: How to call it.
        hooks: Callbacks during the start.
        executable: Path of `vllm`, or its name on PATH.
        digest: Digest of the model's weights.

    Raises:
        BadSetting: the executable does not exist, or its version is not supported.
        ModelRefused: vLLM does not start, or fails its probe.
        EngineUnavailable: the start was aborted.
    """
    path = find_executable(executable)
    version = version_of(path)
    is_cpu = version.endswith("cpu")
    share = share_of(plan, is_cpu=is_cpu)
    hooks.notify(f"vLLM {version} ({path}) starts" + (f", with {share:.2f} of the device's memory" if share else ""))
    port = free_port()
    with ExitStack() as on_failure:
        child = VllmProcess(
            [str(path), "serve", *arguments(plan, port=port, is_cpu=is_cpu)],
            environ=process_environment(plan, is_cpu=is_cpu, cores=_cores()),
            port=port,
            notify=hooks.notify,
        )
        on_failure.callback(child.close)
        child.wait_until_ready(hooks.is_wanted)
        found = Probe(child.url, plan).run()
        dtype = child.dtype or plan.dtype
        name = f"vllm:{version}:{dtype}:{plan.quantization}:{content_name(digest)}"
        engine = _engine([found], plan, access, fingerprint=name, device="cpu" if is_cpu else "cuda", child=child, dtype=dtype)
        on_failure.pop_all()
    return engine


def _engine(
    found: Sequence[ProbeResult],
    plan: VllmPlan,
    access: UpstreamAccess,
    *,
    fingerprint: str,
    device: str,
    dtype: str | None = None,
    child: ManagedProcess | None = None,
) -> VllmEngine:
    limit = min(each.identity.max_model_len for each in found)
    info = EngineInfo(
        fingerprint=fingerprint,
        operations=frozenset({plan.operation}),
        max_model_len=min(plan.max_model_len, limit),
        model_limit=limit,
        dimensions=found[0].identity.dimensions,
        device=device,
        dtype=dtype or plan.dtype,
        max_concurrent_batches=BATCHES_PER_SERVER * len(found),
        ends_cancelled=True,
    )
    loop = LoopThread("vllm")
    pool = loop.run(_pool(found, plan, access, is_child=child is not None))
    return VllmEngine(pool, info, loop, child)


async def _pool(found: Sequence[ProbeResult], plan: VllmPlan, access: UpstreamAccess, *, is_child: bool) -> UpstreamPool:
    """Create the upstreams on their event loop."""
    servers = [
        Upstream(
            each.url,
            each.identity,
            timeout_s=access.timeout_s,
            upstream_metrics=UpstreamMetrics(access.metrics, access.model, CHILD if is_child else each.url),
            api_key=access.api_key,
        )
        for each in found
    ]
    return UpstreamPool(servers, plan.operation)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
