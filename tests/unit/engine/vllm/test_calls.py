"""A batch becomes calls of a step each: nothing is lost, nothing is too large, and nobody who could help is idle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.vllm.steps import MIN_TOKENS, StepLimits, cut, num_tokens_of
from shortlist.types import TokenHead, TokenPrompt

LIMITS = StepLimits(max_tokens=2000, max_items=10)


def prompts(*lengths: int, head: int = 50) -> list[TokenPrompt]:
    shared = TokenHead(np.zeros(head, dtype=np.int32))
    return [TokenPrompt(shared, np.zeros(length, dtype=np.int32)) for length in lengths]


@given(
    lengths=st.lists(st.integers(1, 1900), min_size=1, max_size=60),
    num_servers=st.integers(1, 4),
    max_items=st.integers(1, 20),
)
def test_calls_hold_every_prompt_in_order_and_fit(lengths: list[int], num_servers: int, max_items: int) -> None:
    asked = prompts(*lengths)
    limits = StepLimits(max_tokens=2000, max_items=max_items)
    calls = list(cut(asked, limits, num_servers))
    assert [prompt for call in calls for prompt in call] == asked
    assert all(1 <= len(call) <= max_items for call in calls)
    assert all(num_tokens_of(call) <= limits.max_tokens for call in calls)


def test_head_counts_once_per_call() -> None:
    """Ten times 50 and 150 tokens are 2,000 if each had a head of its own, and 1,550 as they are."""
    assert [len(call) for call in cut(prompts(*[150] * 13), LIMITS, 1)] == [10, 3]
    assert [len(call) for call in cut(prompts(*[150] * 13), StepLimits(2000, 100), 1)] == [13]


def test_prompt_longer_than_a_step_goes_alone() -> None:
    assert [len(call) for call in cut(prompts(10, 3000, 10), LIMITS, 1)] == [1, 1, 1]


@pytest.mark.parametrize("num_servers", [2, 3])
def test_work_for_several_servers_is_spread_over_them(num_servers: int) -> None:
    asked = prompts(*[300] * 24)
    assert len(list(cut(asked, StepLimits(100_000, 1000), num_servers))) in {num_servers, num_servers + 1}


def test_little_work_is_not_spread() -> None:
    assert len(list(cut(prompts(*[100] * ((MIN_TOKENS - 50) // 100)), StepLimits(100_000, 1000), 4))) == 1
