"""Print the largest absolute values in a model, layer by layer. `--dtype auto` uses the same values on a GPU; this needs none.

    python -m benchmarks.activations MODEL

Runs the calibration texts in fp32 with the model's own weights. A row has the absmax of a layer's weights, and of the results
of its norms, products and sums. The values of a model with random weights mean nothing.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from shortlist.engine.native.dynamic_range import SAFE, AbsMax, absmax
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import load_weights
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.selftest_data import calibration_texts
from shortlist.types import RERANK


def model_absmax(folder: Path) -> AbsMax:
    config = Qwen3Config.read(folder)
    encoder = QwenEncoder(folder / "tokenizer.json", operation=RERANK, max_model_len=config.max_positions)
    load = partial(load_weights, folder, config, operation=RERANK, answer_ids=lambda: encoder.answer_ids)
    return absmax(load, config, calibration_texts(encoder), device=torch.device("cpu"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    absmaxes = model_absmax(options.parse_args().model)
    columns = list(absmaxes.layers[0])
    print(f"| layer | {' | '.join(columns)} |\n| ---: |{' ---: |' * len(columns)}")
    for number, layer in enumerate(absmaxes.layers):
        print(f"| {number} | {' | '.join(f'{layer[column]:,.1f}' for column in columns)} |")
    dtype = "float16" if absmaxes.fits_float16 else "bfloat16"
    print(f"\nAbsmax of the embedding: {absmaxes.embedding:,.1f}.")
    print(f"Absmax of the model: {absmaxes.greatest:,.0f}; safe in float16 below {SAFE:,.0f}: {dtype}.")


if __name__ == "__main__":
    main()
