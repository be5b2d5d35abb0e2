"""What stays is not looked at while it is made nor afterwards, and everything else is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from shortlist import gc_pause


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    gc_pause.resume()


class Knot:
    """Holds itself, so that nothing but the collector finds it."""

    def __init__(self) -> None:
        self.self = self


def test_automatic_collection_is_off_until_settled() -> None:
    gc_pause.pause()
    assert not gc.isenabled()
    gc_pause.resume_and_freeze()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


def test_later_objects_are_collected_and_all_after_unfreezing() -> None:
    early = Knot()
    gc_pause.resume_and_freeze()
    late = Knot()
    found_early, found_late = weakref.ref(early), weakref.ref(late)
    del early, late
    gc.collect()
    assert found_late() is None
    assert found_early() is not None
    gc_pause.resume()
    gc.collect()
    assert found_early() is None


def test_rest_ends_with_the_block_whatever_happens_in_it() -> None:
    was_enabled: list[bool] = []

    def fail() -> None:
        with gc_pause.paused():
            was_enabled.append(gc.isenabled())
            raise ValueError("in it")

    with pytest.raises(ValueError, match="in it"):
        fail()
    assert was_enabled == [False]
    assert gc.isenabled()


def test_start_that_fails_leaves_nothing_held() -> None:
    was_enabled: list[bool] = []

    def fail() -> None:
        with gc_pause.paused_during_start():
            was_enabled.append(gc.isenabled())
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        fail()
    assert was_enabled == [False]
    assert gc.isenabled()


def test_rest_within_a_rest_ends_neither() -> None:
    gc_pause.pause()
    with gc_pause.paused():
        pass
    assert not gc.isenabled()
