"""Retries are a share of calls, whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.vllm.budget import BURST, SHARE, RetryBudget


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


def test_what_is_not_spent_is_not_saved_up_for_ever() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == BURST


def test_more_than_there_is_cannot_be_spent_and_costs_nothing() -> None:
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
