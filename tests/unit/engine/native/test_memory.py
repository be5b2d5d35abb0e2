"""The memory plan is an upper bound of the memory that a batch uses."""

from __future__ import annotations

import gc
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from shortlist.engine.native import kernel_selection
from shortlist.engine.native.cuda.long_attention import LONG_TOKENS
from shortlist.engine.native.memory import BatchLimits, activation_bytes, weight_bytes
from shortlist.engine.native.model_config import Qwen3Config
from tests.support import native
from tests.support.fixtures import ModelFactory


def peak_bytes(run: profile) -> int:
    """Return the peak of allocated bytes, by torch's record of every allocation and release."""
    profiler: Any = run.profiler
    changes = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [int(event.nbytes()) for event in sorted(changes, key=lambda event: event.start_ns())]
    return max(accumulate(sizes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [[2000], [500] * 8, [60] * 60])
def test_plan_is_a_tight_upper_bound(make_model: ModelFactory, dtype: torch.dtype, lengths: list[int]) -> None:
    model = native.model_of(make_model(kind="reranker"), dtype=dtype)
    prompts = [native.prompt_of(native.prefix_of(0), length, seed) for seed, length in enumerate(lengths)]
    gc.collect()  # garbage of other tests would be released, and counted, during the profile
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        native.scores(model, prompts)
    limits = BatchLimits(sum(lengths), len(lengths), max(lengths))
    config, dtype_name = Qwen3Config.read(make_model(kind="reranker")), str(dtype).removeprefix("torch.")
    planned, _ = activation_bytes(config, dtype=dtype_name, device="cpu", limits=limits)
    assert peak_bytes(run) <= planned, peak_bytes(run) / planned
    assert planned <= 3 * peak_bytes(run), planned / peak_bytes(run)


def test_plan_is_a_tight_upper_bound_on_a_gpu(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocations are the same in Triton's interpreter, on the CPU."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from tests.support import interpreter

    monkeypatch.setattr(kernel_selection, "can_launch", lambda *_: True)
    folder, lengths = make_model(kind="reranker"), [20, 10]
    runner = interpreter.runner_of(interpreter.model_of(folder, dtype=torch.bfloat16))
    prompts = [native.prompt_of(native.prefix_of(0), length, seed) for seed, length in enumerate(lengths)]
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        interpreter.scores(runner, prompts)
    limits = BatchLimits(sum(lengths), len(lengths), max(lengths))
    planned, formula = activation_bytes(Qwen3Config.read(folder), dtype="bfloat16", device="cuda", limits=limits)
    assert "at once" in formula
    assert peak_bytes(run) <= planned, peak_bytes(run) / planned
    assert planned <= 3 * peak_bytes(run), planned / peak_bytes(run)


def test_plan_in_8_bits_includes_quantised_inputs_and_outputs(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By arithmetic alone: on a CPU, torch's own 8-bit products take memory that they do not take on a GPU."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(kernel_selection, "can_launch", lambda *_: True)
    config, limits = Qwen3Config.read(make_model(kind="reranker")), BatchLimits(30, 2, 20)
    (full, _), (rounded, formula) = (
        activation_bytes(config, dtype=dtype, device="cuda", limits=limits) for dtype in ("bfloat16", "float8_e4m3fn")
    )
    query = config.num_heads * config.head_dim
    states = 2 * 30 * (2 * config.hidden_size + max(config.hidden_size, query))
    assert rounded - full == states + 2 * 30 * config.intermediate_size
    assert "in 8 bits" in formula


@pytest.mark.parametrize(("longest", "laid_out"), [(4096, 0), (4097, 5120), (32_768, 32_768)])
def test_plan_includes_one_long_document(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch, longest: int, laid_out: int
) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(kernel_selection, "can_launch", lambda *_: True)
    config, limits = Qwen3Config.read(make_model(kind="reranker")), BatchLimits(40_000, 2, longest)
    plain, _ = activation_bytes(config, dtype="bfloat16", device="cuda", limits=limits)
    monkeypatch.setattr(kernel_selection, "long_tokens", lambda *_: LONG_TOKENS)
    planned, formula = activation_bytes(config, dtype="bfloat16", device="cuda", limits=limits)
    assert planned - plain == laid_out * 2 * 2 * (config.num_heads + config.num_kv_heads) * config.head_dim
    assert ("long document" in formula) == bool(laid_out)


def test_8_bit_weights_take_half_except_for_the_embedding(make_model: ModelFactory) -> None:
    config = Qwen3Config.read(make_model(kind="reranker"))
    embedding = config.vocab_size * config.hidden_size
    rounded = weight_bytes(config, embedding + 1_000_000, "float8_e4m3fn")
    assert 2 * embedding + 1_000_000 < rounded < 2 * embedding + 1_100_000
