"""What stays is not looked at while it is made nor afterwards, and everything else is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from shortlist import collector


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    collector.let_go()


class Knot:
    """Holds itself, so that nothing but the collector finds it."""

    def __init__(self) -> None:
        self.self = self


def test_nothing_is_collected_by_itself_until_it_has_settled() -> None:
    collector.hold()
    assert not gc.isenabled()
    collector.settle()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_what_is_made_later_is_collected_and_all_is_once_it_is_let_go() -> None:
    early = Knot()
    collector.settle()
    late = Knot()
    found_early, found_late = weakref.ref(early), weakref.ref(late)
    del early, late
    gc.collect()
    assert found_late() is None
    assert found_early() is not None
    collector.let_go()
    gc.collect()
    assert found_early() is None


def test_rest_ends_with_the_block_whatever_happens_in_it() -> None:
    was_enabled: list[bool] = []

    def fail() -> None:
        with collector.held():
            was_enabled.append(gc.isenabled())
            raise ValueError("in it")

    with pytest.raises(ValueError, match="in it"):
        fail()
    assert was_enabled == [False]
    assert gc.isenabled()


def test_start_that_fails_leaves_nothing_held() -> None:
    was_enabled: list[bool] = []

    def fail() -> None:
        with collector.starting():
            was_enabled.append(gc.isenabled())
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        fail()
    assert was_enabled == [False]
    assert gc.isenabled()


def test_rest_within_a_rest_ends_neither() -> None:
    collector.hold()
    with collector.held():
        pass
    assert not gc.isenabled()
