"""How a model that sentence-transformers has loaded reads texts: what the library took from its folder, for the encoder."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SparseEncoder

from shortlist.text.model_prompts import Prompts
from shortlist.text.text_rules import TextRules
from shortlist.types import InputType, TextPrompt, Vector

FRAME_MARGIN = 4
"""Tokens that a chat template may have besides those around empty texts, with which its own characters may merge."""

MAX_TOKENS = 1 << 24
"""Larger limits stand for none: a tokenizer without a limit names 1e30."""

TASKS = {InputType.QUERY: "query", InputType.DOCUMENT: "document"}
"""The names of a model's routes."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the library applies to a text: a prompt, and the route of its type."""

    prompt: str
    input_type: InputType


def by_route(prompts: Sequence[TextPrompt]) -> Iterator[tuple[Route, list[str]]]:
    """Yield the texts in order, consecutive ones of one route together."""
    for route, group in groupby(prompts, key=lambda each: Route(each.prompt, each.input_type)):
        yield route, [each.text for each in group]


def similarity(one: Vector, other: Vector, name: str) -> float:
    """Return the similarity of two vectors, larger for more similar ones, by the library's name of the function."""
    if name == "euclidean":
        return -float(np.linalg.norm(one - other))
    if name == "manhattan":
        return -float(np.abs(one - other).sum())
    dot = float(one @ other)
    if name == "dot":
        return dot
    length = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return dot / length if length else 0.0


def prompts_of(model: SentenceTransformer | SparseEncoder) -> Prompts:
    """Return the prompts that the folder states. The library adds empty ones, which are kept: their names are known."""
    return Prompts({name: prompt or "" for name, prompt in model.prompts.items()}, model.default_prompt_name)


def rules_of(model: Any, prompts: Prompts, *, reads_pairs: bool) -> TextRules:
    """Return how a loaded model reads texts."""
    empty: Any = ("", "") if reads_pairs else ""
    num_special = int(model.preprocess([empty], prompt="")["input_ids"].shape[-1])
    transformer, tokenizer = model[0], model.tokenizer
    has_template = "message" in getattr(transformer, "modality_config", {})
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return TextRules(
        tokenizer=b"" if backend is None else backend.to_str().encode(),
        reads_pairs=reads_pairs,
        num_special=num_special + (FRAME_MARGIN if has_template else 0),
        truncates=not has_template,
        prompts=prompts,
        limits={
            input_type: limit
            for input_type, task in TASKS.items()
            if (limit := getattr(transformer, f"{task}_length", None)) is not None
        },
    )


def own_limit(model: Any) -> int | None:
    """Return the tokens that a model can read: what its folder says, but at most its positions. None if neither is limited.

    Positions of RoBERTa and its kind start after the padding id. Source: `create_position_ids_from_input_ids` in transformers.
    """
    limits = [model.max_seq_length] if model.max_seq_length else []
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        if isinstance(positions, torch.nn.Embedding):
            padding = getattr(module, "padding_idx", None)
            limits.append(positions.num_embeddings - (padding + 1 if isinstance(padding, int) else 0))
    smallest = min(limits, default=MAX_TOKENS)
    return smallest if smallest < MAX_TOKENS else None


def set_pad_token(model: Any) -> bool:
    """Take the padding id from the tokenizer if the configuration lacks it; return whether there is one."""
    config, tokenizer = model[0].auto_model.config, model.tokenizer
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    return tokenizer.pad_token_id is not None


class LoadReports(logging.Handler):
    """Collects the names of weights that transformers does not find in a checkpoint, from its reports.

    Poolers are left out: sentence-transformers does not use them.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.missing: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Read a report. Source: `log_state_dict_report` in transformers 5: a table of names and their status."""
        rows = (re.sub(r"\x1b\[[0-9;]*m", "", line).split("|") for line in record.getMessage().splitlines())
        names = [row[0].strip() for row in rows if len(row) > 1 and row[1].strip() == "MISSING"]
        self.missing += [name for name in names if not name.startswith("pooler.")]
