"""Computes the peak memory of the native engine from a model's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from shortlist.config import SchedulerSettings
from shortlist.engine.base import EngineInfo
from shortlist.engine.memory_plan import MemoryPlan, element_counts
from shortlist.engine.native.attention import QUERY_BLOCK
from shortlist.engine.native.cpu.cpu_ops import PANEL, WORKSPACE_BYTES, CpuOps
from shortlist.engine.native.cpu.int8_linears import GROUP
from shortlist.engine.native.cuda.long_attention import LONG_TOKENS, rounded
from shortlist.engine.native.kernel_selection import TRITON, TRITON_CUDNN, select_kernels
from shortlist.engine.native.linears import CHUNK_TOKENS, GRAPH_TOKENS, MLP_TOKENS, chunk_tokens
from shortlist.engine.native.model_config import Qwen3Config

_SHAPE: Final = "T max_batch_tokens, W hidden, HD query, GD key, I inner, D head width, H query heads, b bytes per number"
_LEGEND: Final = f"with {_SHAPE}, C tokens per chunk ({CHUNK_TOKENS}, more for small models and on a matrix unit)"
PORTABLE: Final = (
    f"T((W + 2HD + 2GD)b + 4D + 16) + L(12HQ + GD(4 + 2b)) + C(3Ib + 8W), L max_model_len, Q = {QUERY_BLOCK}, {_LEGEND}"
)
"""In words: states, queries, keys, values and angles of the packed tokens; a block of attention over the longest prompt, with
scores, their softmax and the previous block in memory at once; the MLP of one chunk."""

KERNELS: Final = (
    f"T((W + HD + 2GD)b + 4D + 40) + N(2GDb){PANEL - 1} + C(3Ib + 8W) + P{WORKSPACE_BYTES}, N max_batch_items, P threads, "
    f"{_LEGEND}"
)
"""In words: states, queries, keys, values, angles and slots of the packed tokens; keys and values rounded up to whole panels;
the MLP of one chunk; a workspace per thread."""

GPU: Final = (
    f"(T + R)((2W + 2HD + 4GD)b + 6D + 64) + 2C(2Ib), with {_SHAPE}, R tokens of the largest CUDA graph ({GRAPH_TOKENS}), "
    f"C tokens in the MLP at once ({MLP_TOKENS})"
)
"""In words: raw and normalised states, queries, keys, values and angles of the packed tokens, with two layers' overlapping; one
part of the MLP; both again for the CUDA graphs. The libraries' workspaces come on top."""


GPU_LONG: Final = "; for a long document L(2HD + 2GD)b more, L max_model_len rounded up"
"""In words: queries, keys, values and output of one document, laid out alone."""

GPU_FP8: Final = f"{GPU}; in 8 bits (T + R)(Wb + max(W, HD)) + 2C(I) more"
"""In words: a product's quantised input, in 8 bits; and its output, which is not fused with the residual sum there."""

FP8: Final = str(torch.float8_e4m3fn).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits of a batch.

    Attributes:
        max_batch_tokens: Tokens in the batch.
        max_batch_items: Prompts in the batch, shared prefixes included.
        max_model_len: Tokens in the longest prompt.
    """

    max_batch_tokens: int
    max_batch_items: int
    max_model_len: int


def activation_bytes(config: Qwen3Config, *, dtype: str, device: str, limits: BatchLimits) -> tuple[int, str]:
    """Return the bytes of a full batch besides the weights, and their formula.

    Args:
        config: The model's configuration.
        dtype: The compute dtype, by torch's name.
        device: The device.
        limits: The batch limits.
    """
    kernels = select_kernels(config, getattr(torch, dtype), torch.device(device))
    query, key, number = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim, kernels.dtype.itemsize
    if kernels.name in (TRITON, TRITON_CUDNN):
        states = (2 * config.hidden_size + 2 * query + 4 * key) * number + 6 * config.head_dim + 64
        part = min(MLP_TOKENS, limits.max_batch_tokens) * 2 * config.intermediate_size * number
        recorded = min(GRAPH_TOKENS, limits.max_batch_tokens)
        formula = GPU
        if dtype == FP8:
            states += config.hidden_size * number + max(config.hidden_size, query)
            part += min(MLP_TOKENS, limits.max_batch_tokens) * config.intermediate_size
            formula = GPU_FP8
        long = 0
        if kernels.name == TRITON_CUDNN and limits.max_model_len > LONG_TOKENS:
            long = rounded(limits.max_model_len) * 2 * (query + key) * number
            formula += GPU_LONG
        return (limits.max_batch_tokens + recorded) * states + 2 * part + long, formula
    chunk_size = min(kernels.max_chunk_tokens or chunk_tokens(config.intermediate_size), limits.max_batch_tokens)
    chunk = chunk_size * (3 * config.intermediate_size * number + 8 * config.hidden_size)
    tokens, length = limits.max_batch_tokens, limits.max_model_len
    if kernels.ops is CpuOps:
        packed = tokens * ((config.hidden_size + query + 2 * key) * number + 4 * config.head_dim + 40)
        panels = limits.max_batch_items * 2 * key * number * (PANEL - 1)
        return packed + panels + chunk + torch.get_num_threads() * WORKSPACE_BYTES, KERNELS
    packed = tokens * ((config.hidden_size + 2 * query + 2 * key) * number + 4 * config.head_dim + 16)
    scores = length * config.num_heads * QUERY_BLOCK * 12 + length * key * (4 + 2 * number)
    return packed + scores + chunk, PORTABLE


def weight_bytes(config: Qwen3Config, num_parameters: int, dtype: str) -> int:
    """Return the bytes of the loaded weights.

    In 8 bits, the matrices of the layers take a byte per number, plus eight per group and output (int8) or four per output
    (fp8); the rest stays 16-bit.
    """
    embedding = config.vocab_size * config.hidden_size
    match dtype:
        case "int8":
            return 2 * embedding + round((num_parameters - embedding) * (1 + 8 / GROUP))
        case "float8_e4m3fn":
            fewest = min(config.hidden_size, config.num_heads * config.head_dim)
            return 2 * embedding + round((num_parameters - embedding) * (1 + 4 / fewest))
        case _:
            return num_parameters * int(getattr(torch, dtype).itemsize)


def memory_plan(folder: Path, info: EngineInfo, settings: SchedulerSettings) -> MemoryPlan:
    """Return the memory plan of a loaded model.

    Args:
        folder: The model's files.
        info: Its engine info.
        settings: The batch limits.
    """
    config = Qwen3Config.read(folder)
    num_parameters = sum(element_counts(folder))
    limits = BatchLimits(settings.max_batch_tokens, settings.max_batch_items, info.max_model_len)
    activations, formula = activation_bytes(config, dtype=info.dtype, device=info.device, limits=limits)
    weights = weight_bytes(config, num_parameters, info.dtype)
    return MemoryPlan(num_parameters=num_parameters, weights_bytes=weights, activations_bytes=activations, formula=formula)
