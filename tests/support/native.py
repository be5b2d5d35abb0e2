"""Building blocks for tests of the native engine: prompts of random ids, batches, and what transformers says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Qwen3Model
from transformers.utils import logging

from shortlist.engine.native.kernel_selection import select_kernels
from shortlist.engine.native.layout import Layout, PackedSpan
from shortlist.engine.native.linears import PlainLinears
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.types import (
    RERANK,
    Batch,
    Operation,
    TokenPrefix,
    TokenPrompt,
    Value,
    WorkItem,
)
from tests.support import qwen

logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def prefix_of(length: int, seed: int = 0) -> TokenPrefix:
    return TokenPrefix(_ids(length, seed))


def prompt_of(prefix: TokenPrefix, length: int, seed: int = 1) -> TokenPrompt:
    return TokenPrompt(prefix, _ids(length, seed))


def _ids(length: int, seed: int) -> Any:
    return np.random.default_rng((length, seed)).integers(0, qwen.FIRST_ADDED, length).astype(np.int32)


def run_batch(runner: Runner, batch: Batch) -> list[Value]:
    """Return the values of a batch."""
    return runner.run(batch.operation, batch.prompts)


def batch_of(prompts: Iterable[TokenPrompt], task: Operation = RERANK) -> Batch:
    return Batch(task, tuple(WorkItem(1, index, prompt) for index, prompt in enumerate(prompts)))


def layout_of(*requests: tuple[int, list[int]]) -> Layout:
    """Requests as (head length, prompt lengths), packed one after another."""
    spans, row = [], 0
    for num_prefix, lengths in requests:
        prefix = range(row, row + num_prefix)
        if num_prefix:
            spans.append(PackedSpan(prefix, prefix, range(0), is_scored=False))
        row = prefix.stop
        for length in lengths:
            own = range(row, row + length)
            spans.append(PackedSpan(own, own, prefix if num_prefix else range(0), is_scored=True))
            row = own.stop
    return Layout(tuple(spans), row)


def model_of(
    folder: Path,
    *,
    task: Operation = RERANK,
    dtype: torch.dtype = torch.float32,
    chunk_tokens: int | None = None,
    is_pruned: bool = True,
    is_portable: bool = False,
) -> Qwen3:
    """Return a model in the forms that this machine computes with, or in plain torch."""
    config, place = Qwen3Config.read(folder), torch.device("cpu")
    forms = None if is_portable else select_kernels(config, dtype, place)
    prepare, kept = (forms.prepare, forms.dtype) if forms else (PlainLinears, dtype)
    weights = load_weights(folder, config, operation=task, dtype=kept, device=place, prepare=prepare)
    return Qwen3(config, weights, begin=forms.begin if forms else None, max_chunk_tokens=chunk_tokens, is_pruned=is_pruned)


def run(model: Qwen3, prompts: Sequence[TokenPrompt], task: Operation = RERANK) -> list[Value]:
    return Runner(model, max_model_len=model.config.max_positions).run(task, list(prompts))


def scores(model: Qwen3, prompts: Sequence[TokenPrompt]) -> list[float]:
    found = run(model, prompts)
    assert all(isinstance(score, float) for score in found)
    return [score for score in found if isinstance(score, float)]


class Reference:
    """What transformers computes, one prompt at a time."""

    def __init__(self, folder: Path, kind: qwen.Kind = "reranker", dtype: torch.dtype = torch.float32) -> None:
        classes: dict[str, Any] = {
            "reranker": AutoModelForCausalLM,
            "seqcls": AutoModelForSequenceClassification,
            "embedder": Qwen3Model,
        }
        self._model = classes[kind].from_pretrained(folder, dtype=dtype).eval()

    def score(self, prompt: TokenPrompt) -> float:
        logits = self.logits(prompt)
        return float(logits[qwen.YES] - logits[qwen.NO])

    def logits(self, prompt: TokenPrompt) -> torch.Tensor:
        """Of the token after the prompt: [vocabulary] fp32, whatever they were computed in."""
        logits: torch.Tensor = self._call(prompt, logits_to_keep=1).logits[0, -1].float()
        return logits

    def classify(self, prompt: TokenPrompt) -> float:
        return float(self._call(prompt).logits[0, 0])

    def embed(self, prompt: TokenPrompt) -> Any:
        state = self._call(prompt).last_hidden_state[0, -1].float()
        return torch.nn.functional.normalize(state, dim=0).numpy()

    @torch.inference_mode()
    def _call(self, prompt: TokenPrompt, **options: int) -> Any:
        ids = np.concatenate([prompt.prefix.ids, prompt.ids]).astype(np.int64)
        return self._model(torch.from_numpy(ids)[None], use_cache=False, **options)
