"""What both use cases share: remember, spell, submit, learn.

The walk's steps 5 to 11 for any task: unique texts are looked up in the cache, the missing ones are tokenised in a worker
thread, submitted as one job, and remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shortlist.errors import ServiceError
from shortlist.scheduler.cache import Entry, keys
from shortlist.scheduler.dispatcher import Completed
from shortlist.service.stack import Stack
from shortlist.types import Outcome, Prompt, Task, Timing, Usage

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
    def truncated(self) -> list[int]:
        """Positions of the texts that were cut to fit."""
        return [index for index, found in enumerate(self.found) if isinstance(found, Entry) and found.is_truncated]


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
    encode: Callable[[Sequence[str]], list[Prompt]]
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
    names = keys(
        (stack.engine.info.fingerprint, stack.encoder.fingerprint, request.task.value, *request.context), request.texts
    )
    text_of = dict(zip(names, request.texts, strict=True))  # equal texts share a name and are computed once
    known = stack.cache.get_many(text_of)
    missing = [name for name in text_of if name not in known]
    _count_lookups(stack, hits=len(known), misses=len(missing))
    if not missing:
        return _assemble(names, dict(known), num_cached=len(names), timing=Timing())
    texts = [text_of[name] for name in missing]
    with stack.admission.admit(_estimate(texts, request.overhead_chars), timeout_s=request.timeout_s) as permit:
        started_s = time.monotonic()
        prompts = await asyncio.to_thread(request.encode, texts)
        tokenize_s = time.monotonic() - started_s
        stack.metrics.tokenize_duration.labels(stack.name).observe(tokenize_s)
        permit.settle(sum(prompt.num_tokens for prompt in prompts) + prompts[0].head.num_tokens)
        completed = await stack.dispatcher.submit(request.task, prompts, deadline_s=deadline_s)
    fresh = {name: _entry(p, o) for name, p, o in zip(missing, prompts, completed.outcomes, strict=True)}
    stack.cache.put_many({name: found for name, found in fresh.items() if isinstance(found, Entry)})
    stack.metrics.cache_bytes.labels(stack.name).set(stack.cache.num_bytes)
    num_cached = sum(name in known for name in names)
    return _assemble(names, {**known, **fresh}, num_cached=num_cached, timing=_timing(tokenize_s, completed))


def _entry(prompt: Prompt, outcome: Outcome) -> Found:
    if isinstance(outcome, ServiceError):
        return outcome
    return Entry(outcome, prompt.head.num_tokens + prompt.num_tokens, prompt.is_truncated)


def _assemble(names: Sequence[bytes], by_name: dict[bytes, Found], *, num_cached: int, timing: Timing) -> Computed:
    found = [by_name[name] for name in names]
    num_tokens = sum(entry.num_tokens for entry in found if isinstance(entry, Entry))
    return Computed(found, Usage(num_tokens, num_cached), timing)


def _estimate(texts: Sequence[str], overhead_chars: int) -> int:
    return int((sum(map(len, texts)) + overhead_chars) / CHARS_PER_TOKEN) + len(texts)


def _timing(tokenize_s: float, completed: Completed) -> Timing:
    return Timing(tokenize_s=tokenize_s, queue_s=completed.queue_s, compute_s=completed.compute_s)


def _count_lookups(stack: Stack, *, hits: int, misses: int) -> None:
    stack.metrics.cache_hits.labels(stack.name).inc(hits)
    stack.metrics.cache_misses.labels(stack.name).inc(misses)
