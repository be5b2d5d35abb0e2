"""How large a model's numbers get: whether float16, which ends at 65,504, can hold them with room to spare.

    python -m benchmarks.activations MODEL

Texts in English and Chinese, from one token to a thousand, are computed in float32 with the model's own weights; of every layer
the greatest numbers that a norm, a product or a sum leaves behind are shown. Below 16,384 everywhere `--dtype float16` is safe,
and eight times as exact as bfloat16; weights drawn at random say nothing. Needs no GPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from tokenizers import Tokenizer
from torch import Tensor

from shortlist.bench.checks import check_set
from shortlist.bench.corpus import sentences
from shortlist.bench.loads import Writer
from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.linears import Matrices, PlainLinears
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.text.tokenizer import QwenEncoder
from shortlist.types import Batch, Task, WorkItem

SAFE: Final = 2.0**14
COLUMNS: Final = ("normalised", "queries", "keys", "values", "after attention", "inside the MLP", "after the MLP")


class Watched:
    """`Linears` that remember the greatest number of each of their results."""

    def __init__(self, matrices: Matrices) -> None:
        self.greatest = dict.fromkeys(COLUMNS, 0.0)
        self._plain = PlainLinears(matrices)

    def queries(self, normed_tW: Tensor) -> Tensor:
        return self._seen("queries", self._plain.queries(self._seen("normalised", normed_tW)))

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self._plain.keys(normed_tW)
        return self._seen("keys", keys), self._seen("values", values)

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        return self._seen("after attention", self._plain.add_attended(attended_tX, hidden_tW))

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        matrices = self._plain.matrices
        self._seen("normalised", normed_tW)
        gate, up = (self._seen("inside the MLP", F.linear(normed_tW, each)) for each in (matrices.gate, matrices.up))
        self._seen("inside the MLP", F.silu(gate) * up)
        return self._seen("after the MLP", self._plain.add_mlp(normed_tW, hidden_tW))

    def _seen(self, column: str, result: Tensor) -> Tensor:
        self.greatest[column] = max(self.greatest[column], float(result.abs().max()))
        return result


def watched(folder: Path) -> list[Watched]:
    """Return every layer's products, after all texts have passed through them."""
    config = Qwen3Config.read(folder)
    encoder = QwenEncoder(folder / "tokenizer.json", task=Task.RERANK, max_model_len=min(8192, config.max_positions))
    weights = load_weights(
        folder,
        config,
        task=Task.RERANK,
        dtype=torch.float32,
        device=torch.device("cpu"),
        answer_ids=lambda: encoder.answer_ids,
        prepare=Watched,
    )
    # Unpruned, so that the last layer is seen whole.
    runner = Runner(Qwen3(config, weights, is_pruned=False), max_model_len=config.max_positions)
    for request in check_set(Writer(Tokenizer.from_file(str(folder / "tokenizer.json")), sentences()), seed=0):
        encoded = encoder.encode_pairs(request.query, request.documents)
        items = [WorkItem(0, index, each.prompts[0]) for index, each in enumerate(encoded)]
        runner.run(Batch(Task.RERANK, tuple(items)))
    return [layer.linears for layer in weights.layers if isinstance(layer.linears, Watched)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    layers = watched(options.parse_args().model)
    print(f"| layer | {' | '.join(COLUMNS)} |\n| ---: |{' ---: |' * len(COLUMNS)}")
    for number, layer in enumerate(layers):
        print(f"| {number} | {' | '.join(f'{layer.greatest[column]:,.1f}' for column in COLUMNS)} |")
    greatest = max(max(layer.greatest.values()) for layer in layers)
    verdict = "float16 is safe" if greatest < SAFE else "use bfloat16"
    print(f"\nThe greatest is {greatest:,.0f}, of {SAFE:,.0f} that are safe: {verdict}.")


if __name__ == "__main__":
    main()
