"""Our engine on an NVIDIA GPU: first whether it is right, then how fast it is.

    python -m benchmarks.gpu [MODEL] [--dtype bfloat16] [--step-tokens 8192] [--load 10x100 --load 1x32000] [--markdown FILE]

MODEL is the folder of a Qwen3 reranker; without one, weights of the 0.6B shape are drawn at random, which are as fast. Prompts
are ids drawn at random, so no vocabulary is needed: torch, Triton, safetensors and transformers are. Wrong scores are not
timed: the exit code is 1, and the last lines say what was found.

The kernels by themselves are tested on the same machine by TRITON_INTERPRET=0 python -m pytest tests/unit/engine/native/cuda.
Where there is no GPU, this script can be rehearsed, in a minute:

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
from shortlist.types import Batch, Task, TokenPrefix, TokenPrompt, WorkItem
from tests.support import qwen

DEVICE: Final = torch.device("cpu" if knobs.runtime.interpret else "cuda")
LOADS: Final = ("10x100", "100x300", "20x2000", "1x32000")
GATE: Final = 1.1
PREFIX_TOKENS: Final = 80
"""Of the frame, the default instruction and a query of twenty tokens, rounded."""

SUFFIX_TOKENS: Final = 9
REQUESTS: Final = 4
"""Different ones, in turns."""

CHECK_LENGTHS: Final = (1, 16, 64, 100, 200, 300, 500, 1000, 2000, 8000)


@dataclass(frozen=True)
class Setting:
    folder: Path
    config: Qwen3Config
    dtype: torch.dtype
    step_tokens: int
    repeats: int
    check_lengths: Sequence[int]

    def model(self) -> Qwen3:
        weights = load_weights(self.folder, self.config, task=Task.RERANK, dtype=self.dtype, device=DEVICE, prepare=CudaLinears)
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


def batch_of(prompts: Iterable[TokenPrompt]) -> Batch:
    return Batch(Task.RERANK, tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts)))


def steps_of(prompts: Sequence[TokenPrompt], step_tokens: int) -> Iterator[Batch]:
    """Yield batches of at most so many tokens, the head of each counted, or of one prompt."""
    step: list[TokenPrompt] = []
    num_tokens = PREFIX_TOKENS
    for prompt in prompts:
        if step and num_tokens + prompt.num_tokens > step_tokens:
            yield batch_of(step)
            step, num_tokens = [], PREFIX_TOKENS
        step.append(prompt)
        num_tokens += prompt.num_tokens
    yield batch_of(step)


# -- is it right? --


def check(setting: Setting, model: Qwen3) -> Iterator[tuple[str, bool, str]]:
    """Yield what was checked, whether it is right, and the numbers that say so."""
    yield attention_check(setting)
    prefix = prefix_of(PREFIX_TOKENS, 1)
    prompts = [TokenPrompt(prefix, ids_of(length, index)) for index, length in enumerate(setting.check_lengths)]
    eager, graphed = (setting.runner(model, has_graphs=has_graphs) for has_graphs in (False, True))
    found = scores(eager, prompts)
    exact = reference(setting.folder, torch.float32, prompts)
    theirs = rms(reference(setting.folder, setting.dtype, prompts), exact)
    ours = rms(found, exact)
    bound = max(GATE * theirs, 1e-4)
    yield "error of log-odds against transformers in fp32", ours <= bound, f"ours {ours:.5f}, theirs {theirs:.5f}"
    alone = [scores(eager, [prompt])[0] for prompt in prompts]
    yield "neighbours change nothing but rounding", rms(alone, found) <= bound, f"{rms(alone, found):.5f}"
    replayed = [[scores(graphed, [prompt])[0] for prompt in prompts] for _ in range(3)][-1]
    yield "graphs and their padding change nothing but rounding", rms(replayed, alone) <= bound, f"{rms(replayed, alone):.5f}"
    yield "the same batch twice is equal to the bit", scores(eager, prompts) == found, ""


def attention_check(setting: Setting) -> tuple[str, bool, str]:
    """The kernel against plain torch in fp32, and against torch's own varlen attention where it is there."""
    config, prefix = setting.config, prefix_of(PREFIX_TOKENS, 1)
    layout = pack_prompts([TokenPrompt(prefix, ids_of(length, 1)) for length in setting.check_lengths]).layout
    draw = torch.Generator(DEVICE).manual_seed(0)
    q, k, v = (
        torch.randn(layout.num_tokens, heads, config.head_dim, generator=draw, device=DEVICE).to(setting.dtype)
        for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)
    )
    exact = attention(q.float(), k.float(), v.float(), layout)
    group = config.num_heads // config.num_kv_heads
    blocks = launch.blocks_of(config.head_dim, setting.dtype, group=group)
    tiles = torch.from_numpy(tiles_of(layout.spans, blocks.rows // group)).to(DEVICE)
    out = q.clone().flatten(1)
    launch.attend(out, k.flatten(1), v.flatten(1), tiles, blocks, width=config.head_dim)
    ours, plain = (rms_of(each.float() - exact) for each in (out.view_as(q), attention(q, k, v, layout)))
    theirs = rms_of(varlen(q, k, v, layout).float() - exact) if DEVICE.type == "cuda" and q.dtype != torch.float32 else plain
    is_right = ours <= 1.5 * max(theirs, plain) + 1e-6
    return "attention kernel against fp32", is_right, f"ours {ours:.2e}, plain torch {plain:.2e}, varlen_attn {theirs:.2e}"


def varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: Any) -> torch.Tensor:
    """Torch's varlen attention, of which every sequence is a prompt with its head; heads repeated, as torch 2.11 wants them."""
    from torch.nn.attention.varlen import varlen_attn

    rows = [[*span.prefix, *span.rows] for span in layout.spans]
    ends = torch.tensor(np.cumsum([0, *map(len, rows)]), dtype=torch.int32, device=DEVICE)
    at = torch.tensor([row for each in rows for row in each], device=DEVICE)
    groups = q.shape[1] // k.shape[1]
    keys, values = (each.repeat_interleave(groups, dim=1)[at] for each in (k, v))
    longest = max(map(len, rows))
    is_old = "is_causal" in inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"is_causal": True} if is_old else {"window_size": (-1, 0)}
    found: Any = varlen_attn(q[at], keys, values, ends, ends, longest, longest, **causal)
    out = torch.empty_like(q)
    for start, span in zip(ends.tolist(), layout.spans, strict=False):
        first = start + len(span.prefix)
        out[span.rows.start : span.rows.stop] = found[first : first + len(span.rows)]
    return out


def reference(folder: Path, dtype: torch.dtype, prompts: Sequence[TokenPrompt]) -> list[float]:
    """Log-odds by transformers, one prompt at a time."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model = model.to(DEVICE).eval()
    with torch.inference_mode():
        rows = [torch.from_numpy(np.concatenate([each.prefix.ids, each.ids]).astype(np.int64))[None] for each in prompts]
        logits = [model(row.to(DEVICE), use_cache=False, logits_to_keep=1).logits[0, -1].float() for row in rows]
    return [float(each[qwen.YES] - each[qwen.NO]) for each in logits]


def scores(runner: Runner, prompts: Sequence[TokenPrompt]) -> list[float]:
    return [float(score) for score in runner.run(batch_of(prompts)) if isinstance(score, float)]


def rms(found: Sequence[float], exact: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(np.subtract(found, exact)))))


def rms_of(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


# -- how fast is it? --


async def measure(engine: NativeEngine, load: str, setting: Setting) -> str:
    """Return one row of the table: a request alone on an idle engine, and requests one after another without a pause."""
    requests = [request_of(load, seed) for seed in range(REQUESTS)]
    steps = [list(steps_of(request, setting.step_tokens)) for request in requests]
    for request in (*steps, steps[0]):  # kernels are compiled, and graphs recorded, before anything counts
        await answer(engine, request)
    alone = [await timed(answer(engine, steps[number % REQUESTS])) for number in range(setting.repeats)]
    stream = [step for _ in range(setting.repeats) for request in steps for step in request]
    spent_s = await timed(answer(engine, stream))
    num_requests = REQUESTS * setting.repeats
    num_tokens = PREFIX_TOKENS * len(steps[0]) + sum(prompt.num_tokens for prompt in requests[0])
    flops = num_requests * request_flops(setting.config, requests[0], num_tokens)
    return (
        f"| {load} | {statistics.median(alone) * 1e3:.1f} | {min(alone) * 1e3:.1f}-{max(alone) * 1e3:.1f} "
        f"| {num_requests * len(requests[0]) / spent_s:,.0f} | {num_requests * num_tokens / spent_s:,.0f} "
        f"| {flops / spent_s / 1e12:.1f} |"
    )


async def answer(engine: NativeEngine, steps: Iterable[Batch]) -> None:
    """Have steps computed, as many under way as the engine likes."""
    slots = asyncio.Semaphore(engine.info.max_concurrent_batches)

    async def one(step: Batch) -> None:
        async with slots:
            await engine.score(step)

    await asyncio.gather(*map(one, steps))


async def timed(act: Awaitable[None]) -> float:
    started_s = time.perf_counter()
    await act
    return time.perf_counter() - started_s


def request_flops(config: Qwen3Config, prompts: Sequence[TokenPrompt], num_tokens: int) -> float:
    """Return the arithmetic of one request as it would be without pruning: products, and every token's look at those before."""
    pairs = sum(prompt.num_tokens * (PREFIX_TOKENS + prompt.num_tokens / 2) for prompt in prompts)
    return num_tokens * linear_flops_per_token(config) + pairs * attention_flops_per_pair(config)


# -- --


def run(setting: Setting, loads: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the report; what is wrong ends it."""
    card = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "Triton's interpreter, no GPU: a rehearsal"
    yield f"Machine: {card}, torch {torch.__version__}, Triton {triton.__version__}"
    long = long_tokens(setting.config, setting.dtype, DEVICE)
    by = "our kernel" if long is None else f"cuDNN over documents of more than {long} tokens, else by our kernel"
    yield f"Computed in {setting.dtype}, in steps of {setting.step_tokens} tokens; attention by {by}"
    round_sums_once()
    model = setting.model()
    is_right = True
    for what, is_fine, numbers in check(setting, model):
        is_right &= is_fine
        yield f"- {'right' if is_fine else 'WRONG'}: {what}. {numbers}"
    if not is_right:
        raise SystemExit("Wrong scores are not timed.")
    limit = setting.config.max_positions
    info = EngineInfo(fingerprint="bench", tasks=frozenset({Task.RERANK}), max_model_len=limit, max_concurrent_batches=3)
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
    options.add_argument("--shape", choices=sorted(qwen.SHAPES), default="0.6b", help="of random weights")
    options.add_argument("--step-tokens", type=int, default=8192)
    options.add_argument("--load", action="append", metavar="DOCUMENTSxTOKENS")
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--longest", type=int, default=CHECK_LENGTHS[-1], help="of the prompts that are checked")
    options.add_argument("--markdown", type=Path, help="file to write the report to as well")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.model or random_model(Path(place), given.shape)
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
    """Write weights drawn at random, and a file in the place of a vocabulary, which is not used here."""
    nothing = folder / "vocabulary.json"
    nothing.write_text("{}")
    return qwen.write_model(folder, shape=shape, dtype="bfloat16", tokenizer=nothing)


if __name__ == "__main__":
    main()
