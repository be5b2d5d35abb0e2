"""The composition root: settings in, a runtime with every model loaded out.

The only place that knows which encoder belongs to which engine. Engines are imported here, when they are needed, so that
a machine without torch can still build what does not need it.
"""

from __future__ import annotations

import time

from shortlist.config import SchedulerSettings
from shortlist.engine.base import Engine
from shortlist.scheduler.admission import Admission, AdmissionLimits
from shortlist.scheduler.cache import ScoreCache
from shortlist.scheduler.dispatcher import Dispatcher
from shortlist.scheduler.queue import WorkQueue
from shortlist.service.stack import Stack
from shortlist.telemetry import Metrics
from shortlist.text.base import Encoder
from shortlist.types import ModelCard, Task

MIN_ITEM_TOKENS = 8
"""An item is rarely shorter; bounds how many items may wait, given how many tokens may."""


def stack_of(
    engine: Engine,
    encoder: Encoder,
    *,
    name: str,
    aliases: tuple[str, ...],
    tasks: frozenset[Task],
    settings: SchedulerSettings,
    metrics: Metrics,
) -> Stack:
    """Return one model's stack around an engine and the encoder that spells for it."""
    limits = AdmissionLimits(
        max_concurrent_requests=settings.max_concurrent_requests,
        max_queue_tokens=settings.max_queue_tokens,
        max_queue_delay_s=settings.max_queue_delay_ms / 1000,
    )
    admission = Admission(limits)
    queue = WorkQueue(max_items=settings.max_queue_tokens // MIN_ITEM_TOKENS, max_tokens=settings.max_queue_tokens)
    dispatcher = Dispatcher(
        engine,
        queue,
        admission,
        max_batch_tokens=settings.max_batch_tokens,
        max_batch_items=settings.max_batch_items,
        metrics=metrics,
        model=name,
    )
    card = ModelCard(
        name=name,
        aliases=aliases,
        tasks=tasks & engine.info.tasks,
        max_model_len=engine.info.max_model_len,
        dimensions=engine.info.dimensions,
        created_s=int(time.clock_gettime(time.CLOCK_REALTIME)),
    )
    return Stack(
        card=card,
        encoder=encoder,
        engine=engine,
        dispatcher=dispatcher,
        admission=admission,
        cache=ScoreCache(settings.cache_bytes),
        metrics=metrics,
    )
