"""A step that did not fit makes the next ones smaller, for a while."""

from hypothesis import given
from hypothesis import strategies as st

from shortlist.scheduler.ceiling import STEPS_BEFORE_RAISING, Ceiling


def fit(ceiling: Ceiling, steps: int) -> None:
    for _ in range(steps):
        ceiling.fits()


def test_nothing_changes_while_everything_fits() -> None:
    ceiling = Ceiling(1000)
    fit(ceiling, 10 * STEPS_BEFORE_RAISING)
    assert ceiling.num_tokens == 1000


def test_step_that_did_not_fit_halves_what_is_tried() -> None:
    ceiling = Ceiling(1000)
    ceiling.lower(600)
    assert ceiling.num_tokens == 300


def test_smaller_failure_never_raises_it() -> None:
    ceiling = Ceiling(100)
    ceiling.lower(50)
    ceiling.lower(90)
    assert ceiling.num_tokens == 25


def test_it_comes_back_step_by_step() -> None:
    ceiling = Ceiling(1000)
    ceiling.lower(600)
    fit(ceiling, STEPS_BEFORE_RAISING - 1)
    assert ceiling.num_tokens == 300
    fit(ceiling, 1)
    assert ceiling.num_tokens == 600
    fit(ceiling, STEPS_BEFORE_RAISING)
    assert ceiling.num_tokens == 1000


def test_another_failure_starts_the_wait_anew() -> None:
    ceiling = Ceiling(1000)
    ceiling.lower(600)
    fit(ceiling, STEPS_BEFORE_RAISING - 1)
    ceiling.lower(300)
    fit(ceiling, STEPS_BEFORE_RAISING - 1)
    assert ceiling.num_tokens == 150


@given(st.integers(1, 10_000), st.lists(st.one_of(st.none(), st.integers(1, 20_000)), max_size=200))
def test_it_is_never_nothing_and_never_more_than_was_set(most: int, events: list[int | None]) -> None:
    ceiling = Ceiling(most)
    for tokens in events:
        ceiling.fits() if tokens is None else ceiling.lower(tokens)
        assert 1 <= ceiling.num_tokens <= most
