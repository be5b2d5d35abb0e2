"""Token ids equal those of the official procedure, written here after the model cards, with transformers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import EMBED, RERANK, Encoded, Operation
from tests.support import qwen
from tests.support.encoded import tokens
from tests.support.fixtures import ModelFactory
from tests.support.texts import SCRIPTS, awkward_text

NUM_FUZZED = 20_000
PER_REQUEST = 40
DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

OfficialPairs = Callable[[str, str, Iterable[str], int], list[list[int]]]


@pytest.fixture(scope="module")
def folder(make_model: ModelFactory) -> Path:
    return make_model()


@pytest.fixture(scope="module")
def official_pairs(folder: Path) -> OfficialPairs:
    """The script of the reranker's model card, up to the token ids."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    prefix = tokenizer.encode(PREFIX, add_special_tokens=False)
    suffix = tokenizer.encode(SUFFIX, add_special_tokens=False)

    def official(instruction: str, query: str, documents: Iterable[str], max_length: int) -> list[list[int]]:
        bodies = [f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}" for document in documents]
        inputs = tokenizer(
            bodies,
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=max_length - len(prefix) - len(suffix),
        )
        return [prefix + ids + suffix for ids in inputs["input_ids"]]

    return official


@pytest.fixture(scope="module")
def official_texts(make_model: ModelFactory) -> Callable[[Iterable[str], int], list[list[int]]]:
    """The embedder's tokenizer, whose file appends <|endoftext|>."""
    tokenizer: Any = AutoTokenizer.from_pretrained(make_model(kind="embedder"), padding_side="left")

    def official(texts: Iterable[str], max_length: int) -> list[list[int]]:
        found: list[list[int]] = tokenizer(list(texts), padding=False, truncation=True, max_length=max_length)["input_ids"]
        return found

    return official


def ids_of(encoded: list[Encoded]) -> list[list[int]]:
    return [[*one.prefix.ids.tolist(), *one.ids.tolist()] for one in tokens(encoded)]


@cache
def encoder_of(folder: Path, task: Operation, limit: int = 4096, mode: Any = "neutral") -> QwenEncoder:
    return QwenEncoder(folder / "tokenizer.json", operation=task, max_model_len=limit, control_tokens=mode)


def with_controls(draw: random.Random) -> str:
    pieces = [awkward_text(draw, most=3) + draw.choice(["", draw.choice(qwen.ADDED)]) for _ in range(4)]
    return "".join(pieces)


def has_control(*texts: str) -> bool:
    return any(token in text for token in qwen.ADDED for text in texts)


def clean_text(draw: random.Random, *, pieces: int = 1) -> str:
    """Return awkward text that contains no control token by chance."""
    text = "".join(awkward_text(draw) for _ in range(pieces))
    while has_control(text):
        for token in qwen.ADDED:
            text = text.replace(token, "")
    return text


def test_fuzzed_pairs(folder: Path, official_pairs: OfficialPairs) -> None:
    """Instruction, query and document all awkward: 20,000 documents over 500 requests."""
    encoder, draw, num_compared = encoder_of(folder, RERANK), random.Random(1), 0
    for _ in range(NUM_FUZZED // PER_REQUEST):
        instruction, query, *documents = [clean_text(draw) for _ in range(PER_REQUEST + 2)]
        ours = ids_of(encoder.encode_pairs(query, documents, instruction=instruction))
        assert ours == official_pairs(instruction, query, documents, 4096), (instruction, query)
        num_compared += len(ours)
    assert num_compared == NUM_FUZZED


def test_fuzzed_pairs_with_control_tokens_in_official_mode(folder: Path, official_pairs: OfficialPairs) -> None:
    encoder, draw = encoder_of(folder, RERANK, mode="official"), random.Random(2)
    for _ in range(60):
        instruction, query, *documents = [with_controls(draw) for _ in range(PER_REQUEST + 2)]
        ours = ids_of(encoder.encode_pairs(query, documents, instruction=instruction))
        assert ours == official_pairs(instruction, query, documents, 4096), (instruction, query)


@pytest.mark.parametrize("script", SCRIPTS)
def test_real_text_in_every_script_against_every_other(folder: Path, official_pairs: OfficialPairs, script: str) -> None:
    encoder = encoder_of(folder, RERANK)
    query = SCRIPTS[script]
    documents = [*SCRIPTS.values(), *(" " + text for text in SCRIPTS.values()), *("\n" + text for text in SCRIPTS.values()), ""]
    ours = ids_of(encoder.encode_pairs(query, documents))
    assert ours == official_pairs(DEFAULT, query, documents, 4096)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_length_around_the_cut(folder: Path, official_pairs: OfficialPairs, script: str) -> None:
    """From a limit of one token of the document to all of them, one token at a time."""
    document = SCRIPTS[script]
    longest = len(official_pairs(DEFAULT, "query", [document], 4096)[0])
    shortest = len(official_pairs(DEFAULT, "query", [""], 4096)[0])
    wide = copy(encoder_of(folder, RERANK))
    for limit in range(shortest, longest + 2):
        wide.max_model_len = limit
        [ours] = wide.encode_pairs("query", [document])
        assert ids_of([ours]) == official_pairs(DEFAULT, "query", [document], limit)
        assert ours.is_truncated is (limit < longest)


@pytest.mark.parametrize("limit", [70, 100, 500, 4096])
def test_long_documents_are_cut_as_officially(folder: Path, official_pairs: OfficialPairs, limit: int) -> None:
    encoder, draw = encoder_of(folder, RERANK, limit), random.Random(limit)
    documents = [text * (40_000 // len(text)) for text in SCRIPTS.values()]
    documents += [clean_text(draw, pieces=800) for _ in range(8)]
    assert ids_of(encoder.encode_pairs("q", documents, instruction="i")) == official_pairs("i", "q", documents, limit)


def test_embedder_documents(make_model: ModelFactory, official_texts: Callable[..., list[list[int]]]) -> None:
    encoder, draw = encoder_of(make_model(kind="embedder"), EMBED), random.Random(3)
    texts = [clean_text(draw) for _ in range(NUM_FUZZED)] + [*SCRIPTS.values(), ""]
    assert ids_of(encoder.encode_texts(texts)) == official_texts(texts, 4096)


def test_embedder_queries(make_model: ModelFactory, official_texts: Callable[..., list[list[int]]]) -> None:
    encoder, draw = encoder_of(make_model(kind="embedder"), EMBED), random.Random(4)
    for _ in range(40):
        task = clean_text(draw)
        queries = [clean_text(draw) for _ in range(50)] + [*SCRIPTS.values(), ""]
        ours = ids_of(encoder.encode_texts(queries, instruction=task))
        formatted = [
            query if query.startswith("Instruct: ") and "\nQuery:" in query else f"Instruct: {task}\nQuery:{query}"
            for query in queries
        ]
        assert ours == official_texts(formatted, 4096), task


@pytest.mark.parametrize("limit", [2, 3, 10, 33])
def test_embedder_cuts_as_officially(
    make_model: ModelFactory, official_texts: Callable[..., list[list[int]]], limit: int
) -> None:
    encoder = encoder_of(make_model(kind="embedder"), EMBED, limit)
    texts = [text * repeat for text in SCRIPTS.values() for repeat in (1, 300)]
    assert ids_of(encoder.encode_texts(texts)) == official_texts(texts, limit)
