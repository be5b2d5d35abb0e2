"""Whole requests are admitted or refused, and permits never leak."""

import pytest

from shortlist.errors import Overloaded
from shortlist.scheduler.admission import UNMEASURED_RETRY_S, Admission, AdmissionLimits


def admission(*, requests: int = 10, tokens: int = 1000, delay_s: float = 10.0) -> Admission:
    return Admission(AdmissionLimits(max_concurrent_requests=requests, max_queue_tokens=tokens, max_queue_delay_s=delay_s))


def test_permit_gives_everything_back() -> None:
    policy = admission()
    with policy.admit(100):
        assert (policy.num_requests, policy.num_tokens) == (1, 100)
    assert (policy.num_requests, policy.num_tokens) == (0, 0)


def test_permit_gives_everything_back_after_an_error() -> None:
    policy = admission()
    with pytest.raises(RuntimeError), policy.admit(100):
        raise RuntimeError
    assert (policy.num_requests, policy.num_tokens) == (0, 0)


def test_permit_gives_back_only_once() -> None:
    policy = admission()
    permit = policy.admit(5)
    permit.__exit__(None, None, None)
    permit.__exit__(None, None, None)
    assert (policy.num_requests, policy.num_tokens) == (0, 0)


def test_settled_permit_counts_the_true_cost() -> None:
    policy = admission()
    with policy.admit(100) as permit:
        permit.settle(30)
        assert policy.num_tokens == 30
    assert policy.num_tokens == 0


def test_too_many_requests_are_refused() -> None:
    policy = admission(requests=1)
    with policy.admit(1), pytest.raises(Overloaded, match="too many requests"):
        policy.admit(1)


def test_refused_request_leaves_no_trace() -> None:
    policy = admission(tokens=10)
    with policy.admit(10):
        with pytest.raises(Overloaded, match="queue is full"):
            policy.admit(1)
        assert (policy.num_requests, policy.num_tokens) == (1, 10)


def test_idle_server_takes_a_request_larger_than_its_queue() -> None:
    policy = admission(tokens=10)
    with policy.admit(1_000_000):
        assert policy.num_requests == 1


def test_retry_after_is_computed_from_the_measured_speed() -> None:
    policy = admission(tokens=100)
    policy.observe(num_tokens=50, seconds=1.0)
    with policy.admit(100), pytest.raises(Overloaded) as refusal:
        policy.admit(100)
    assert refusal.value.retry_after_s == pytest.approx(2.0)


def test_retry_after_has_a_default_before_anything_was_measured() -> None:
    policy = admission(tokens=100)
    with policy.admit(100), pytest.raises(Overloaded) as refusal:
        policy.admit(1)
    assert refusal.value.retry_after_s == UNMEASURED_RETRY_S


@pytest.mark.parametrize(("timeout_s", "is_refused"), [(None, False), (9.0, False), (1.0, True)])
def test_request_is_refused_when_the_wait_exceeds_its_patience(timeout_s: float | None, is_refused: bool) -> None:
    policy = admission(tokens=10_000)
    policy.observe(num_tokens=100, seconds=1.0)
    with policy.admit(500):  # five seconds of work
        if is_refused:
            with pytest.raises(Overloaded, match="wait would be too long") as refusal:
                policy.admit(1, timeout_s=timeout_s)
            assert refusal.value.retry_after_s == pytest.approx(4.0)
        else:
            policy.admit(1, timeout_s=timeout_s)


def test_request_is_refused_when_the_wait_exceeds_the_servers_limit() -> None:
    policy = admission(tokens=10_000, delay_s=2.0)
    policy.observe(num_tokens=100, seconds=1.0)
    with policy.admit(500), pytest.raises(Overloaded, match="wait would be too long"):
        policy.admit(1, timeout_s=60.0)


def test_speed_follows_the_newest_measurements() -> None:
    policy = admission()
    policy.observe(num_tokens=100, seconds=1.0)
    for _ in range(50):
        policy.observe(num_tokens=300, seconds=1.0)
    assert policy.tokens_per_s == pytest.approx(300, rel=0.01)


def test_instant_step_teaches_nothing() -> None:
    policy = admission()
    policy.observe(num_tokens=100, seconds=0.0)
    assert policy.tokens_per_s is None
    assert policy.predicted_wait_s() == 0.0
