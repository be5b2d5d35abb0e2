"""A claim resolves all that joined it; a claim without a result leaves them to compute it."""

from __future__ import annotations

import asyncio
import contextlib

from shortlist.scheduler.single_flight import InFlight


async def test_joined_request_gets_the_result() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        joined = in_flight.join([b"a", b"b", b"c"])
        assert joined.keys() == {b"a", b"b"}
        landed[b"a"], landed[b"b"] = 1, 2
    assert [await joined[b"a"], await joined[b"b"]] == [1, 2]


async def test_claim_without_a_result_resolves_to_none() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        joined = in_flight.join([b"a", b"b"])
        landed[b"a"] = 1
    assert [await joined[b"a"], await joined[b"b"]] == [1, None]


async def test_failure_of_one_is_not_the_failure_of_all() -> None:
    in_flight: InFlight[int] = InFlight()
    joined = {}
    with contextlib.suppress(ZeroDivisionError), in_flight.claim([b"a"]):
        joined = in_flight.join([b"a"])
        raise ZeroDivisionError
    assert await joined[b"a"] is None


async def test_nothing_is_left_behind() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a"]) as landed:
        assert len(in_flight) == 1
        landed[b"a"] = 1
    assert len(in_flight) == 0
    assert in_flight.join([b"a"]) == {}


async def test_cancelled_join_leaves_others_waiting() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a"]) as landed:
        joined = in_flight.join([b"a"])[b"a"]
        impatient = asyncio.ensure_future(asyncio.wait([joined], timeout=10))
        patient = asyncio.ensure_future(asyncio.wait([joined], timeout=10))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        landed[b"a"] = 1
    done, _ = await patient
    assert [future.result() for future in done] == [1]


async def test_cancelled_join_of_one_key_leaves_other_keys() -> None:
    in_flight: InFlight[int] = InFlight()
    with in_flight.claim([b"a", b"b"]) as landed:
        joined = in_flight.join([b"a", b"b"])
        impatient = asyncio.ensure_future(asyncio.wait_for(joined[b"a"], timeout=10))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        landed[b"a"], landed[b"b"] = 1, 2
    assert joined[b"a"].cancelled()
    assert await joined[b"b"] == 2
    assert len(in_flight) == 0
