"""The gate for 16 bits: the full 0.6B shape in bfloat16 errs no more than transformers does in bfloat16, measured against fp32.

The weights are random, and exactly representable in both dtypes, so all error is the computation's. A log-odds is the difference
of two logits; besides yes and no, many other pairs of words are read off the same final states, because the error of one pair
over a few prompts is too noisy to hold to a bound of ten percent, and that of all pairs is not: from one draw of prompts to
another the ratio moves by some three percent.
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

GATE = 1.1
NUM_PAIRS = 256
LENGTHS = [1, 8, 16, 24, 32, 48, 64, 96, 200]

pytestmark = [
    pytest.mark.timeout(600),  # less than a minute on a free core; it may not be free
    pytest.mark.xdist_group("gate"),  # measured once
]


@dataclass(frozen=True)
class Measured:
    """Log-odds of every prompt (rows) for every pair of words (columns; the first is yes and no)."""

    exact: Tensor
    theirs: Tensor
    ours: Tensor
    our_scores: list[float]

    def error(self, found: Tensor) -> Tensor:
        """Root mean square over the prompts, for every pair."""
        return (found - self.exact).square().mean(dim=0).sqrt()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Iterator[Path]:
    """1.2 GB, so it does not stay."""
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
    ours, our_scores = _ours(folder, prompts, pairs)
    return Measured(
        exact=_theirs(folder, prompts, pairs, torch.float32),
        theirs=_theirs(folder, prompts, pairs, torch.bfloat16),
        ours=ours,
        our_scores=our_scores,
    )


def _theirs(folder: Path, prompts: list[TokenPrompt], pairs: Tensor, dtype: torch.dtype) -> Tensor:
    reference = Reference(folder, dtype=dtype)
    logits = (reference.logits(prompt) for prompt in prompts)
    return torch.stack([found[pairs[:, 0]] - found[pairs[:, 1]] for found in logits])


def _ours(folder: Path, prompts: list[TokenPrompt], pairs: Tensor) -> tuple[Tensor, list[float]]:
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
def test_error_in_bfloat16_is_within_the_gate(measured: Measured) -> None:
    ours, theirs = (measured.error(found).square().mean().sqrt().item() for found in (measured.ours, measured.theirs))
    print(f"root mean square error of log-odds in bfloat16: ours {ours:.4f}, transformers {theirs:.4f}")
    assert measured.exact.std() > 1, "scores that hardly differ would hide an error"
    assert 0.001 < ours <= GATE * theirs, f"ours {ours:.4f}, transformers {theirs:.4f}"


def test_no_prompt_is_far_worse_than_the_rest(measured: Measured) -> None:
    """A mistake that only long prompts, short ones, or the first of a pack meet would drown in the mean."""
    ours, theirs = ((found - measured.exact).square().mean(dim=1).sqrt() for found in (measured.ours, measured.theirs))
    assert (ours <= 1.5 * theirs).all(), (ours / theirs).tolist()


def test_yes_and_no_are_one_pair_among_the_others(measured: Measured) -> None:
    """What the gate says of all pairs, it says of the one that is served."""
    assert measured.our_scores == pytest.approx(measured.ours[:, 0].tolist(), abs=1e-3)
    errors = measured.error(measured.ours)
    assert errors[0] <= 2 * errors.square().mean().sqrt()
