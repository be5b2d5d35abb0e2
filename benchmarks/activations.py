"""How large a model's numbers get, layer by layer: what `--dtype auto` decides by on a GPU, without one.

    python -m benchmarks.activations MODEL

The same texts, computed in fp32 with the model's own weights; of every layer the greatest weight, and the greatest number that
a norm, a product or a sum leaves behind. Weights drawn at random say nothing.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from shortlist.engine.native.dynamic_range import SAFE, AbsMax, absmax
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import load_weights
from shortlist.service.selftest_data import calibration_texts
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.types import Task


def looked_at(folder: Path) -> AbsMax:
    config = Qwen3Config.read(folder)
    encoder = QwenEncoder(folder / "tokenizer.json", task=Task.RERANK, max_model_len=config.max_positions)
    load = partial(load_weights, folder, config, task=Task.RERANK, answer_ids=lambda: encoder.answer_ids)
    return absmax(load, config, calibration_texts(encoder), device=torch.device("cpu"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    found = looked_at(options.parse_args().model)
    columns = list(found.layers[0])
    print(f"| layer | {' | '.join(columns)} |\n| ---: |{' ---: |' * len(columns)}")
    for number, layer in enumerate(found.layers):
        print(f"| {number} | {' | '.join(f'{layer[column]:,.1f}' for column in columns)} |")
    verdict = "float16" if found.fits_float16 else "bfloat16"
    print(f"\nThe embedding's greatest is {found.embedding:,.1f}.")
    print(f"The greatest of all is {found.greatest:,.0f}, of {SAFE:,.0f} that are safe: {verdict}.")


if __name__ == "__main__":
    main()
