"""Whether answers under load are right: documents of some of them asked again, each alone, while nobody else asks.

A server that remembers its answers repeats them here, and the check is no check; it should run without its cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shortlist.bench.texts import Request
from shortlist.bench.traffic.asker import Asker
from shortlist.bench.traffic.dialect import apart
from shortlist.bench.traffic.journal import Kept
from shortlist.bench.traffic.tally import Check


async def check(asker: Asker, kept: Sequence[Kept], tolerance: float, stop: asyncio.Event) -> Check:
    """Return how the numbers of these answers compare with those to every document alone, until told to stop."""
    total = Check()
    try:
        for each in kept:
            for place, document in enumerate(each.request.documents):
                if stop.is_set():
                    return total
                total += await _compare(asker, Request(each.request.query, (document,)), each.numbers[place], tolerance)
    finally:
        asker.close()
    return total


async def _compare(asker: Asker, request: Request, row: Sequence[float], tolerance: float) -> Check:
    outcome = await asker.ask(request)
    if outcome.numbers is None:
        return Check(num_unanswered=1)
    if len(outcome.numbers[0]) != len(row):  # a vector of another width
        return Check(num_checked=1, num_wrong=1)
    difference = apart(outcome.numbers, [row])
    return Check(num_checked=1, num_wrong=int(difference > tolerance), largest=difference)
