"""Checks answers under load: re-sends documents of some answers one by one to the idle server.

A server with a cache repeats its cached answers, and the check shows nothing; disable its cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shortlist.bench.dialects import apart
from shortlist.bench.http_client import LoadClient
from shortlist.bench.samples import AnswerCheck, KeptAnswer
from shortlist.bench.texts import LoadRequest


async def check(client: LoadClient, kept: Sequence[KeptAnswer], tolerance: float, stop: asyncio.Event) -> AnswerCheck:
    """Compare the numbers of these answers with those of every document sent alone, until a stop."""
    total = AnswerCheck()
    for each in kept:
        for document, row in zip(each.request.documents, each.numbers, strict=True):
            if stop.is_set():
                return total
            total += await _compare(client, LoadRequest(each.request.query, (document,)), row, tolerance)
    return total


async def _compare(client: LoadClient, request: LoadRequest, row: Sequence[float], tolerance: float) -> AnswerCheck:
    outcome = await client.ask(request)
    if outcome.numbers is None:
        return AnswerCheck(num_unanswered=1)
    if len(outcome.numbers[0]) != len(row):  # a vector of another width
        return AnswerCheck(num_checked=1, num_wrong=1)
    difference = apart(outcome.numbers, [row])
    return AnswerCheck(num_checked=1, num_wrong=int(difference > tolerance), largest=difference)
