"""Measures this machine's matrix multiplication rate, for the roofline of an engine.

`python -m benchmarks.engines.flops FOLDER [--device cuda]` prints one JSON line. The floor of a request is the time of its
arithmetic at that rate, without norms, softmax, memory traffic and Python.
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
"""Rows of the timed products: the sizes at which matrix libraries are fastest."""

REPEATS: Final = 7

IN_A_ROW: Final = 10
"""Products that are timed as one group on a GPU."""


def linear_flops_per_token(config: Qwen3Config) -> int:
    """Return the FLOPs of one token's products with the matrices of all layers: one multiplication and one addition each."""
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return 2 * config.num_layers * config.hidden_size * (2 * query + 2 * key + 3 * config.intermediate_size)


def attention_flops_per_pair(config: Qwen3Config) -> int:
    """Return the FLOPs of one token's attention to another, in all layers: two products over every attention head."""
    return 4 * config.num_layers * config.num_heads * config.head_dim


def flops_per_s(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> float:
    """Return the best rate of a device on the model's matrix shapes, over several numbers of rows.

    Every product is timed alone, plain or packed, and its best run counts. The rate of a layer is its FLOPs over the sum of the
    times of its matrices.
    """
    return max(_rate(config, dtype, device, rows) for rows in TOKENS[device.type])


def _rate(config: Qwen3Config, dtype: torch.dtype, device: torch.device, rows: int) -> float:
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(query, hidden), (2 * key, hidden), (hidden, query), (inner, hidden), (inner, hidden), (hidden, inner)]
    total_s = sum(min(_seconds(call, device) for call in _calls(shape, dtype, device, rows)) for shape in shapes)
    return sum(2 * rows * outputs * inputs for outputs, inputs in shapes) / total_s


def _calls(shape: tuple[int, int], dtype: torch.dtype, device: torch.device, rows: int) -> list[Callable[[], Tensor]]:
    # Random numbers, because processors are faster on zeros.
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
    # Timed with GPU events, several in a row: a launch takes about as long as a small product.
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    started.record()
    for _ in range(IN_A_ROW):
        call()
    ended.record()
    ended.synchronize()
    return float(started.elapsed_time(ended)) / 1e3 / IN_A_ROW


def main() -> None:
    """Measure the rate and print it as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    options.add_argument("--device", default="cpu")
    arguments = options.parse_args()
    config, device = Qwen3Config.read(arguments.folder), pick_device(arguments.device)
    if device.type == "cuda":
        round_sums_once()
        torch.cuda.set_device(device)
    with torch.inference_mode():
        rate = flops_per_s(config, pick_dtype(arguments.dtype, device), device)
    result = {
        "flops_per_s": rate,
        "linear_flops_per_token": linear_flops_per_token(config),
        "attention_flops_per_pair": attention_flops_per_pair(config),
        "num_threads": torch.get_num_threads(),
        "dtype": arguments.dtype,
        "device": str(device),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
