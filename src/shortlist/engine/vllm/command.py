"""The command line of `vllm serve` that gives official scores. Pure: settings in, arguments out.

Requests contain token ids, so vLLM applies no template. A model family's overrides change how vLLM loads a checkpoint.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shortlist.types import Operation

OLDEST: Final = (0, 32)
"""The first version whose `/classify` accepts token ids and returns raw scores."""

TESTED: Final = "0.32"

CPU_BLOCK_TOKENS: Final = 32
"""The default on CPUs, 128, is longer than the shared prefix of a query: nothing would be shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmPlan:
    """Model and options of a vLLM server, with vLLM's own names and meanings.

    Attributes:
        model: A folder, or a hub name.
        operation: Its operation.
        hf_overrides: Changes to the model's `config.json`; empty for none.
        gpu_memory_utilization: Requested share of device memory; None if not set.
        fair_share: Share of a GPU if not set, next to other models; None for vLLM's default.
        extra: Further arguments, unchanged.
    """

    model: str
    operation: Operation
    dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float | None = None
    fair_share: float | None = None
    enforce_eager: bool = False
    enable_prefix_caching: bool = True
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    quantization: str | None = None
    hf_overrides: Mapping[str, object] = field(default_factory=dict)
    extra: tuple[str, ...] = ()


def essential(plan: VllmPlan) -> list[str]:
    """Return the arguments that correct scores require."""
    overrides = ["--hf-overrides", json.dumps(plan.hf_overrides)] if plan.hf_overrides else []
    return [plan.model, "--runner", "pooling", *overrides, "--max-model-len", str(plan.max_model_len)]


def arguments(plan: VllmPlan, *, port: int, is_cpu: bool) -> list[str]:
    """Return all arguments of `vllm serve`. `extra` is last, so it overrides."""
    share = share_of(plan, is_cpu=is_cpu)
    return [
        *essential(plan),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", plan.dtype),
        *("--max-num-seqs", str(plan.max_num_seqs)),
        *("--max-num-batched-tokens", str(plan.max_num_batched_tokens)),
        *(["--gpu-memory-utilization", str(share)] if share else []),
        *(["--enforce-eager"] if plan.enforce_eager else []),
        "--enable-prefix-caching" if plan.enable_prefix_caching else "--no-enable-prefix-caching",
        *(["--tensor-parallel-size", str(plan.tensor_parallel_size)] if plan.tensor_parallel_size > 1 else []),
        *(["--data-parallel-size", str(plan.data_parallel_size)] if plan.data_parallel_size > 1 else []),
        *(["--quantization", plan.quantization] if plan.quantization else []),
        *(["--block-size", str(CPU_BLOCK_TOKENS)] if is_cpu else []),
        # Shortlist's log has every call already.
        "--disable-uvicorn-access-log",
        *plan.extra,
    ]


def share_of(plan: VllmPlan, *, is_cpu: bool) -> float | None:
    """Return the share of device memory to request; None for vLLM's default."""
    return plan.gpu_memory_utilization or (None if is_cpu else plan.fair_share)


def process_environment(plan: VllmPlan, *, is_cpu: bool, cores: Sequence[int]) -> dict[str, str]:
    """Return environment variables, which the user's own override.

    Source: vLLM 0.32, `envs.py`.
    """
    shared = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the files are local and verified
    }
    if not is_cpu:
        return shared
    # By default it reserves a core for its front end, half of a small machine, and nearly all memory.
    on_cores = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))} if _is_one_process(plan) else {}
    space = {} if plan.gpu_memory_utilization else {"VLLM_CPU_KVCACHE_SPACE": "4"}
    return {**shared, **on_cores, **space}


def _is_one_process(plan: VllmPlan) -> bool:
    return plan.tensor_parallel_size == plan.data_parallel_size == 1


def right_command(plan: VllmPlan) -> str:
    """Return the command that serves this model as an upstream, for messages."""
    return shlex.join(["vllm", "serve", *essential(plan)])


def parse_version(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version; None for others ("dev")."""
    parts = text.strip().split("+")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return None


def is_supported(version: str) -> bool:
    """Return whether this vLLM version is supported."""
    numbers = parse_version(version)
    return numbers is not None and numbers >= OLDEST


def unsupported(version: str) -> str:
    """Return the error message for an unsupported version, with the supported ones."""
    oldest = ".".join(map(str, OLDEST))
    return f"vLLM {version} is not supported: {oldest} or later is needed (tested: {TESTED})."
