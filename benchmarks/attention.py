"""Time attention alone on an NVIDIA GPU: Shortlist's kernel with every block size, beside torch's kernels.

    python -m benchmarks.attention [--load 1x8000 ...] [--dtype bfloat16] [--heads 16] [--key-heads 8] [--width 128]

A load is one shared prefix of 80 tokens and PROMPTSxTOKENS. Torch computes each prompt alone, after its own copy of the prefix,
with each kernel that supports it. Block sizes that exceed the GPU's registers or shared memory are slow, or shown as failed.
The first line of each load is the choice of `launch.blocks_of`; if another is faster, change it there.

Without a GPU, try the script with TRITON_INTERPRET=1, --load 1x5 and --dtype float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from triton import knobs
from triton.errors import TritonError

from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.attention_tiles import tiles_of
from shortlist.engine.native.layout import Layout, PackedSpan

DEVICE: Final = torch.device("cpu" if knobs.runtime.interpret else "cuda")
PREFIX_TOKENS: Final = 80
LOADS: Final = ("100x100", "100x300", "20x2000", "4x8000", "1x32000")
REPEATS: Final = 1 if DEVICE.type == "cpu" else 20
BACKENDS: Final = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION)


def layout_of(load: str) -> Layout:
    count, length = map(int, load.split("x"))
    prefix = range(PREFIX_TOKENS)
    token_rows = [range(start, start + length) for start in range(PREFIX_TOKENS, PREFIX_TOKENS + count * length, length)]
    spans = (PackedSpan(token_row, token_row, prefix, is_scored=True) for token_row in token_rows)
    return Layout((PackedSpan(prefix, prefix, range(0), is_scored=False), *spans), PREFIX_TOKENS + count * length)


def flops_of(layout: Layout, heads: int, width: int) -> float:
    """Return the FLOPs of causal attention: two products over every attention head."""
    return sum(4 * heads * width * len(span.rows) * (len(span.prefix) + (len(span.rows) + 1) / 2) for span in layout.spans)


def block_candidates(width: int, dtype: torch.dtype, group: int) -> Iterator[launch.Blocks]:
    """Yield the current block size, then the candidates."""
    yield launch.blocks_of(width, dtype, group=group)
    if DEVICE.type == "cuda":
        for rows, keys, warps, stages in product((64, 128), (32, 64, 128), (4, 8), (2, 3, 4)):
            yield launch.Blocks(rows, keys, {"num_warps": warps, "num_stages": stages})


def seconds(act: Callable[[], object]) -> float:
    """Return the mean seconds of one call, over several calls in a row."""
    act()
    synchronize_device()
    started_s = time.perf_counter()
    for _ in range(REPEATS):
        act()
    synchronize_device()
    return (time.perf_counter() - started_s) / REPEATS


def synchronize_device() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def shortlist_call(q: Tensor, k: Tensor, v: Tensor, layout: Layout, blocks: launch.Blocks) -> Callable[[], object]:
    group, width = q.shape[1] // k.shape[1], q.shape[2]
    tiles = torch.from_numpy(tiles_of(layout.spans, blocks.rows // group)).to(DEVICE)
    flat = [each.flatten(1) for each in (q.clone(), k, v)]
    return lambda: launch.attend(flat[0], flat[1], flat[2], tiles, blocks, width=width)


def torch_call(q: Tensor, k: Tensor, v: Tensor, layout: Layout, backend: SDPBackend) -> Callable[[], object]:
    """Return a call of torch's attention. Prefixes are copied beforehand, so that only attention is timed."""
    prompts = [
        [
            torch.cat([each[: len(span.prefix)], each[span.rows.start : span.rows.stop]]).transpose(0, 1)[None]
            for each in (q, k, v)
        ]
        for span in layout.spans[1:]
    ]

    def act() -> None:
        with sdpa_kernel(backend):
            for each in prompts:
                F.scaled_dot_product_attention(each[0], each[1], each[2], is_causal=True, enable_gqa=True)

    return act


def rows(load: str, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the table rows of one load."""
    layout, dtype = layout_of(load), getattr(torch, arguments.dtype)
    draw = torch.Generator(DEVICE).manual_seed(0)
    q, k, v = (
        torch.randn(layout.num_tokens, heads, arguments.width, generator=draw, device=DEVICE).to(dtype)
        for heads in (arguments.heads, arguments.key_heads, arguments.key_heads)
    )
    flops = flops_of(layout, arguments.heads, arguments.width)
    calls: list[tuple[str, Callable[[], Callable[[], object]]]] = [
        (
            f"ours {blocks.rows} rows, {blocks.keys} keys, {blocks.options}",
            lambda blocks=blocks: shortlist_call(q, k, v, layout, blocks),  # type: ignore[misc]
        )
        for blocks in block_candidates(arguments.width, dtype, arguments.heads // arguments.key_heads)
    ]
    if DEVICE.type == "cuda":
        calls += [(backend.name, lambda backend=backend: torch_call(q, k, v, layout, backend)) for backend in BACKENDS]  # type: ignore[misc]
    for name, make in calls:
        yield f"| {load} | {name} | {rate(make, flops)} |"


def rate(make: Callable[[], Callable[[], Any]], flops: float) -> str:
    try:
        return f"{flops / seconds(make()) / 1e12:.1f}"
    except (RuntimeError, TritonError) as error:
        return f"failed: {type(error).__name__}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--load", action="append", metavar="PROMPTSxTOKENS")
    options.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    options.add_argument("--heads", type=int, default=16)
    options.add_argument("--key-heads", type=int, default=8)
    options.add_argument("--width", type=int, default=128)
    arguments = options.parse_args()
    print("| load | how | TFLOP/s |\n| --- | --- | ---: |")
    with torch.inference_mode():
        for load in arguments.load or LOADS:
            for row in rows(load, arguments):
                print(row, flush=True)


if __name__ == "__main__":
    main()
