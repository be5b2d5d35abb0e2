"""How fast this machine multiplies matrices: the measure against which an engine on it can be judged.

`python -m shortlist.engine.native.floor FOLDER` prints one JSON line. The floor of a request is the time that its
arithmetic would take at that rate, if everything else cost nothing: no norm, no softmax, no memory, no Python.
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

from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.linears import PackedLinears, packed, product

TOKENS: Final = (512, 1024, 2048)
"""Rows of the products that are timed: the sizes at which matrix libraries are at their best."""

REPEATS: Final = 7


def linear_flops_per_token(config: Qwen3Config) -> int:
    """Return the arithmetic of one token's products with the matrices of all layers, a multiplication and a sum each."""
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return 2 * config.num_layers * config.hidden_size * (2 * query + 2 * key + 3 * config.intermediate_size)


def attention_flops_per_pair(config: Qwen3Config) -> int:
    """Return the arithmetic of one token looking at another, in all layers: two products over every head."""
    return 4 * config.num_layers * config.num_heads * config.head_dim


def flops_per_s(config: Qwen3Config, dtype: torch.dtype) -> float:
    """Return the best rate at which this machine multiplies by the model's own matrices, by its number of rows.

    Every product is timed alone, as the matrix library has it, plain or packed; the best of several runs counts, and all
    the matrices of a layer are weighed by their work.
    """
    return max(_rate(config, dtype, rows) for rows in TOKENS)


def _rate(config: Qwen3Config, dtype: torch.dtype, rows: int) -> float:
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(query, hidden), (2 * key, hidden), (hidden, query), (inner, hidden), (inner, hidden), (hidden, inner)]
    spent_s = sum(min(_seconds(call) for call in _calls(shape, dtype, rows)) for shape in shapes)
    return sum(2 * rows * outputs * inputs for outputs, inputs in shapes) / spent_s


def _calls(shape: tuple[int, int], dtype: torch.dtype, rows: int) -> list[Callable[[], Tensor]]:
    # Not zeros: processors are faster on them.
    x, matrix = torch.randn(rows, shape[1]).to(dtype), torch.randn(shape).to(dtype)
    calls = [lambda: F.linear(x, matrix)]
    if dtype == torch.bfloat16 and PackedLinears.is_possible():
        ready = packed(matrix)
        calls.append(lambda: product(x, ready))
    return calls


def _seconds(call: Callable[[], Tensor]) -> float:
    call()
    found = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        call()
        found.append(time.perf_counter() - started_s)
    return min(found)


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    given = options.parse_args()
    config = Qwen3Config.read(given.folder)
    with torch.inference_mode():
        rate = flops_per_s(config, getattr(torch, given.dtype))
    found = {
        "flops_per_s": rate,
        "linear_flops_per_token": linear_flops_per_token(config),
        "attention_flops_per_pair": attention_flops_per_pair(config),
        "num_threads": torch.get_num_threads(),
        "dtype": given.dtype,
    }
    print(json.dumps(found))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
