"""Work is shared out evenly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.workers.balance import least_loaded

SIZES = st.lists(st.integers(1, 20_000), max_size=60)


@given(SIZES, st.integers(1, 9))
def test_no_worker_is_ever_further_ahead_than_one_batch(sizes: list[int], num_workers: int) -> None:
    loads = [0] * num_workers
    for size in sizes:
        loads[least_loaded(loads)] += size
        assert max(loads) - min(loads) <= max(sizes)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_batch_goes_to_a_worker_with_the_least_to_do(loads: list[int]) -> None:
    assert loads[least_loaded(loads)] == min(loads)
