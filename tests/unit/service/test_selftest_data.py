"""Calibration texts: many scripts and lengths, in the model's own prompts; none for a small token limit."""

from __future__ import annotations

import unicodedata
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

import numpy as np

from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.selftest_data import SENTENCES, calibration_texts
from shortlist.types import EMBED, RERANK, Operation
from tests.support.fixtures import ModelFactory, make_model, tokenizer_path

__all__ = ["make_model", "tokenizer_path"]


def encoder_of(path: Path, task: Operation = RERANK, max_model_len: int = 4096) -> QwenEncoder:
    return QwenEncoder(path, operation=task, max_model_len=max_model_len)


def test_prompts_of_a_reranker_have_the_template_and_many_lengths(tokenizer_path: Path) -> None:
    encoder = encoder_of(tokenizer_path)
    prompts = calibration_texts(encoder)
    assert all(tuple(prompt.ids[-len(encoder.suffix_ids) :]) == encoder.suffix_ids for prompt in prompts)
    lengths = [prompt.num_own_tokens - len(encoder.suffix_ids) for prompt in prompts]
    assert min(lengths) <= 1
    assert max(lengths) > 1000
    assert len({id(prompt.prefix) for prompt in prompts}) == 1


def test_prompts_of_an_embedder_have_no_template(make_model: ModelFactory) -> None:
    prompts = calibration_texts(encoder_of(make_model(kind="embedder") / "tokenizer.json", EMBED))
    assert len(prompts) > len(SENTENCES)
    assert not any(prompt.prefix.num_tokens for prompt in prompts)


def test_texts_are_of_ten_scripts() -> None:
    scripts = {unicodedata.name(letter).partition(" ")[0] for text in SENTENCES for letter in text if letter.isalpha()}
    assert len(scripts) >= 10


def test_model_that_reads_too_little_is_not_shown_anything(tokenizer_path: Path) -> None:
    assert calibration_texts(encoder_of(tokenizer_path, max_model_len=60)) == ()


def test_prompts_reach_another_process_as_they_are(tokenizer_path: Path) -> None:
    prompts = calibration_texts(encoder_of(tokenizer_path))
    here, run_in_engine = Pipe()
    here.send(partial(tuple, prompts))
    arrived = run_in_engine.recv()()
    assert len({id(prompt.prefix) for prompt in arrived}) == 1
    assert all(np.array_equal(one.ids, other.ids) for one, other in zip(prompts, arrived, strict=True))
