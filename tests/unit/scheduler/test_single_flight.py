"""A claim resolves all that joined it; a claim without a result leaves them to compute it."""

from __future__ import annotations

import asyncio
import contextlib

from shortlist.scheduler.single_flight import InFlight


async def test_who_waits_gets_what_was_computed() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        theirs = in_flight.join([b"a", b"b", b"c"])
        assert theirs.keys() == {b"a", b"b"}
        landed[b"a"], landed[b"b"] = 1, 2
    assert [await theirs[b"a"], await theirs[b"b"]] == [1, 2]


async def test_uncomputed_key_resolves_to_none() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        theirs = in_flight.join([b"a", b"b"])
        landed[b"a"] = 1
    assert [await theirs[b"a"], await theirs[b"b"]] == [1, None]


async def test_failure_of_one_is_not_the_failure_of_all() -> None:
    in_flight: InFlight[int] = InFlight()
    theirs = {}
    with contextlib.suppress(ZeroDivisionError), in_flight.claim([b"a"]):
        theirs = in_flight.join([b"a"])
        raise ZeroDivisionError
    assert await theirs[b"a"] is None


async def test_nothing_is_left_behind() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a"]) as landed:
        assert len(in_flight) == 1
        landed[b"a"] = 1
    assert len(in_flight) == 0
    assert in_flight.join([b"a"]) == {}


async def test_cancelled_waiter_does_not_affect_others() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a"]) as landed:
        theirs = in_flight.join([b"a"])[b"a"]
        impatient = asyncio.ensure_future(asyncio.wait([theirs], timeout=10))
        patient = asyncio.ensure_future(asyncio.wait([theirs], timeout=10))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        landed[b"a"] = 1
    done, _ = await patient
    assert [flight.result() for flight in done] == [1]


async def test_cancelled_single_waiter_does_not_affect_others() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        theirs = in_flight.join([b"a", b"b"])
        impatient = asyncio.ensure_future(asyncio.wait_for(theirs[b"a"], timeout=10))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        landed[b"a"], landed[b"b"] = 1, 2
    assert theirs[b"a"].cancelled()
    assert await theirs[b"b"] == 2
    assert len(in_flight) == 0
