"""Accuracy in 16 bits: the full 0.6B shape in bfloat16 is as accurate as transformers in bfloat16, both against fp32.

The weights are random, and exactly representable in both dtypes, so all error is the computation's. A log-odds is the difference
of two logits. Besides yes and no, the test uses many other pairs of words of the same final states: the error of one pair over a
few prompts is too noisy for a bound of ten percent. Over all pairs, the ratio varies by some three percent between draws of
prompts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from shortlist.engine.native.runner import Runner, pack_prompts
from shortlist.types import TokenPrompt
from tests.support import qwen
from tests.support.native import Reference, model_of, prefix_of, prompt_of

MAX_RATIO = 1.1
NUM_PAIRS = 256
LENGTHS = [1, 8, 16, 24, 32, 48, 64, 96, 200]

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(600),  # less than a minute on a free core; it may not be free
    pytest.mark.xdist_group("accuracy"),  # measured once
]


@dataclass(frozen=True)
class Measured:
    """Log-odds of every prompt (rows) for every pair of words (columns; the first is yes and no)."""

    exact: Tensor
    transformers: Tensor
    native: Tensor
    native_scores: list[float]

    def error(self, found: Tensor) -> Tensor:
        """Root mean square over the prompts, for every pair."""
        return (found - self.exact).square().mean(dim=0).sqrt()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Iterator[Path]:
    """A model of 1.2 GB, deleted after the tests."""
    written = qwen.write_model(tmp_path_factory.mktemp("full"), shape="0.6b", dtype="bfloat16", tokenizer=tokenizer_path)
    yield written
    shutil.rmtree(written)


@pytest.fixture(scope="module")
def measured(folder: Path, one_thread: None) -> Measured:
    prefix = prefix_of(16)
    prompts = [prompt_of(prefix, length, seed=index) for index, length in enumerate(LENGTHS)]
    draw = torch.Generator().manual_seed(0)
    others = torch.randint(0, qwen.FIRST_ADDED, (NUM_PAIRS - 1, 2), generator=draw)
    pairs = torch.cat([torch.tensor([[qwen.YES, qwen.NO]]), others])
    native, native_scores = _native(folder, prompts, pairs)
    return Measured(
        exact=_transformers(folder, prompts, pairs, torch.float32),
        transformers=_transformers(folder, prompts, pairs, torch.bfloat16),
        native=native,
        native_scores=native_scores,
    )


def _transformers(folder: Path, prompts: list[TokenPrompt], pairs: Tensor, dtype: torch.dtype) -> Tensor:
    reference = Reference(folder, dtype=dtype)
    logits = (reference.logits(prompt) for prompt in prompts)
    return torch.stack([found[pairs[:, 0]] - found[pairs[:, 1]] for found in logits])


def _native(folder: Path, prompts: list[TokenPrompt], pairs: Tensor) -> tuple[Tensor, list[float]]:
    model = model_of(folder, dtype=torch.bfloat16)
    runner = Runner(model, max_model_len=model.config.max_positions)
    pack = pack_prompts(prompts)
    assert pack.order == tuple(range(len(prompts)))
    with torch.inference_mode():
        states = runner._forward.states(pack)
        scores = [float(score) for score in runner._log_odds(states)]
    with safe_open(str(folder / "model.safetensors"), framework="pt") as file:
        words = file.get_tensor("model.embed_tokens.weight")[pairs].float()
    return states.clone() @ (words[:, 0] - words[:, 1]).T, scores


@pytest.mark.full
def test_error_in_bfloat16_is_within_the_bound(measured: Measured) -> None:
    native, transformers = (
        measured.error(found).square().mean().sqrt().item() for found in (measured.native, measured.transformers)
    )
    print(f"root mean square error of log-odds in bfloat16: native {native:.4f}, transformers {transformers:.4f}")
    assert measured.exact.std() > 1, "scores that hardly differ would hide an error"
    assert 0.001 < native <= MAX_RATIO * transformers, f"native {native:.4f}, transformers {transformers:.4f}"


def test_no_prompt_is_far_worse_than_the_rest(measured: Measured) -> None:
    """The mean would hide an error of long prompts only, of short ones only, or of the first in a sequence."""
    native, transformers = (
        (found - measured.exact).square().mean(dim=1).sqrt() for found in (measured.native, measured.transformers)
    )
    assert (native <= 1.5 * transformers).all(), (native / transformers).tolist()


def test_yes_and_no_are_one_pair_among_the_others(measured: Measured) -> None:
    """The bound on all pairs also holds for the pair that is served."""
    assert measured.native_scores == pytest.approx(measured.native[:, 0].tolist(), abs=1e-3)
    errors = measured.error(measured.native)
    assert errors[0] <= 2 * errors.square().mean().sqrt()
