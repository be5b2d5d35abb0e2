"""One caller cannot take what is meant for all, and memory is bounded by those who come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.api.quota import RETRY_RUNNING_S, Quota
from shortlist.errors import Overloaded


def quota(*, per_minute: int | None = None, running: int | None = None, callers: int = 1000) -> Quota:
    return Quota(max_per_minute=per_minute, max_running=running, max_callers=callers)


def admitted(policy: Quota, now_s: float, times: int, caller: str = "a") -> int:
    """Return how many of so many requests at one moment get in; each is done at once."""
    count = 0
    for _ in range(times):
        try:
            policy.enter(caller, now_s)
        except Overloaded:
            continue
        policy.leave(caller)
        count += 1
    return count


# -- requests per minute ------------------------------------------------------------------------------------------------


def test_burst_is_ten_seconds_worth() -> None:
    assert admitted(quota(per_minute=60), 0.0, 100) == 10
    assert admitted(quota(per_minute=600), 0.0, 1000) == 100


@pytest.mark.parametrize("per_minute", [1, 2, 3, 6])
def test_low_rate_lets_one_in_at_a_time(per_minute: int) -> None:
    policy = quota(per_minute=per_minute)
    assert [admitted(policy, 60.0 / per_minute * step, 5) for step in range(4)] == [1, 1, 1, 1]


def test_after_the_burst_requests_come_at_the_allowed_rate() -> None:
    policy = quota(per_minute=60)
    admitted(policy, 0.0, 100)
    assert [admitted(policy, float(second), 5) for second in range(1, 6)] == [1] * 5


def test_idle_caller_saves_up_one_burst_and_no_more() -> None:
    policy = quota(per_minute=60)
    admitted(policy, 0.0, 100)
    assert admitted(policy, 1e6, 100) == 10


@given(st.integers(1, 600), st.lists(st.floats(0, 20), min_size=1, max_size=200))
def test_no_minute_holds_more_than_the_limit_and_a_burst(per_minute: int, gaps_s: list[float]) -> None:
    policy, now_s = quota(per_minute=per_minute), 0.0
    times: list[float] = []
    for gap_s in gaps_s:
        now_s += gap_s
        times += [now_s] * admitted(policy, now_s, 3)
    burst = max(per_minute // 6, 1) + 1
    for start_s in times:
        assert sum(start_s <= time_s < start_s + 60 for time_s in times) <= per_minute + burst


@given(st.integers(1, 600), st.integers(1, 50))
def test_caller_that_waits_for_retry_after_is_admitted(per_minute: int, tries: int) -> None:
    policy = quota(per_minute=per_minute)
    admitted(policy, 0.0, tries + 200)
    with pytest.raises(Overloaded, match="max_requests_per_minute") as refusal:
        policy.enter("a", 0.0)
    policy.enter("a", refusal.value.retry_after_s + 1e-6)


def test_refused_requests_do_not_count() -> None:
    policy = quota(per_minute=60)
    admitted(policy, 0.0, 10_000)
    assert admitted(policy, 10.0, 100) == 10


def test_callers_do_not_pay_for_each_other() -> None:
    policy = quota(per_minute=60)
    admitted(policy, 0.0, 100, "a")
    assert admitted(policy, 0.0, 100, "b") == 10


# -- requests at once ---------------------------------------------------------------------------------------------------


def test_one_too_many_at_once_is_refused_until_one_is_done() -> None:
    policy = quota(running=2)
    policy.enter("a", 0.0)
    policy.enter("a", 0.0)
    with pytest.raises(Overloaded, match="max_concurrent_requests_per_caller") as refusal:
        policy.enter("a", 0.0)
    assert refusal.value.retry_after_s == RETRY_RUNNING_S
    policy.enter("b", 0.0)
    policy.leave("a")
    policy.enter("a", 0.0)


def test_refusal_for_running_requests_does_not_count_against_the_rate() -> None:
    policy = quota(per_minute=60, running=1)
    policy.enter("a", 0.0)
    assert admitted(policy, 0.0, 100) == 0
    policy.leave("a")
    assert admitted(policy, 0.0, 100) == 9


def test_leaving_without_having_entered_opens_no_door() -> None:
    policy = quota(running=1)
    policy.leave("a")
    policy.enter("a", 0.0)
    policy.leave("a")
    policy.leave("a")
    policy.enter("a", 0.0)
    with pytest.raises(Overloaded):
        policy.enter("a", 0.0)


# -- memory -------------------------------------------------------------------------------------------------------------


def test_idle_callers_are_forgotten() -> None:
    policy = quota(per_minute=60)
    for number in range(500):
        admitted(policy, 0.0, 1, str(number))
    assert len(policy) == 500
    admitted(policy, 1000.0, 500, "a")
    assert len(policy) == 1


def test_caller_with_a_request_running_is_not_forgotten() -> None:
    policy = quota(running=1)
    policy.enter("slow", 0.0)
    for number in range(500):
        admitted(policy, 1000.0 + number, 1, str(number))
    assert len(policy) <= 3
    with pytest.raises(Overloaded):
        policy.enter("slow", 2000.0)


def test_any_number_of_callers_takes_a_bounded_memory() -> None:
    policy = quota(per_minute=1, callers=100)
    for number in range(10_000):
        policy.enter(str(number), 0.0)
        assert len(policy) <= 100


def test_without_limits_there_is_none() -> None:
    assert not quota().is_limited
    assert quota(per_minute=1).is_limited
    assert quota(running=1).is_limited
