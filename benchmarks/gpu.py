"""Checks the scores of Shortlist's engine on an NVIDIA GPU, then measures its speed.

    python -m benchmarks.gpu [MODEL] [--dtype bfloat16] [--step-tokens 8192] [--load 10x100 --load 1x32000] [--markdown FILE]

MODEL is the folder of a Qwen3 reranker. Without it, the weights are random and have the 0.6B shape; they are as fast. Prompts
are random ids, so no vocabulary is needed. The script requires torch, Triton, safetensors and transformers. If scores are
wrong, nothing is timed: the exit code is 1, and the last lines have the results.

To test the kernels alone on the same machine: TRITON_INTERPRET=0 python -m pytest tests/unit/engine/native/cuda.
To try this script without a GPU, in a minute:

    TRITON_INTERPRET=1 python -m benchmarks.gpu --shape tiny --dtype float32 --longest 1 --load 2x3 --repeats 1
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import triton
from transformers import AutoModelForCausalLM
from triton import knobs

from benchmarks.engines.flops import attention_flops_per_pair, linear_flops_per_token
from shortlist.engine.base import EngineInfo
from shortlist.engine.native.attention import attention
from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.attention_tiles import tiles_of
from shortlist.engine.native.cuda.cuda_linears import CudaLinears
from shortlist.engine.native.cuda.forward import BUCKET_TOKENS, CudaForward
from shortlist.engine.native.cuda.graphs import CudaGraphs, EagerHost
from shortlist.engine.native.cuda.support import long_tokens
from shortlist.engine.native.linears import round_sums_once
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner, pack_prompts
from shortlist.engine.native.weights import load_weights
from shortlist.types import RERANK, TokenPrefix, TokenPrompt
from tests.support import qwen

DEVICE: Final = torch.device("cpu" if knobs.runtime.interpret else "cuda")
LOADS: Final = ("10x100", "100x300", "20x2000", "1x32000")
MAX_ERROR_RATIO: Final = 1.1
PREFIX_TOKENS: Final = 80
"""Tokens of the prompt template, the default instruction and a query of twenty tokens, rounded."""

SUFFIX_TOKENS: Final = 9
REQUESTS: Final = 4
"""Number of different requests, sent in turn."""

CHECK_LENGTHS: Final = (1, 16, 64, 100, 200, 300, 500, 1000, 2000, 8000)


@dataclass(frozen=True)
class Setting:
    folder: Path
    config: Qwen3Config
    dtype: torch.dtype
    batch_tokens: int
    repeats: int
    check_lengths: Sequence[int]

    def model(self) -> Qwen3:
        weights = load_weights(self.folder, self.config, operation=RERANK, dtype=self.dtype, device=DEVICE, prepare=CudaLinears)
        return Qwen3(self.config, weights, max_chunk_tokens=sys.maxsize)

    def runner(self, model: Qwen3, *, has_graphs: bool) -> Runner:
        device = CudaGraphs(DEVICE) if DEVICE.type == "cuda" else EagerHost()
        buckets = BUCKET_TOKENS if has_graphs else ()
        long = long_tokens(self.config, self.dtype, DEVICE)
        forward = CudaForward(model, device, bucket_tokens=buckets, long_tokens=long)
        return Runner(model, max_model_len=self.config.max_positions, forward=forward)


# -- prompts --


def prefix_of(num_tokens: int, seed: int) -> TokenPrefix:
    return TokenPrefix(ids_of(num_tokens, seed))


def ids_of(num_tokens: int, seed: int) -> Any:
    return np.random.default_rng((num_tokens, seed)).integers(0, qwen.FIRST_ADDED, num_tokens).astype(np.int32)


def request_of(load: str, seed: int) -> list[TokenPrompt]:
    count, length = map(int, load.split("x"))
    prefix = prefix_of(PREFIX_TOKENS, seed)
    return [TokenPrompt(prefix, ids_of(length + SUFFIX_TOKENS, seed * 10_000 + index)) for index in range(count)]


def batches_of(prompts: Sequence[TokenPrompt], batch_tokens: int) -> Iterator[list[TokenPrompt]]:
    """Yield batches with at most this many tokens, the shared prefix included, or with a single longer prompt."""
    batch: list[TokenPrompt] = []
    num_tokens = PREFIX_TOKENS
    for prompt in prompts:
        if batch and num_tokens + prompt.num_own_tokens > batch_tokens:
            yield batch
            batch, num_tokens = [], PREFIX_TOKENS
        batch.append(prompt)
        num_tokens += prompt.num_own_tokens
    yield batch


# -- accuracy --


def check(setting: Setting, model: Qwen3) -> Iterator[tuple[str, bool, str]]:
    """Yield for every check its description, whether it passed, and its numbers."""
    yield attention_check(setting)
    prefix = prefix_of(PREFIX_TOKENS, 1)
    prompts = [TokenPrompt(prefix, ids_of(length, index)) for index, length in enumerate(setting.check_lengths)]
    eager, graphed = (setting.runner(model, has_graphs=has_graphs) for has_graphs in (False, True))
    results = scores(eager, prompts)
    expected = reference(setting.folder, torch.float32, prompts)
    torch_error = rms(reference(setting.folder, setting.dtype, prompts), expected)
    our_error = rms(results, expected)
    bound = max(MAX_ERROR_RATIO * torch_error, 1e-4)
    yield (
        "error of log-odds against transformers in fp32",
        our_error <= bound,
        f"ours {our_error:.5f}, transformers {torch_error:.5f}",
    )
    single = [scores(eager, [prompt])[0] for prompt in prompts]
    yield "other prompts in the batch change only the rounding", rms(single, results) <= bound, f"{rms(single, results):.5f}"
    replayed = [[scores(graphed, [prompt])[0] for prompt in prompts] for _ in range(3)][-1]
    yield (
        "CUDA graphs and their padding change only the rounding",
        rms(replayed, single) <= bound,
        f"{rms(replayed, single):.5f}",
    )
    yield "repeated batch has bitwise equal scores", scores(eager, prompts) == results, ""


def attention_check(setting: Setting) -> tuple[str, bool, str]:
    """Compare the kernel with plain torch in fp32, and with torch's varlen attention if available."""
    config, prefix = setting.config, prefix_of(PREFIX_TOKENS, 1)
    layout = pack_prompts([TokenPrompt(prefix, ids_of(length, 1)) for length in setting.check_lengths]).layout
    draw = torch.Generator(DEVICE).manual_seed(0)
    q, k, v = (
        torch.randn(layout.num_tokens, heads, config.head_dim, generator=draw, device=DEVICE).to(setting.dtype)
        for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)
    )
    expected = attention(q.float(), k.float(), v.float(), layout)
    group = config.num_heads // config.num_kv_heads
    blocks = launch.blocks_of(config.head_dim, setting.dtype, group=group)
    tiles = torch.from_numpy(tiles_of(layout.spans, blocks.rows // group)).to(DEVICE)
    out = q.clone().flatten(1)
    launch.attend(out, k.flatten(1), v.flatten(1), tiles, blocks, width=config.head_dim)
    our_error, plain_error = (rms_of(each.float() - expected) for each in (out.view_as(q), attention(q, k, v, layout)))
    torch_error = (
        rms_of(varlen(q, k, v, layout).float() - expected)
        if DEVICE.type == "cuda" and q.dtype != torch.float32
        else plain_error
    )
    is_accurate = our_error <= 1.5 * max(torch_error, plain_error) + 1e-6
    return (
        "attention kernel against fp32",
        is_accurate,
        f"ours {our_error:.2e}, plain torch {plain_error:.2e}, varlen_attn {torch_error:.2e}",
    )


def varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: Any) -> torch.Tensor:
    """Compute torch's varlen attention. A sequence is a prompt with its prefix; torch 2.11 requires repeated key heads."""
    from torch.nn.attention.varlen import varlen_attn

    rows = [[*span.prefix, *span.rows] for span in layout.spans]
    ends = torch.tensor(np.cumsum([0, *map(len, rows)]), dtype=torch.int32, device=DEVICE)
    at = torch.tensor([row for each in rows for row in each], device=DEVICE)
    groups = q.shape[1] // k.shape[1]
    keys, values = (each.repeat_interleave(groups, dim=1)[at] for each in (k, v))
    longest = max(map(len, rows))
    is_old = "is_causal" in inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"is_causal": True} if is_old else {"window_size": (-1, 0)}
    results: Any = varlen_attn(q[at], keys, values, ends, ends, longest, longest, **causal)
    out = torch.empty_like(q)
    for start, span in zip(ends.tolist(), layout.spans, strict=False):
        first = start + len(span.prefix)
        out[span.rows.start : span.rows.stop] = results[first : first + len(span.rows)]
    return out


def reference(folder: Path, dtype: torch.dtype, prompts: Sequence[TokenPrompt]) -> list[float]:
    """Return log-odds from transformers, one prompt at a time."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model = model.to(DEVICE).eval()
    with torch.inference_mode():
        rows = [torch.from_numpy(np.concatenate([each.prefix.ids, each.ids]).astype(np.int64))[None] for each in prompts]
        logits = [model(row.to(DEVICE), use_cache=False, logits_to_keep=1).logits[0, -1].float() for row in rows]
    return [float(each[qwen.YES] - each[qwen.NO]) for each in logits]


def scores(runner: Runner, prompts: Sequence[TokenPrompt]) -> list[float]:
    return [float(score) for score in runner.run(RERANK, prompts) if isinstance(score, float)]


def rms(results: Sequence[float], expected: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(np.subtract(results, expected)))))


def rms_of(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


# -- speed --


async def measure(engine: NativeEngine, load: str, setting: Setting) -> str:
    """Return one table row: single requests on an idle engine, and a stream of requests without a pause."""
    requests = [request_of(load, seed) for seed in range(REQUESTS)]
    batches = [list(batches_of(request, setting.batch_tokens)) for request in requests]
    for request in (*batches, batches[0]):  # warm-up: compiles kernels and records CUDA graphs
        await answer(engine, request)
    single = [await timed(answer(engine, batches[number % REQUESTS])) for number in range(setting.repeats)]
    stream = [batch for _ in range(setting.repeats) for request in batches for batch in request]
    spent_s = await timed(answer(engine, stream))
    num_requests = REQUESTS * setting.repeats
    num_tokens = PREFIX_TOKENS * len(batches[0]) + sum(prompt.num_own_tokens for prompt in requests[0])
    flops = num_requests * request_flops(setting.config, requests[0], num_tokens)
    return (
        f"| {load} | {statistics.median(single) * 1e3:.1f} | {min(single) * 1e3:.1f}-{max(single) * 1e3:.1f} "
        f"| {num_requests * len(requests[0]) / spent_s:,.0f} | {num_requests * num_tokens / spent_s:,.0f} "
        f"| {flops / spent_s / 1e12:.1f} |"
    )


async def answer(engine: NativeEngine, batches: Iterable[Sequence[TokenPrompt]]) -> None:
    """Compute batches, with the engine's maximum of concurrent batches."""
    slots = asyncio.Semaphore(engine.info.max_concurrent_batches)

    async def one(batch: Sequence[TokenPrompt]) -> None:
        async with slots:
            await engine.compute(RERANK, batch)

    await asyncio.gather(*map(one, batches))


async def timed(call: Awaitable[None]) -> float:
    started_s = time.perf_counter()
    await call
    return time.perf_counter() - started_s


def request_flops(config: Qwen3Config, prompts: Sequence[TokenPrompt], num_tokens: int) -> float:
    """Return the FLOPs of one request without pruning: the matrix products, and the causal attention of every token."""
    pairs = sum(prompt.num_own_tokens * (PREFIX_TOKENS + prompt.num_own_tokens / 2) for prompt in prompts)
    return num_tokens * linear_flops_per_token(config) + pairs * attention_flops_per_pair(config)


# -- report --


def run(setting: Setting, loads: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the report; exit if a check fails."""
    card = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "Triton's interpreter without a GPU, not a measurement"
    yield f"Machine: {card}, torch {torch.__version__}, Triton {triton.__version__}"
    long = long_tokens(setting.config, setting.dtype, DEVICE)
    attention_kernel = (
        "Shortlist's kernel" if long is None else f"cuDNN for documents of more than {long} tokens, else by Shortlist's kernel"
    )
    yield f"Dtype {setting.dtype}, batches of {setting.batch_tokens} tokens; attention by {attention_kernel}"
    round_sums_once()
    model = setting.model()
    is_accurate = True
    for description, has_passed, numbers in check(setting, model):
        is_accurate &= has_passed
        yield f"- {'passed' if has_passed else 'FAILED'}: {description}. {numbers}"
    if not is_accurate:
        raise SystemExit("A check failed, so the speed was not measured.")
    limit = setting.config.max_positions
    info = EngineInfo(fingerprint="bench", operations=frozenset({RERANK}), max_model_len=limit, max_concurrent_batches=3)
    engine = NativeEngine(setting.runner(model, has_graphs=True), info)
    yield from (
        "",
        "| load | ms alone, median | from-to | documents/s | tokens/s | TFLOP/s |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    )
    with asyncio.Runner() as loop:
        yield from (loop.run(measure(engine, load, setting)) for load in loads)
    engine.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", type=Path)
    options.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    options.add_argument("--shape", choices=sorted(qwen.SHAPES), default="0.6b", help="shape of the random weights")
    options.add_argument("--step-tokens", type=int, default=8192)
    options.add_argument("--load", action="append", metavar="DOCUMENTSxTOKENS")
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--longest", type=int, default=CHECK_LENGTHS[-1], help="longest prompt of the checks, in tokens")
    options.add_argument("--markdown", type=Path, help="file for a copy of the report")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.model or random_model(Path(temporary), given.shape)
        lengths = [length for length in CHECK_LENGTHS if length <= given.longest]
        dtype = getattr(torch, given.dtype)
        setting = Setting(folder, Qwen3Config.read(folder), dtype, given.step_tokens, given.repeats, lengths)
        lines = []
        for line in run(setting, given.load or LOADS):
            print(line, flush=True)
            lines.append(line)
    if given.markdown:
        given.markdown.write_text("\n".join([*lines, ""]))


def random_model(folder: Path, shape: str) -> Path:
    """Write a model with random weights and an empty vocabulary, which is not used here."""
    vocabulary = folder / "vocabulary.json"
    vocabulary.write_text("{}")
    return qwen.write_model(folder, shape=shape, dtype="bfloat16", tokenizer=vocabulary)


if __name__ == "__main__":
    main()
