"""Compute values of texts for any task: cache -> admit -> single flight -> tokenize -> dispatch -> cache.

Steps 10 to 17 of the request path (docs/architecture.md). Texts are deduplicated; misses are tokenized in a worker thread and
submitted as one job.
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
from shortlist.scheduler.cache import Entry, cache_keys
from shortlist.scheduler.dispatcher import LATE, Completed
from shortlist.scheduler.queue import Flow
from shortlist.scheduler.served_model import ServedModel
from shortlist.telemetry.traces import add_span, span
from shortlist.types import (
    DocumentStats,
    Encoded,
    Operation,
    Outcome,
    Prompt,
    RequestOptions,
    Timing,
    Usage,
    Value,
    num_batch_tokens,
)

CHARS_PER_TOKEN = 3.0
"""Estimate of a text's cost before it is tokenized; the permit is settled with the true count afterwards."""

TextValue = Entry | ServiceError


@dataclass(frozen=True, slots=True)
class Computed:
    """One `TextValue` per text, in the caller's order, with token counts and timing."""

    found: Sequence[TextValue]
    usage: Usage
    timing: Timing

    @property
    def document_stats(self) -> list[DocumentStats | None]:
        """How much of every text was processed; None for failed texts."""
        return [found.stats if isinstance(found, Entry) else None for found in self.found]

    @property
    def truncated(self) -> list[int]:
        """Positions of truncated texts."""
        return [index for index, stats in enumerate(self.document_stats) if stats is not None and stats.is_truncated]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRequest:
    """What to compute with one served model.

    Attributes:
        operation: What to compute.
        texts: The texts, in the caller's order.
        keys: The cache key of every text: see `keys_of`.
        overhead_chars: Characters besides the texts (query, instruction), for the cost estimate.
        encode: Tokenizes texts; called in a worker thread with the positions of the cache misses.
        options: Priority, deadline and caller.
    """

    operation: Operation
    texts: Sequence[str]
    keys: Sequence[bytes]
    overhead_chars: int
    encode: Callable[[Sequence[int]], list[Encoded]]
    options: RequestOptions


KeyedTexts = Mapping[bytes, int]
"""Positions of texts by cache key."""

FuturesByKey = Mapping[bytes, asyncio.Future[TextValue | None]]
"""Computations of other requests, by cache key."""


async def compute(served: ServedModel, request: ComputeRequest) -> Computed:
    """Return a value or an error for every text.

    Raises:
        Overloaded: the whole request is refused.
        DeadlineExceeded: the deadline passed, and the request is not partial.
        InputTooLong: a text does not fit and must not be truncated.
        EngineUnavailable: the engine has failed.
    """
    timeout_s = request.options.timeout_s
    deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    position_of = {key: index for index, key in enumerate(request.keys)}  # equal texts share a key and are computed once
    with span("cache"):
        known = await _cached(served, request.operation, position_of)
    missing = {key: index for key, index in position_of.items() if key not in known}
    served.metrics.cache_hits.labels(served.name).inc(len(known))
    served.metrics.cache_misses.labels(served.name).inc(len(missing))
    fresh, timing = await _compute_missing(served, request, missing, deadline_s) if missing else ({}, Timing())
    by_key: dict[bytes, TextValue] = {**known, **fresh}
    found = [by_key[key] for key in request.keys]
    num_tokens = sum(entry.num_tokens for entry in found if isinstance(entry, Entry))
    return Computed(found, Usage(num_tokens, sum(key in known for key in request.keys)), timing)


def keys_of(served: ServedModel, operation: Operation, context: Sequence[str], texts: Sequence[str]) -> list[bytes]:
    """Return the cache key of every text.

    Args:
        served: The served model.
        operation: What to compute.
        context: Everything besides model and text that determines a value (query, instruction, limits).
        texts: The texts.
    """
    return cache_keys((served.engine.info.fingerprint, served.encoder.fingerprint, operation.name, *context), texts)


async def _cached(served: ServedModel, operation: Operation, wanted: KeyedTexts) -> dict[bytes, Entry]:
    """Return cached entries: from memory, then from the shared cache."""
    known = served.cache.get_many(wanted)
    if served.shared is None or len(known) == len(wanted):
        return known
    remote = await served.shared.get_many(operation, [key for key in wanted if key not in known])
    served.cache.put_many(remote)
    return {**known, **remote}


async def _compute_missing(
    served: ServedModel, request: ComputeRequest, missing: KeyedTexts, deadline_s: float
) -> tuple[dict[bytes, TextValue], Timing]:
    """Compute missing keys, and join those in flight; a joined key that ends without a result is computed here."""
    cost, num_bytes = _estimate(request, missing), sum(sys.getsizeof(request.texts[index]) for index in missing.values())
    found: dict[bytes, TextValue] = {}
    timing = Timing()
    # Admission counts all missing keys, as joined requests may be cancelled. A request that only joins is admitted as well.
    with served.admission.admit(
        cost, num_bytes=num_bytes, flow=Flow.of(request.options), timeout_s=request.options.timeout_s
    ) as permit:
        try:
            while left := {key: index for key, index in missing.items() if key not in found}:
                joined = served.in_flight[request.options.priority].join(left)
                claimed = {key: index for key, index in left.items() if key not in joined}
                if claimed:
                    permit.settle(_estimate(request, claimed))
                    fresh, timing = await _compute_claimed(served, request, claimed, permit, deadline_s)
                    found |= fresh
                permit.settle(0)
                started_s = time.monotonic()
                found |= await _join(served, request, joined, deadline_s)
                timing = replace(timing, queue_s=timing.queue_s + time.monotonic() - started_s)
        except DeadlineExceeded as late:
            if not request.options.is_partial:
                raise
            found = {**dict.fromkeys(missing, late), **found}
    return found, timing


async def _compute_claimed(
    served: ServedModel, request: ComputeRequest, claimed: KeyedTexts, permit: Permit, deadline_s: float
) -> tuple[dict[bytes, TextValue], Timing]:
    """Claim and compute keys. Requests that joined do not inherit this request's deadline errors."""
    with served.in_flight[request.options.priority].claim(claimed) as results:
        fresh, timing = await _compute(served, request, claimed, permit, deadline_s)
        results.update({key: each for key, each in fresh.items() if not isinstance(each, DeadlineExceeded)})
    return fresh, timing


async def _join(
    served: ServedModel, request: ComputeRequest, joined: FuturesByKey, deadline_s: float
) -> dict[bytes, TextValue]:
    """Return the results of other requests' computations; keys without a result are left out."""
    if not joined:
        return {}
    served.metrics.coalesced.labels(served.name).inc(len(joined))
    with span("join"):
        _, late = await asyncio.wait(joined.values(), timeout=_left_s(deadline_s))
    if late and not request.options.is_partial:
        raise DeadlineExceeded(LATE)
    results = {key: DeadlineExceeded(LATE) if future in late else future.result() for key, future in joined.items()}
    return {key: result for key, result in results.items() if result is not None}


async def _compute(
    served: ServedModel, request: ComputeRequest, claimed: KeyedTexts, permit: Permit, deadline_s: float
) -> tuple[dict[bytes, TextValue], Timing]:
    """Tokenize, submit, collect, cache."""
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(_left_s(deadline_s)):
            encoded = await asyncio.to_thread(request.encode, list(claimed.values()))
    except TimeoutError:
        raise DeadlineExceeded(LATE) from None
    tokenize_s = time.monotonic() - started_s
    add_span("tokenize", started_s)
    prompts = [prompt for each in encoded for prompt in each.prompts]
    permit.settle(num_batch_tokens(prompts))
    _observe(served, request.operation, encoded, tokenize_s)
    completed = await _submit(served, request, prompts, deadline_s)
    add_span("queue", completed.submitted_s, completed.submitted_s + completed.queue_s)
    add_span("inference", completed.submitted_s + completed.queue_s)
    fresh = dict(zip(claimed, _text_values(request.operation, encoded, completed), strict=True))
    _store(served, {key: found for key, found in fresh.items() if isinstance(found, Entry)})
    return fresh, Timing(tokenize_s=tokenize_s, queue_s=completed.queue_s, compute_s=completed.compute_s)


async def _submit(served: ServedModel, request: ComputeRequest, prompts: Sequence[Prompt], deadline_s: float) -> Completed:
    """Submit prompts; after an engine failure, submit them again once it has restarted, if the deadline allows."""
    while True:
        try:
            return await served.dispatcher.submit(
                request.operation,
                prompts,
                flow=Flow.of(request.options),
                deadline_s=None if deadline_s == math.inf else deadline_s,
                is_partial=request.options.is_partial,
            )
        except EngineUnavailable:
            if not _can_wait_for_restart(served, deadline_s):
                raise
        try:
            async with asyncio.timeout(_left_s(deadline_s)):
                await served.dispatcher.wait_until_restarted()
        except TimeoutError:
            raise DeadlineExceeded(LATE) from None


def _can_wait_for_restart(served: ServedModel, deadline_s: float) -> bool:
    """Return whether the request's deadline is later than the expected end of the restart."""
    if served.restart_s is None or deadline_s == math.inf:
        return False
    return deadline_s - time.monotonic() > served.restart_s


def _store(served: ServedModel, entries: Mapping[bytes, Entry]) -> None:
    served.cache.put_many(entries)
    served.metrics.cache_bytes.labels(served.name).set(served.cache.num_bytes)
    if served.shared is not None:
        served.shared.put_many(entries)


def _text_values(operation: Operation, encoded: Sequence[Encoded], completed: Completed) -> Iterator[TextValue]:
    """Yield the value of every text from the outcomes of its prompts."""
    outcomes = iter(completed.outcomes)
    for each in encoded:
        yield _found(operation, each, list(islice(outcomes, len(each.prompts))))


def _found(operation: Operation, encoded: Encoded, outcomes: Sequence[Outcome]) -> TextValue:
    """Return the value of a text: of its only prompt, or its best window. One failed window fails the text."""
    failure = next((outcome for outcome in outcomes if isinstance(outcome, ServiceError)), None)
    if failure is not None:
        return failure
    values: Sequence[Value] = outcomes
    best = values.index(max(values)) if len(values) > 1 else 0  # only scores have several windows
    stats = DocumentStats(
        num_tokens=encoded.num_tokens,
        num_tokens_total=encoded.num_tokens_total,
        is_truncated=encoded.is_truncated,
        num_windows=len(outcomes),
        best=encoded.spans[best] if encoded.spans else None,
    )
    return Entry(operation, values[best], sum(prompt.num_tokens for prompt in encoded.prompts), stats)


def _left_s(deadline_s: float) -> float | None:
    return None if deadline_s == math.inf else deadline_s - time.monotonic()


def _estimate(request: ComputeRequest, wanted: KeyedTexts) -> int:
    num_chars = sum(len(request.texts[index]) for index in wanted.values())
    return int((num_chars + request.overhead_chars) / CHARS_PER_TOKEN) + len(wanted)


def _observe(served: ServedModel, operation: Operation, encoded: Sequence[Encoded], tokenize_s: float) -> None:
    served.metrics.tokenize_duration.labels(served.name, operation.name).observe(tokenize_s)
    served.metrics.escaped.labels(served.name).inc(sum(each.num_escaped for each in encoded))
