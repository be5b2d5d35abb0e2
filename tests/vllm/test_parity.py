"""What a real vLLM says through us is what the model's card says, within what 16 bits cost; wherever a document is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import EMBED, RERANK, Encoded, InputType, OverflowPolicy, TokenPrompt, Truncation
from tests.support import qwen
from tests.support.official import Asked, Official, OfficialEmbedder
from tests.support.texts import AWKWARD, SCRIPTS
from tests.support.vllm import MAX_LEN, folder_of, let_go, running

QUERY = "how do I read a json file in python"
ASKED = Asked(max_length=MAX_LEN, is_spelled_safely=True)

SLACK = 1.5
"""How much larger its error may be than transformers' own in bfloat16: both are drawn from the same hat."""


def encoder_of(kind: qwen.Kind) -> QwenEncoder:
    task = EMBED if kind == "embedder" else RERANK
    return QwenEncoder(folder_of(kind) / "tokenizer.json", operation=task, max_model_len=MAX_LEN)


def boundary(encoder: QwenEncoder) -> list[str]:
    """Documents at the token limit, some more, some fewer, and many more."""
    [one] = encoder.encode_pairs(QUERY, ["x"])
    prompt = one.prompts[0]
    limit = MAX_LEN - prompt.prefix.num_tokens - len(encoder.suffix_ids)
    return ["word" + " word" * (limit + more - 1) for more in (-2, -1, 0, 1, 2, 700)]


async def scores(encoded: Sequence[Encoded], kind: qwen.Kind = "reranker") -> np.ndarray:
    return np.asarray(await running(kind).compute(RERANK, first_of(encoded)))


def first_of(encoded: Sequence[Encoded]) -> list[TokenPrompt]:
    return [prompt for each in encoded if isinstance(prompt := each.prompts[0], TokenPrompt)]


def one_by_one(official: Official, documents: Sequence[str]) -> np.ndarray:
    """Ask for one document at a time: padding moves 16-bit numbers, and costs time."""
    return np.asarray([official.log_odds(QUERY, [document], ASKED)[0] for document in documents])


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


async def test_scores_are_the_official_ones_within_bfloat16() -> None:
    encoder = encoder_of("reranker")
    documents = [*SCRIPTS.values(), *AWKWARD, *boundary(encoder)]
    encoded = encoder.encode_pairs(QUERY, documents)
    assert [each.is_truncated for each in encoded[-6:]] == [False, False, False, True, True, True]
    official = Official(folder_of("reranker"))
    exact = one_by_one(official, documents)
    official.model = official.model.to(torch.bfloat16)
    rounded = one_by_one(official, documents)
    errors = await scores(encoded) - exact
    assert np.std(exact) > 0.3
    assert 0 < root_mean_square(errors) <= SLACK * root_mean_square(rounded - exact)
    assert float(np.abs(errors).max()) < 0.15


async def test_instruction_and_limit_count_as_officially() -> None:
    instruction = "Given a bug report, find the report of the same bug"
    documents = [SCRIPTS["code"] * 3, SCRIPTS["chinese"] * 3]
    encoded = encoder_of("reranker").encode_pairs(
        QUERY,
        documents,
        instruction=instruction,
        on_overflow=OverflowPolicy.TRUNCATE,
        truncation=Truncation(max_tokens_per_doc=30),
    )
    asked = Asked(instruction=instruction, max_length=MAX_LEN, max_document=30, is_spelled_safely=True)
    np.testing.assert_allclose(
        await scores(encoded), Official(folder_of("reranker")).log_odds(QUERY, documents, asked), atol=0.1
    )


async def test_vectors_are_the_official_ones_within_bfloat16() -> None:
    encoder, official = encoder_of("embedder"), OfficialEmbedder(folder_of("embedder"))
    texts = [*SCRIPTS.values(), "x", " word" * (MAX_LEN - 2), " word" * (MAX_LEN - 1), " word" * MAX_LEN, " word" * 3000]
    for encoded, expected in (
        (encoder.encode_texts(texts), official.documents(texts, ASKED)),
        (encoder.encode_texts(texts, input_type=InputType.QUERY), official.queries(texts, ASKED)),
    ):
        found = await running("embedder").compute(EMBED, first_of(encoded))
        cosines = (np.stack(found) * expected).sum(axis=1)
        assert float(cosines.min()) > 0.995


async def test_score_does_not_depend_on_how_a_batch_is_cut_into_calls() -> None:
    """Far more than a step, beside the same prompts a few at a time."""
    encoded = encoder_of("reranker").encode_pairs(
        QUERY, [f"{text} {number}" for number in range(12) for text in SCRIPTS.values()]
    )
    together = await scores(encoded)
    apart = np.concatenate([await scores(encoded[start : start + 5]) for start in range(0, len(encoded), 5)])
    np.testing.assert_allclose(together, apart, atol=0.1)
    assert np.corrcoef(together, apart)[0, 1] > 0.99


@pytest.mark.full
async def test_converted_classifier_scores_as_its_own_library_does() -> None:
    """Its head is one label already; the overrides of an original checkpoint would break it."""
    documents = [*SCRIPTS.values(), *AWKWARD[:20]]
    exact = Official(folder_of("seqcls"), is_classifier=True).log_odds(QUERY, documents, ASKED)
    found = await scores(encoder_of("seqcls").encode_pairs(QUERY, documents), "seqcls")
    let_go("seqcls")
    assert np.std(exact) > 0.3
    np.testing.assert_allclose(found, exact, atol=0.15)
