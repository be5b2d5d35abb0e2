"""Whole requests are admitted or refused, and permits never leak."""

import pytest

from shortlist.errors import Overloaded, RequestTooLarge
from shortlist.scheduler.admission import SHARE, UNMEASURED_RETRY_S, Admission, AdmissionLimits
from shortlist.scheduler.queue import Flow
from shortlist.types import Priority

ANN, BOB = Flow("ann", Priority.INTERACTIVE), Flow("bob", Priority.INTERACTIVE)
BOB_LATER = Flow("bob", Priority.BATCH)


def admission(*, requests: int = 10, tokens: int = 1000, num_bytes: int = 10_000, delay_s: float = 10.0) -> Admission:
    limits = AdmissionLimits(
        max_concurrent_requests=requests,
        max_queue_tokens=tokens,
        max_queue_bytes=num_bytes,
        max_queue_delay_s=delay_s,
    )
    return Admission(limits)


def test_queue_delay_is_all_admitted_tokens_by_the_measured_throughput() -> None:
    policy = admission()
    with policy.admit(100, flow=ANN) as permit, policy.admit(300, flow=BOB):
        assert policy.queue_delay_s == 0, "not measured yet"
        policy.observe(50, 0.5)
        assert policy.queue_delay_s == pytest.approx(4.0)
        permit.settle(20)
        assert policy.queue_delay_s == pytest.approx(3.2)
    assert policy.queue_delay_s == 0


def test_permit_releases_its_load() -> None:
    policy = admission()
    with policy.admit(100):
        assert (policy.load.num_requests, policy.load.num_tokens) == (1, 100)
    assert (policy.load.num_requests, policy.load.num_tokens) == (0, 0)


def test_permit_releases_its_load_after_an_error() -> None:
    policy = admission()
    with pytest.raises(RuntimeError), policy.admit(100):
        raise RuntimeError
    assert (policy.load.num_requests, policy.load.num_tokens) == (0, 0)


def test_permit_gives_back_only_once() -> None:
    policy = admission()
    permit = policy.admit(5)
    permit.__exit__(None, None, None)
    permit.__exit__(None, None, None)
    assert (policy.load.num_requests, policy.load.num_tokens) == (0, 0)


def test_settled_permit_counts_the_true_cost() -> None:
    policy = admission()
    with policy.admit(100) as permit:
        permit.settle(30)
        assert policy.load.num_tokens == 30
    assert policy.load.num_tokens == 0


def test_too_many_requests_are_refused() -> None:
    policy = admission(requests=1)
    with policy.admit(1), pytest.raises(Overloaded, match="too many requests"):
        policy.admit(1)


def test_refused_request_leaves_no_trace() -> None:
    policy = admission(tokens=10)
    with policy.admit(10):
        with pytest.raises(Overloaded, match="queue is full"):
            policy.admit(1)
        assert (policy.load.num_requests, policy.load.num_tokens) == (1, 10)


def test_request_that_never_fits_is_too_large_whatever_the_load() -> None:
    policy = admission(tokens=10)
    with pytest.raises(RequestTooLarge, match=r"about 11 tokens; at most 10 fit \(max_queue_tokens\)"):
        policy.admit(11)
    with policy.admit(10) as permit, pytest.raises(RequestTooLarge):
        permit.settle(11)
    assert policy.load.num_requests == 0


def test_texts_that_never_fit_into_memory_are_too_large() -> None:
    with pytest.raises(RequestTooLarge, match=r"about 11 bytes of memory; at most 10 fit \(max_queue_bytes\)"):
        admission(num_bytes=10).admit(1, num_bytes=11)


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
            assert refusal.value.retry_after_s == pytest.approx(5.0 + 0.01 + 1.0 - 1.0)  # wait, own tokens, a batch; timeout
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


def test_speed_is_that_of_the_time_not_of_the_steps() -> None:
    """A few small, inefficient batches do not cause refusals."""
    policy = admission()
    for _ in range(10):
        policy.observe(num_tokens=1, seconds=0.01)
    policy.observe(num_tokens=900, seconds=0.9)
    assert policy.tokens_per_s == pytest.approx((10 * 1 + 900) / (10 * 0.01 + 0.9))
    assert policy.batch_tokens == pytest.approx(0.9 * 900 + 0.1 * 1)


def test_one_step_that_waited_long_does_not_make_the_engine_slow() -> None:
    policy = admission()
    for _ in range(20):
        policy.observe(num_tokens=1000, seconds=1.0)
    policy.observe(num_tokens=1000, seconds=60.0)
    assert policy.tokens_per_s == pytest.approx(1000, rel=0.2)


def test_instant_step_teaches_nothing() -> None:
    policy = admission()
    policy.observe(num_tokens=100, seconds=0.0)
    assert policy.tokens_per_s is None
    assert policy.predicted_wait_s() == 0.0


def test_texts_that_do_not_fit_into_memory_are_refused() -> None:
    policy = admission(num_bytes=100)
    policy.observe(num_tokens=10, seconds=1.0)
    with policy.admit(10, num_bytes=80), pytest.raises(Overloaded, match="memory") as refusal:
        policy.admit(10, num_bytes=30)
    assert refusal.value.retry_after_s == pytest.approx(10 / 80 * 10 / 10)  # time to free the share


def test_true_cost_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    policy = admission(tokens=100)
    with policy.admit(50), policy.admit(10) as permit:
        with pytest.raises(Overloaded, match="queue is full"):
            permit.settle(51)
        assert policy.load.num_tokens == 60
        permit.settle(50)


def test_only_request_may_cost_more_than_estimated() -> None:
    policy = admission(tokens=100)
    with policy.admit(50) as permit:
        permit.settle(100)
        assert policy.load.num_tokens == 100


def test_busy_caller_leaves_headroom_for_others() -> None:
    policy = admission(requests=100)
    for _ in range(100 * SHARE // (1 + SHARE)):
        policy.admit(1, flow=ANN)
    with pytest.raises(Overloaded, match="too many requests"):
        policy.admit(1, flow=ANN)
    policy.admit(1, flow=BOB)


def test_caller_does_not_get_two_shares_for_two_priorities() -> None:
    policy = admission(tokens=100)
    policy.admit(70, flow=BOB_LATER)
    with pytest.raises(Overloaded, match="queue is full"):
        policy.admit(60, flow=BOB)
    policy.admit(30, flow=ANN)


def test_requests_without_a_caller_have_no_share_limit() -> None:
    policy = admission(tokens=100)
    policy.admit(70)
    policy.admit(30)


def test_predicted_delay_of_a_new_caller_excludes_a_busy_callers_backlog() -> None:
    policy = admission(delay_s=5.0)
    policy.observe(num_tokens=100, seconds=1.0)
    policy.admit(700, flow=ANN)  # seven seconds of work
    with pytest.raises(Overloaded, match="wait would be too long"):
        policy.admit(10, flow=ANN)
    assert policy.predicted_wait_s(BOB, 10) == pytest.approx(0.1)  # as much as its own, by turns
    policy.admit(10, flow=BOB)


def test_batch_work_does_not_make_interactive_work_wait() -> None:
    policy = admission()
    policy.observe(num_tokens=100, seconds=1.0)
    policy.admit(600, flow=BOB_LATER)
    assert policy.predicted_wait_s(BOB, 80) == pytest.approx(0.1)
    assert policy.predicted_wait_s(BOB_LATER, 0) == pytest.approx(6.0)


def test_finished_flow_is_dropped() -> None:
    policy = admission()
    with policy.admit(1, flow=ANN), policy.admit(1, flow=BOB):
        assert policy.num_flows == 2
    assert policy.num_flows == 0


def test_request_is_refused_when_it_would_not_be_done_in_time() -> None:
    """The timeout covers the wait, its own tokens, and a batch shared with other requests."""
    policy = admission(delay_s=100.0)
    policy.observe(num_tokens=100, seconds=1.0)
    with policy.admit(300):
        policy.admit(50, timeout_s=4.5)
        with pytest.raises(Overloaded, match="wait would be too long"):
            policy.admit(50, timeout_s=4.9)
