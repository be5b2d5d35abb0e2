"""How fast this machine multiplies matrices: the measure against which an engine on it can be judged.

`python -m benchmarks.engines.flops FOLDER [--device cuda]` prints one JSON line. The floor of a request is the time that
its arithmetic would take at that rate, if everything else cost nothing: no norm, no softmax, no memory, no Python.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.device import pick_device, pick_dtype
from shortlist.engine.native.linears import PackedLinears, packed, product, round_sums_once
from shortlist.engine.native.model_config import Qwen3Config

TOKENS: Final = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192, 16_384)}
"""Rows of the products that are timed: the sizes at which matrix libraries are at their best."""

REPEATS: Final = 7

IN_A_ROW: Final = 10
"""Products that are timed together on a GPU."""


def linear_flops_per_token(config: Qwen3Config) -> int:
    """Return the arithmetic of one token's products with the matrices of all layers, a multiplication and a sum each."""
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return 2 * config.num_layers * config.hidden_size * (2 * query + 2 * key + 3 * config.intermediate_size)


def attention_flops_per_pair(config: Qwen3Config) -> int:
    """Return the arithmetic of one token looking at another, in all layers: two products over every head."""
    return 4 * config.num_layers * config.num_heads * config.head_dim


def flops_per_s(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> float:
    """Return the best rate at which a device multiplies by the model's own matrices, by its number of rows.

    Every product is timed alone, as the matrix library has it, plain or packed; the best of several runs counts, and all
    the matrices of a layer are weighed by their work.
    """
    return max(_rate(config, dtype, device, rows) for rows in TOKENS[device.type])


def _rate(config: Qwen3Config, dtype: torch.dtype, device: torch.device, rows: int) -> float:
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(query, hidden), (2 * key, hidden), (hidden, query), (inner, hidden), (inner, hidden), (hidden, inner)]
    spent_s = sum(min(_seconds(call, device) for call in _calls(shape, dtype, device, rows)) for shape in shapes)
    return sum(2 * rows * outputs * inputs for outputs, inputs in shapes) / spent_s


def _calls(shape: tuple[int, int], dtype: torch.dtype, device: torch.device, rows: int) -> list[Callable[[], Tensor]]:
    # Not zeros: processors are faster on them.
    x, matrix = (torch.randn(size, device=device).to(dtype) for size in ((rows, shape[1]), shape))
    calls = [lambda: F.linear(x, matrix)]
    if device.type == "cpu" and dtype == torch.bfloat16 and PackedLinears.is_possible():
        ready = packed(matrix)
        calls.append(lambda: product(x, ready))
    return calls


def _seconds(call: Callable[[], Tensor], device: torch.device) -> float:
    call()
    return min(_spent_s(call, device) for _ in range(REPEATS))


def _spent_s(call: Callable[[], Tensor], device: torch.device) -> float:
    if device.type == "cpu":
        started_s = time.perf_counter()
        call()
        return time.perf_counter() - started_s
    # By the GPU's own clock, and several in a row: a launch takes about as long as a small product.
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    started.record()
    for _ in range(IN_A_ROW):
        call()
    ended.record()
    ended.synchronize()
    return float(started.elapsed_time(ended)) / 1e3 / IN_A_ROW


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    options.add_argument("--device", default="cpu")
    given = options.parse_args()
    config, device = Qwen3Config.read(given.folder), pick_device(given.device)
    if device.type == "cuda":
        round_sums_once()
        torch.cuda.set_device(device)
    with torch.inference_mode():
        rate = flops_per_s(config, pick_dtype(given.dtype, device), device)
    found = {
        "flops_per_s": rate,
        "linear_flops_per_token": linear_flops_per_token(config),
        "attention_flops_per_pair": attention_flops_per_pair(config),
        "num_threads": torch.get_num_threads(),
        "dtype": given.dtype,
        "device": str(device),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
