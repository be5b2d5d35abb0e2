"""Whether answers under load are right: documents of some of them asked again, each alone, on an idle server.

A server that caches its answers repeats them here, and the check shows nothing; it should run without its cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shortlist.bench.client import Asker
from shortlist.bench.dialects import apart
from shortlist.bench.samples import Check, Kept
from shortlist.bench.texts import Request


async def check(asker: Asker, kept: Sequence[Kept], tolerance: float, stop: asyncio.Event) -> Check:
    """Return how the numbers of these answers compare with those of every document alone, until a stop."""
    total = Check()
    for each in kept:
        for document, row in zip(each.request.documents, each.numbers, strict=True):
            if stop.is_set():
                return total
            total += await _compare(asker, Request(each.request.query, (document,)), row, tolerance)
    return total


async def _compare(asker: Asker, request: Request, row: Sequence[float], tolerance: float) -> Check:
    outcome = await asker.ask(request)
    if outcome.numbers is None:
        return Check(num_unanswered=1)
    if len(outcome.numbers[0]) != len(row):  # a vector of another width
        return Check(num_checked=1, num_wrong=1)
    difference = apart(outcome.numbers, [row])
    return Check(num_checked=1, num_wrong=int(difference > tolerance), largest=difference)
