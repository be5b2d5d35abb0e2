"""A batch becomes a call for every server that can share it, and retries never exceed their share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.vllm.calls import BURST, MIN_TOKENS, SHARE, RetryBudget, cut
from shortlist.types import TokenPrefix, TokenPrompt, num_batch_tokens


def prompts(*lengths: int, prefix: int = 50) -> list[TokenPrompt]:
    shared = TokenPrefix(np.zeros(prefix, dtype=np.int32))
    return [TokenPrompt(shared, np.zeros(length, dtype=np.int32)) for length in lengths]


@given(lengths=st.lists(st.integers(1, 1900), min_size=1, max_size=60), num_servers=st.integers(1, 4))
def test_calls_hold_every_prompt_in_order_and_no_more_than_their_share(lengths: list[int], num_servers: int) -> None:
    asked = prompts(*lengths)
    calls = list(cut(asked, num_servers))
    assert [prompt for call in calls for prompt in call] == asked
    share = max(-(-num_batch_tokens(asked) // num_servers), MIN_TOKENS)
    assert all(len(call) == 1 or num_batch_tokens(call) <= share for call in calls)


def test_server_alone_gets_all_of_it_at_once() -> None:
    assert [len(call) for call in cut(prompts(*[500] * 300), 1)] == [300]


def test_prefix_counts_once_per_call() -> None:
    """Twenty prompts that are 3,050 tokens with one head between them, and 4,000 if each had its own."""
    assert [len(call) for call in cut(prompts(*[150] * 20), 2)] == [9, 9, 2]


@pytest.mark.parametrize("num_servers", [2, 3])
def test_work_for_several_servers_is_spread_over_them(num_servers: int) -> None:
    asked = prompts(*[300] * 24)
    assert len(list(cut(asked, num_servers))) in {num_servers, num_servers + 1}


def test_little_work_is_not_spread() -> None:
    assert len(list(cut(prompts(*[100] * ((MIN_TOKENS - 50) // 100)), 4))) == 1


def test_a_few_retries_are_there_from_the_start_and_then_no_more() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(int(BURST) + 5)] == [True] * int(BURST) + [False] * 5


def test_ten_calls_earn_a_retry() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    for _ in range(11):  # one more, as tenths do not add up to the last bit
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_retry_budget_is_capped() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == BURST


def test_exhausted_retry_budget_refuses_without_cost() -> None:
    budget = RetryBudget()
    assert not budget.spend(int(BURST) + 1)
    assert budget.spend(int(BURST))


@given(st.lists(st.booleans(), max_size=500))
def test_retries_never_exceed_their_share(fails: list[bool]) -> None:
    budget, num_retries = RetryBudget(), 0
    for has_failed in fails:
        budget.earn()
        num_retries += has_failed and budget.spend()
    assert num_retries <= BURST + SHARE * len(fails)
