"""Whatever the text: every window is an official prompt, points at the text it claims, and together they leave nothing out."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import RERANK, OverflowPolicy, TokenPrompt, Truncation
from tests.support.encoded import tokens
from tests.support.examples import examples
from tests.support.texts import AWKWARD, SCRIPTS

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
NUM_SUFFIX = 9

words = st.sampled_from(sorted({word for text in SCRIPTS.values() for word in text.split()}))
pieces = words | st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
documents = st.lists(pieces, min_size=4, max_size=80).map(" ".join) | st.lists(pieces, min_size=4, max_size=80).map("".join)


@pytest.fixture(scope="module")
def reranker(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=4096)


@settings(max_examples=examples(80, 500), deadline=None, suppress_health_check=QUIET)
@given(document=documents, size=st.integers(2, 40))
def test_windows_of_any_text(reranker: QwenEncoder, document: str, size: int) -> None:
    [found] = reranker.encode_pairs(
        "query", [document], on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=size)
    )
    if not found.spans:
        assert len(found.prompts) == 1
        return
    assert (found.spans[0].start, found.spans[-1].end) == (0, len(document))
    for one, following in pairwise(found.spans):
        assert one.start < following.start
        assert not document[one.end : following.start].strip()
    for prompt, span in zip(found.prompts, found.spans, strict=True):
        assert isinstance(prompt, TokenPrompt)
        [official] = tokens(
            reranker.encode_pairs("query", [document[span.start :]], truncation=Truncation(max_tokens_per_doc=size))
        )
        assert prompt.ids.tolist() == official.ids.tolist()
        assert prompt.num_own_tokens <= size + NUM_SUFFIX


@settings(max_examples=examples(80, 500), deadline=None, suppress_health_check=QUIET)
@given(document=documents.map(lambda text: unicodedata.normalize("NFC", text)), size=st.integers(2, 40))
def test_span_is_the_text_that_was_read(reranker: QwenEncoder, document: str, size: int) -> None:
    """A letter of several tokens may be cut in half at a window's end; it then belongs to the span, half read."""
    [found] = reranker.encode_pairs(
        "query", [document], on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=size)
    )
    for prompt, span in zip(found.prompts, found.spans, strict=False):
        assert isinstance(prompt, TokenPrompt)
        view = reranker.view(prompt)
        read = reranker._tokenizer.text_of(prompt.ids[:-NUM_SUFFIX])
        claimed = unicodedata.normalize("NFC", " " + document[span.start : span.end])
        half_read = read.rstrip("\ufffd")
        assert claimed.startswith(half_read)
        assert len(claimed) - len(half_read) <= 1
        assert view.text.endswith("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
