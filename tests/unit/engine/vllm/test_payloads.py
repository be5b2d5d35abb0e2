"""What is said to vLLM is what was meant, to the id; and what it answers is believed only if it can be true."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.vllm import payloads
from shortlist.errors import UpstreamError
from shortlist.types import EMBED, RERANK, Operation, TokenPrefix, TokenPrompt

IDS = st.lists(st.integers(0, 151_668), min_size=1, max_size=20)


def prompt(prefix: list[int], own: list[int]) -> TokenPrompt:
    return TokenPrompt(TokenPrefix(np.asarray(prefix, dtype=np.int32)), np.asarray(own, dtype=np.int32))


def answer(*scores: object) -> bytes:
    return json.dumps({"data": [{"index": index, "probs": [score]} for index, score in enumerate(scores)]}).encode()


def embedding(values: list[float]) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def vectors(*rows: list[float]) -> bytes:
    return json.dumps({"data": [{"index": index, "embedding": embedding(row)} for index, row in enumerate(rows)]}).encode()


@given(heads=st.lists(st.lists(st.integers(0, 151_668), max_size=20), min_size=1, max_size=3), owns=st.lists(IDS, min_size=1))
@pytest.mark.parametrize("task", [RERANK, EMBED])
def test_every_prompt_arrives_whole_and_in_order(task: Operation, heads: list[list[int]], owns: list[list[int]]) -> None:
    shared = [TokenPrefix(np.asarray(prefix, dtype=np.int32)) for prefix in heads]
    prompts = [TokenPrompt(shared[index % len(shared)], np.asarray(own, dtype=np.int32)) for index, own in enumerate(owns)]
    asked = json.loads(payloads.body_of(task, prompts))
    assert asked["input"] == [heads[index % len(heads)] + own for index, own in enumerate(owns)]
    assert asked["add_special_tokens"] is False


def test_ids_that_are_a_piece_of_others_arrive_as_well() -> None:
    every_other = np.arange(10, dtype=np.int32)[::2]
    asked = json.loads(payloads.body_of(RERANK, [TokenPrompt(TokenPrefix(every_other), every_other)]))
    assert asked["input"] == [[0, 2, 4, 6, 8, 0, 2, 4, 6, 8]]


def test_scores_are_asked_for_as_they_are() -> None:
    """Out of a chance of 0.9999999 no log-odds of 20 can be had back."""
    prompts = [prompt([1], [2])]
    assert json.loads(payloads.body_of(RERANK, prompts))["use_activation"] is False
    assert json.loads(payloads.body_of(RERANK, prompts, use_activation=True))["use_activation"] is True
    assert payloads.scores_of(answer(20.12345, -31.5, 0), 3) == [20.12345, -31.5, 0.0]


def test_vectors_are_asked_for_in_32_bits_and_normalised() -> None:
    asked = json.loads(payloads.body_of(EMBED, [prompt([], [2])]))
    assert asked["encoding_format"] == "base64"
    assert asked["embed_dtype"] == "float32"
    assert asked["use_activation"] is True


def test_results_are_put_into_the_order_of_the_prompts() -> None:
    content = json.dumps({"data": [{"index": 1, "probs": [1.5]}, {"index": 0, "probs": [0.5]}]}).encode()
    assert payloads.scores_of(content, 2) == [0.5, 1.5]


def test_vectors_are_of_length_one_whatever_was_rounded() -> None:
    found = payloads.vectors_of(vectors([0.6, 0.8], [0.5999, 0.7999]), 2)
    assert [vector.dtype for vector in found] == [np.float32, np.float32]
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in found], 1, atol=1e-6)


def test_vectors_that_are_far_from_it_are_left_to_be_noticed() -> None:
    [vector] = payloads.vectors_of(vectors([3.0, 4.0]), 1)
    assert np.linalg.norm(vector) == pytest.approx(5.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": [1, 2]}',
        b'{"data": [{"probs": [1.0]}, {"probs": [2.0]}]}',
        answer(1.0),
        answer(1.0, 2.0, 3.0),
        answer(1.0, None),
        answer(1.0, "2.0"),
        answer(1.0, 2.0)[:-9],
        answer(1.0, 2.0).replace(b"2.0", b"NaN"),
        answer(1.0, 2.0).replace(b"2.0", b"2.0, 3.0"),
        answer(1.0, 2.0).replace(b'"index": 1', b'"index": 0'),
        b'{"data": [{"index": 0, "probs": []}, {"index": 1, "probs": [1.0]}]}',
    ],
)
def test_scores_that_cannot_be_true_are_refused(content: bytes) -> None:
    with pytest.raises(UpstreamError) as refused:
        payloads.scores_of(content, 2)
    assert refused.value.is_retryable


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0}],
        [{"index": 0, "embedding": [0.6, 0.8]}],
        [{"index": 0, "embedding": "not base64"}],
        [{"index": 0, "embedding": base64.b64encode(b"12345").decode()}],
        [],
    ],
)
def test_vectors_that_cannot_be_true_are_refused(data: Any) -> None:
    with pytest.raises(UpstreamError):
        payloads.vectors_of(json.dumps({"data": data}).encode(), 1)


def test_vectors_of_several_widths_are_refused() -> None:
    with pytest.raises(UpstreamError, match="several widths"):
        payloads.vectors_of(vectors([1.0], [0.6, 0.8]), 2)
