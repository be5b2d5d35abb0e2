"""What both use cases share: remember, spell, submit, learn.

The walk's steps 5 to 11 for any task: unique texts are looked up in the cache, the missing ones are tokenised in a worker
thread, submitted as one job, and remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from shortlist.errors import ServiceError
from shortlist.scheduler.cache import Entry, keys
from shortlist.scheduler.dispatcher import Completed
from shortlist.service.stack import Stack
from shortlist.types import Encoded, Outcome, Prompt, Reading, Task, Timing, Usage

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
    def readings(self) -> list[Reading | None]:
        """What was read of every text; None for those that failed."""
        return [found.reading if isinstance(found, Entry) else None for found in self.found]

    @property
    def truncated(self) -> list[int]:
        """Positions of the texts whose end was not read."""
        return [index for index, reading in enumerate(self.readings) if reading is not None and reading.is_truncated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compute for one stack.

    Attributes:
        task: What to do with every text.
        texts: The texts, in the caller's order.
        context: Everything besides stack and text that decides a value (query, instruction, limits); part of the cache key.
        overhead_chars: Characters that are read once with the texts (the query).
        encode: Spells texts as prompts; called in a worker thread with the texts that are not remembered.
        timeout_s: Seconds the caller is willing to wait.
    """

    task: Task
    texts: Sequence[str]
    context: Sequence[str]
    overhead_chars: int
    encode: Callable[[Sequence[str]], list[Encoded]]
    timeout_s: float | None


async def compute(stack: Stack, request: Request) -> Computed:
    """Return a value, or the error that is its own, for every text.

    Raises:
        Overloaded: the whole request is refused.
        DeadlineExceeded: its time was up.
        InputTooLong: a text does not fit and must not be cut.
        EngineUnavailable: the engine is gone.
    """
    deadline_s = None if request.timeout_s is None else time.monotonic() + request.timeout_s
    names = names_of(stack, request)
    text_of = dict(zip(names, request.texts, strict=True))  # equal texts share a name and are computed once
    known = stack.cache.get_many(text_of)
    missing = {name: text for name, text in text_of.items() if name not in known}
    stack.metrics.cache_hits.labels(stack.name).inc(len(known))
    stack.metrics.cache_misses.labels(stack.name).inc(len(missing))
    fresh, timing = await _compute(stack, request, missing, deadline_s) if missing else ({}, Timing())
    by_name: dict[bytes, Found] = {**known, **fresh}
    found = [by_name[name] for name in names]
    num_tokens = sum(entry.num_tokens for entry in found if isinstance(entry, Entry))
    return Computed(found, Usage(num_tokens, sum(name in known for name in names)), timing)


def names_of(stack: Stack, request: Request) -> list[bytes]:
    """Return the cache key of every text."""
    identity = (stack.engine.info.fingerprint, stack.encoder.fingerprint, request.task.value)
    return keys((*identity, *request.context), request.texts)


async def _compute(
    stack: Stack, request: Request, missing: Mapping[bytes, str], deadline_s: float | None
) -> tuple[dict[bytes, Found], Timing]:
    texts = list(missing.values())
    with stack.admission.admit(_estimate(texts, request.overhead_chars), timeout_s=request.timeout_s) as permit:
        started_s = time.monotonic()
        encoded = await asyncio.to_thread(request.encode, texts)
        tokenize_s = time.monotonic() - started_s
        prompts = [prompt for each in encoded for prompt in each.prompts]
        permit.settle(sum(prompt.num_tokens for prompt in prompts) + prompts[0].head.num_tokens)
        _observe(stack, encoded, tokenize_s)
        completed = await stack.dispatcher.submit(request.task, prompts, deadline_s=deadline_s)
    fresh = dict(zip(missing, _gather(encoded, completed), strict=True))
    stack.cache.put_many({name: found for name, found in fresh.items() if isinstance(found, Entry)})
    stack.metrics.cache_bytes.labels(stack.name).set(stack.cache.num_bytes)
    return fresh, Timing(tokenize_s=tokenize_s, queue_s=completed.queue_s, compute_s=completed.compute_s)


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
    reading = Reading(
        num_tokens=encoded.num_tokens,
        num_tokens_total=encoded.num_tokens_total,
        is_truncated=encoded.is_truncated,
        num_windows=len(outcomes),
        best=encoded.spans[best] if encoded.spans else None,
    )
    return Entry(value, sum(_num_read(prompt) for prompt in encoded.prompts), reading)


def _num_read(prompt: Prompt) -> int:
    return prompt.head.num_tokens + prompt.num_tokens


def _estimate(texts: Sequence[str], overhead_chars: int) -> int:
    return int((sum(map(len, texts)) + overhead_chars) / CHARS_PER_TOKEN) + len(texts)


def _observe(stack: Stack, encoded: Sequence[Encoded], tokenize_s: float) -> None:
    stack.metrics.tokenize_duration.labels(stack.name).observe(tokenize_s)
    stack.metrics.neutralised.labels(stack.name).inc(sum(each.num_neutralised for each in encoded))
