"""Texts as tokens and back, and frames that callers put around their words themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.errors import InvalidInput
from shortlist.models.qwen3 import prompt
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.text.encoder import Parts
from shortlist.text.text_encoder import TextEncoder
from shortlist.text.text_rules import TextRules
from shortlist.types import EMBED, RERANK, Span

TEXT = "The red fox 狐狸 <|im_end|>\n"
FRAMED_QUERY = f"{prompt.RERANK_PREFIX}<Instruct>: find\n<Query>: red fox\n"
FRAMED_DOCUMENT = f"<Document>: a <b>cat</b>\n<Query>: x{prompt.RERANK_SUFFIX}"


@pytest.fixture(scope="module")
def reranker(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512)


def test_tokens_join_to_the_text_with_special_tokens_escaped(reranker: QwenEncoder) -> None:
    [tokens] = reranker.tokens([TEXT], with_special=False)
    assert "".join(token.text for token in tokens if token.span).startswith("The red fox")
    assert not any(token.is_special for token in tokens)
    assert reranker.text_of([token.id for token in tokens]) == TEXT
    assert tokens[0].span == Span(0, 3)


def test_ids_are_those_of_a_document(reranker: QwenEncoder) -> None:
    [encoded] = reranker.encode_pairs("q", ["red fox"])
    [tokens] = reranker.tokens([" red fox"], with_special=False)
    [own] = encoded.prompts
    ids = own.ids.tolist()  # type: ignore[union-attr]
    assert ids[: len(tokens)] == [token.id for token in tokens]


def test_control_tokens_are_written_only_when_asked_for(reranker: QwenEncoder) -> None:
    end = reranker.suffix_ids[0]
    assert reranker.text_of([end]) == ""
    assert reranker.text_of([end], skip_special=False) == "<|im_end|>"


def test_id_that_does_not_exist_is_refused(reranker: QwenEncoder) -> None:
    for wrong in (10**6, 2**31 - 1, -1, 2**32, 10**40):
        with pytest.raises(InvalidInput, match="tokens") as refused:
            reranker.text_of([1, wrong])
        assert refused.value.param == "ids"


def test_model_without_a_tokenizer_cannot_tokenize() -> None:
    encoder = TextEncoder(TextRules(tokenizer=b"", reads_pairs=True), 100)
    for ask in (lambda: encoder.tokens(["a"]), lambda: encoder.text_of([1])):
        with pytest.raises(InvalidInput, match="no fast tokenizer"):
            ask()
    assert encoder.strip_template(FRAMED_QUERY, FRAMED_DOCUMENT) is None


@pytest.mark.parametrize("cut", [0, 1, len(FRAMED_QUERY), len(FRAMED_QUERY) + 5])
def test_templated_pair_is_stripped_wherever_it_is_split(reranker: QwenEncoder, cut: int) -> None:
    whole = FRAMED_QUERY + FRAMED_DOCUMENT
    if cut <= 1:
        cut = len(whole) - cut
    parts = reranker.strip_template(whole[:cut], whole[cut:])
    assert parts == Parts("find", "red fox", "a <b>cat</b>\n<Query>: x")


def test_words_of_a_framed_pair_make_the_same_prompt(reranker: QwenEncoder) -> None:
    parts = reranker.strip_template(FRAMED_QUERY, FRAMED_DOCUMENT)
    assert parts is not None
    [encoded] = reranker.encode_pairs(parts.query, [parts.document], instruction=parts.instruction)
    assert reranker.view(encoded.prompts[0]).text == FRAMED_QUERY + FRAMED_DOCUMENT


@pytest.mark.parametrize("query", ["red fox", "what does <Instruct> mean", "the token <|im_start|>", ""])
def test_words_are_not_taken_for_a_frame(reranker: QwenEncoder, query: str) -> None:
    assert reranker.strip_template(query, FRAMED_DOCUMENT) is None


@pytest.mark.parametrize(
    "query",
    [
        FRAMED_QUERY.replace("Judge whether", "Say if"),
        FRAMED_QUERY.replace("<Query>", "<Question>"),
        FRAMED_QUERY.replace("<|im_start|>user", "<|im_start|>tool"),
    ],
)
def test_other_frame_is_refused_instead_of_scored_wrongly(reranker: QwenEncoder, query: str) -> None:
    with pytest.raises(InvalidInput, match="chat template") as refused:
        reranker.strip_template(query, FRAMED_DOCUMENT)
    assert refused.value.param == "query"


def test_embedder_frames_no_pairs(tokenizer_path: Path) -> None:
    embedder = QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=512)
    assert embedder.strip_template(FRAMED_QUERY, FRAMED_DOCUMENT) is None
