"""Tests the FLOPs of a model, and the command that measures the machine's rate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.engines.flops import attention_flops_per_pair, linear_flops_per_token
from shortlist.engine.native.linears import Matrices
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import load_weights
from shortlist.types import RERANK
from tests.support import qwen
from tests.support.fixtures import ModelFactory


def test_linear_flops_count_all_matrices(make_model: ModelFactory) -> None:
    config, sizes = Qwen3Config.read(make_model()), []

    def count(matrices: Matrices) -> object:
        sizes.append(sum(getattr(matrices, name).numel() for name in Matrices.__slots__))
        return None

    load_weights(make_model(), config, operation=RERANK, dtype=torch.float32, device=torch.device("cpu"), prepare=count)  # type: ignore[arg-type]
    assert linear_flops_per_token(config) == 2 * sum(sizes)


def test_flops_match_the_published_size(tmp_path: Path) -> None:
    """0.44 billion numbers in the layers of Qwen3-Reranker-0.6B; 28 layers of 16 heads of 128."""
    fields = qwen.config_of("reranker", qwen.SHAPES["0.6b"], "bfloat16", tied=True)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = Qwen3Config.read(tmp_path)
    assert linear_flops_per_token(config) == 880_803_840
    assert attention_flops_per_pair(config) == 4 * 28 * 16 * 128


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_command_prints_one_line(make_model: ModelFactory, dtype: str) -> None:
    command = [sys.executable, "-m", "benchmarks.engines.flops", str(make_model()), "--dtype", dtype, "--device", "cpu"]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert measured["flops_per_s"] > 1e6
    assert (measured["dtype"], measured["linear_flops_per_token"] > 0, measured["attention_flops_per_pair"] > 0) == (
        dtype,
        True,
        True,
    )
