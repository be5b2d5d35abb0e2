"""What both use cases share: remember, spell, submit, learn.

The walk's steps 5 to 11 for any task: unique texts are looked up in the cache, the missing ones are tokenised in a worker
thread, submitted as one job, and remembered.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from shortlist.errors import DeadlineExceeded, EngineUnavailable, ServiceError
from shortlist.scheduler.admission import Permit
from shortlist.scheduler.cache import Entry, keys
from shortlist.scheduler.dispatcher import LATE, Completed
from shortlist.scheduler.queue import Flow
from shortlist.service.stack import Stack
from shortlist.telemetry.traces import note, step
from shortlist.types import DocumentStats, Encoded, Outcome, Prompt, RequestOptions, Task, Timing, Usage

CHARS_PER_TOKEN = 3.0
"""Rough cost of text before it is tokenised; the permit is settled with the true count afterwards."""

Found = Entry | ServiceError


@dataclass(frozen=True, slots=True)
class Computed:
    """One `Found` per text, in the caller's order, and where the time went."""

    found: Sequence[Found]
    usage: Usage
    timing: Timing

    @property
    def document_stats(self) -> list[DocumentStats | None]:
        """What was read of every text; None for those that failed."""
        return [found.stats if isinstance(found, Entry) else None for found in self.found]

    @property
    def truncated(self) -> list[int]:
        """Positions of the texts whose end was not read."""
        return [index for index, stats in enumerate(self.document_stats) if stats is not None and stats.is_truncated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compute for one stack.

    Attributes:
        task: What to do with every text.
        texts: The texts, in the caller's order.
        names: Of every text, the name of its value: see `names_of`.
        overhead_chars: Characters that are read besides the texts (the query).
        encode: Spells texts as prompts; called in a worker thread with the positions of those that are not remembered.
        terms: How it is to be served.
    """

    task: Task
    texts: Sequence[str]
    names: Sequence[bytes]
    overhead_chars: int
    encode: Callable[[Sequence[int]], list[Encoded]]
    options: RequestOptions


Named = Mapping[bytes, int]
"""Positions of texts by the names of their values."""

Flying = Mapping[bytes, asyncio.Future[Found | None]]
"""What others compute, by name."""


async def compute(stack: Stack, request: Request) -> Computed:
    """Return a value, or the error that is its own, for every text.

    Raises:
        Overloaded: the whole request is refused.
        DeadlineExceeded: its time was up, and nobody asked for a part of it.
        InputTooLong: a text does not fit and must not be cut.
        EngineUnavailable: the engine is gone.
    """
    timeout_s = request.options.timeout_s
    deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    position_of = {name: index for index, name in enumerate(request.names)}  # equal texts share a name and are computed once
    with step("cache"):
        known = await _remembered(stack, position_of)
    missing = {name: index for name, index in position_of.items() if name not in known}
    stack.metrics.cache_hits.labels(stack.name).inc(len(known))
    stack.metrics.cache_misses.labels(stack.name).inc(len(missing))
    fresh, timing = await _find(stack, request, missing, deadline_s) if missing else ({}, Timing())
    by_name: dict[bytes, Found] = {**known, **fresh}
    found = [by_name[name] for name in request.names]
    num_tokens = sum(entry.num_tokens for entry in found if isinstance(entry, Entry))
    return Computed(found, Usage(num_tokens, sum(name in known for name in request.names)), timing)


def names_of(stack: Stack, task: Task, context: Sequence[str], texts: Sequence[str]) -> list[bytes]:
    """Return the name of every text's value, which is its key in caches.

    Args:
        stack: Who computes.
        task: What.
        context: Everything besides stack and text that decides a value (query, instruction, limits).
        texts: The texts.
    """
    return keys((stack.engine.info.fingerprint, stack.encoder.fingerprint, task.value, *context), texts)


async def _remembered(stack: Stack, wanted: Named) -> dict[bytes, Entry]:
    """Return what is known already: to this server, or to those that share their memory with it."""
    known = stack.cache.get_many(wanted)
    if stack.shared is None or len(known) == len(wanted):
        return known
    elsewhere = await stack.shared.get_many([name for name in wanted if name not in known])
    stack.cache.put_many(elsewhere)
    return {**known, **elsewhere}


async def _find(stack: Stack, request: Request, missing: Named, deadline_s: float) -> tuple[dict[bytes, Found], Timing]:
    """Compute what nobody computes, and wait for what somebody does; what they gave up is computed after all."""
    cost, num_bytes = _estimate(request, missing), sum(sys.getsizeof(request.texts[index]) for index in missing.values())
    found: dict[bytes, Found] = {}
    timing = Timing()
    # Refused by what it would cost without the others, who may leave. Whoever only waits for others is inside as well.
    with stack.admission.admit(
        cost, num_bytes=num_bytes, flow=Flow.of(request.options), timeout_s=request.options.timeout_s
    ) as permit:
        try:
            while left := {name: index for name, index in missing.items() if name not in found}:
                theirs = stack.flights[request.options.priority].of(left)
                own = {name: index for name, index in left.items() if name not in theirs}
                if own:
                    permit.settle(_estimate(request, own))
                    fresh, timing = await _lead(stack, request, own, permit, deadline_s)
                    found |= fresh
                permit.settle(0)
                started_s = time.monotonic()
                found |= await _follow(stack, request, theirs, deadline_s)
                timing = replace(timing, queue_s=timing.queue_s + time.monotonic() - started_s)
        except DeadlineExceeded as late:
            if not request.options.is_partial:
                raise
            found = {**dict.fromkeys(missing, late), **found}
    return found, timing


async def _lead(
    stack: Stack, request: Request, own: Named, permit: Permit, deadline_s: float
) -> tuple[dict[bytes, Found], Timing]:
    """Compute these for everybody who wants them meanwhile. That we ran out of time is nobody else's business."""
    with stack.flights[request.options.priority].lead(own) as landed:
        fresh, timing = await _compute(stack, request, own, permit, deadline_s)
        landed.update({name: each for name, each in fresh.items() if not isinstance(each, DeadlineExceeded)})
    return fresh, timing


async def _follow(stack: Stack, request: Request, theirs: Flying, deadline_s: float) -> dict[bytes, Found]:
    """Return what came of other requests' computations; nothing of those that were given up."""
    if not theirs:
        return {}
    stack.metrics.coalesced.labels(stack.name).inc(len(theirs))
    with step("join"):
        _, late = await asyncio.wait(theirs.values(), timeout=_left_s(deadline_s))
    if late and not request.options.is_partial:
        raise DeadlineExceeded(LATE)
    results = {name: DeadlineExceeded(LATE) if flight in late else flight.result() for name, flight in theirs.items()}
    return {name: result for name, result in results.items() if result is not None}


async def _compute(
    stack: Stack, request: Request, own: Named, permit: Permit, deadline_s: float
) -> tuple[dict[bytes, Found], Timing]:
    """Spell, submit, gather, remember."""
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_left_s(deadline_s)):
            encoded = await asyncio.to_thread(request.encode, list(own.values()))
    except TimeoutError:
        raise DeadlineExceeded(LATE) from None
    tokenize_s = time.monotonic() - started_s
    note("tokenize", started_s)
    prompts = [prompt for each in encoded for prompt in each.prompts]
    prefixes = {id(prompt.prefix): prompt.prefix.num_tokens for prompt in prompts}
    permit.settle(sum(prompt.num_tokens for prompt in prompts) + sum(prefixes.values()))
    _observe(stack, request.task, encoded, tokenize_s)
    completed = await _submit(stack, request, prompts, deadline_s)
    note("queue", completed.submitted_s, completed.submitted_s + completed.queue_s)
    note("inference", completed.submitted_s + completed.queue_s)
    fresh = dict(zip(own, _gather(encoded, completed), strict=True))
    _remember(stack, {name: found for name, found in fresh.items() if isinstance(found, Entry)})
    return fresh, Timing(tokenize_s=tokenize_s, queue_s=completed.queue_s, compute_s=completed.compute_s)


async def _submit(stack: Stack, request: Request, prompts: Sequence[Prompt], deadline_s: float) -> Completed:
    """Have the prompts computed; by the engine that comes after this one, if that can be in time."""
    while True:
        try:
            return await stack.dispatcher.submit(
                request.task,
                prompts,
                flow=Flow.of(request.options),
                deadline_s=None if deadline_s == math.inf else deadline_s,
                is_partial=request.options.is_partial,
            )
        except EngineUnavailable:
            if not _is_worth_waiting(stack, deadline_s):
                raise
        try:
            async with asyncio.timeout(_left_s(deadline_s)):
                await stack.dispatcher.wait_until_back()
        except TimeoutError:
            raise DeadlineExceeded(LATE) from None


def _is_worth_waiting(stack: Stack, deadline_s: float) -> bool:
    """Tell whether a caller who said how long it waits would still be there when the engine is back."""
    if stack.restart_s is None or deadline_s == math.inf:
        return False
    return deadline_s - time.monotonic() > stack.restart_s


def _remember(stack: Stack, entries: Mapping[bytes, Entry]) -> None:
    stack.cache.put_many(entries)
    stack.metrics.cache_bytes.labels(stack.name).set(stack.cache.num_bytes)
    if stack.shared is not None:
        stack.shared.put_many(entries)


def _gather(encoded: Sequence[Encoded], completed: Completed) -> Iterator[Found]:
    """Yield what became of every text, from what became of its prompts."""
    outcomes = iter(completed.outcomes)
    for each in encoded:
        yield _found(each, list(islice(outcomes, len(each.prompts))))


def _found(encoded: Encoded, outcomes: Sequence[Outcome]) -> Found:
    """Return the value of a text: of its only prompt, or of its best window. It fails if one of them did."""
    failure = next((outcome for outcome in outcomes if isinstance(outcome, ServiceError)), None)
    if failure is not None:
        return failure
    best = max(range(len(outcomes)), key=lambda index: outcomes[index]) if len(outcomes) > 1 else 0  # type: ignore[arg-type,return-value]
    value = outcomes[best]
    assert not isinstance(value, ServiceError), "Failures were sorted out above. This is a bug."
    stats = DocumentStats(
        num_tokens=encoded.num_tokens,
        num_tokens_total=encoded.num_tokens_total,
        is_truncated=encoded.is_truncated,
        num_windows=len(outcomes),
        best=encoded.spans[best] if encoded.spans else None,
    )
    return Entry(value, sum(_num_read(prompt) for prompt in encoded.prompts), stats)


def _num_read(prompt: Prompt) -> int:
    return prompt.prefix.num_tokens + prompt.num_tokens


def _left_s(deadline_s: float) -> float | None:
    return None if deadline_s == math.inf else deadline_s - time.monotonic()


def _estimate(request: Request, wanted: Named) -> int:
    num_chars = sum(len(request.texts[index]) for index in wanted.values())
    return int((num_chars + request.overhead_chars) / CHARS_PER_TOKEN) + len(wanted)


def _observe(stack: Stack, task: Task, encoded: Sequence[Encoded], tokenize_s: float) -> None:
    stack.metrics.tokenize_duration.labels(stack.name, task.value).observe(tokenize_s)
    stack.metrics.escaped.labels(stack.name).inc(sum(each.num_escaped for each in encoded))
