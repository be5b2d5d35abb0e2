"""The command line of `vllm serve` that gives official scores. Pure: settings in, arguments out.

By default vLLM loads a Qwen3 reranker as a generative model, or as an embedder; the overrides make the difference of yes and no
its one output. Requests contain token ids, so vLLM applies no template.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shortlist.types import Task

# Source: vLLM 0.32, `model_executor/models/config.py` (Qwen3ForSequenceClassificationConfig) and `adapters.py`: the first
# word is the one that counts against a document.
AS_RERANKER: Final[Mapping[str, object]] = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}

OLDEST: Final = (0, 32)
"""The first version whose `/classify` is known to take token ids and to give raw scores."""

TESTED: Final = "0.32"

CPU_BLOCK_TOKENS: Final = 32
"""Its own default on CPUs is 128, longer than what the prompts of a query have in common: nothing would be shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmPlan:
    """Model and options of a vLLM server, with vLLM's own names and meanings.

    Attributes:
        model: A folder, or a name on a hub.
        task: What it is to do.
        has_head: Whether the checkpoint was converted to a classifier already.
        gpu_memory_utilization: Share of the device's memory that was asked for; None if nothing was said.
        fair_share: What it gets of a GPU then, beside others; None leaves it to vLLM.
        extra: Further arguments, as they are.
    """

    model: str
    task: Task
    has_head: bool
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
    extra: tuple[str, ...] = ()


def essential(plan: VllmPlan) -> list[str]:
    """Return the arguments without which the scores are wrong."""
    overrides = ["--hf-overrides", json.dumps(AS_RERANKER)] if plan.task is Task.RERANK and not plan.has_head else []
    return [plan.model, "--runner", "pooling", *overrides, "--max-model-len", str(plan.max_model_len)]


def arguments(plan: VllmPlan, *, port: int, is_cpu: bool) -> list[str]:
    """Return everything after `vllm serve`. What the plan adds as `extra` comes last, and so wins."""
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
        # A line per call would say nothing that ours do not say already.
        "--disable-uvicorn-access-log",
        *plan.extra,
    ]


def share_of(plan: VllmPlan, *, is_cpu: bool) -> float | None:
    """Return the share of device memory to request; None for vLLM's default."""
    return plan.gpu_memory_utilization or (None if is_cpu else plan.fair_share)


def process_environment(plan: VllmPlan, *, is_cpu: bool, cores: Sequence[int]) -> dict[str, str]:
    """Return environment variables for it, where the person has not set them.

    Source: vLLM 0.32, `envs.py`.
    """
    shared = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the files are here, and were checked
    }
    if not is_cpu:
        return shared
    # Left to itself it keeps a core for its front end, which is half of a small machine; and nearly all of the memory.
    on_cores = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))} if _is_one_process(plan) else {}
    space = {} if plan.gpu_memory_utilization else {"VLLM_CPU_KVCACHE_SPACE": "4"}
    return {**shared, **on_cores, **space}


def _is_one_process(plan: VllmPlan) -> bool:
    return plan.tensor_parallel_size == plan.data_parallel_size == 1


def right_command(plan: VllmPlan) -> str:
    """Return the command that serves a model as an upstream, to copy."""
    return shlex.join(["vllm", "serve", *essential(plan)])


def parse_version(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version, or None for what is none ("dev")."""
    parts = text.strip().split("+")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return None


def is_supported(version: str) -> bool:
    """Return whether this version of vLLM can be used."""
    numbers = parse_version(version)
    return numbers is not None and numbers >= OLDEST


def unsupported(version: str) -> str:
    """Return what is wrong with a version that is not supported, and what would be right."""
    oldest = ".".join(map(str, OLDEST))
    return f"vLLM {version} is not supported: {oldest} or later is needed (tested: {TESTED})."
