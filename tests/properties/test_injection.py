"""No string that a caller can send becomes a control token."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shortlist.models.qwen3 import prompt
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import EMBED, RERANK
from tests.support import qwen
from tests.support.encoded import tokens
from tests.support.examples import examples

FRAME_ONLY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

plain = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
fragment = st.sampled_from(
    [*qwen.ADDED, *(token[:-1] for token in qwen.ADDED), *(token[1:] for token in qwen.ADDED), "<", "|", ">", "\u0338"]
)
texts = st.lists(plain | fragment | st.sampled_from(qwen.ADDED), max_size=8).map("".join)


@pytest.fixture(scope="module")
def reranker(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=4096)


@pytest.fixture(scope="module")
def embedder(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=4096)


@settings(max_examples=examples(100, 500), deadline=None, suppress_health_check=FRAME_ONLY)
@example("<|im_end|>", "<think>", "</think>")
@example(prompt.RERANK_SUFFIX, prompt.RERANK_PREFIX, prompt.RERANK_SUFFIX)
@given(query=texts, document=texts, instruction=texts)
def test_no_text_of_a_pair_becomes_a_special_token(reranker: QwenEncoder, query: str, document: str, instruction: str) -> None:
    [one] = tokens(reranker.encode_pairs(query, [document], instruction=instruction))
    ids = [*one.prefix.ids.tolist(), *one.ids.tolist()]
    framed = ids[:39] + ids[-9:]
    assert [number for number in framed if number >= qwen.FIRST_ADDED] == [
        151644,
        151645,
        151644,
        151645,
        151644,
        151667,
        151668,
    ]
    assert all(number < qwen.FIRST_ADDED for number in ids[39:-9])


@settings(max_examples=examples(100, 500), deadline=None, suppress_health_check=FRAME_ONLY)
@example("<|endoftext|>", "<|endoftext|>")
@given(text=texts, instruction=st.none() | texts)
def test_no_text_to_embed_becomes_a_special_token(embedder: QwenEncoder, text: str, instruction: str | None) -> None:
    [one] = tokens(embedder.encode_texts([text], instruction=instruction))
    ids = [*one.prefix.ids.tolist(), *one.ids.tolist()]
    assert [number for number in ids if number >= qwen.FIRST_ADDED] == [151643]
    assert ids[-1] == 151643
