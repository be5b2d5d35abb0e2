"""A server whose engines, caches and neighbours do whatever a test wants them to, and callers that ask it all the time."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from shortlist.breaker import Breaker, BreakerLimits
from shortlist.engine.base import Engine
from shortlist.engine.vllm.upstream import UpstreamMetrics
from shortlist.errors import EngineError, EngineUnavailable
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.telemetry.vllm_state import VllmState
from shortlist.text.encoder import Encoder
from shortlist.types import Batch, TextPrompt
from tests.support.apps import served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.words import WordEncoder

UPSTREAM = "http://upstream:8000"
CACHE = "redis://cache:6379"

STEP_S = 0.5
INSIDE = 14
"""The engine named narrow does one document in a step; with so many requests inside, the last one waits seven seconds."""

HAIL = "hail"
"""A document with this word fails, whatever the weather."""

BLOCK_S = 0.3
BLOCK_EVERY_S = 1.0
"""Prometheus must get through in between."""
PERIOD_S = 0.1


@dataclass
class Weather:
    """What goes wrong at the moment. Set by a test, read by the server in its thread."""

    fails: bool = False
    blocks: bool = False
    is_sick: bool = False
    is_dead: bool = False
    has_upstream: bool = True
    next_block_s: float = 0.0


class _Store:
    """Implements `shared.Store`; knows nothing, and answers unless it is sick."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather

    async def read(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        self._look()
        return [None] * len(names)

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        self._look()
        return 0

    async def close(self) -> None:
        pass

    def _look(self) -> None:
        if self._weather.is_sick:
            raise OSError("sick")


def forecast(weather: Weather) -> Runtime:
    """Return a server of three models: plain, narrow and mortal."""
    metrics = Metrics()

    def trouble(batch: Batch) -> None:
        if weather.blocks and time.monotonic() > weather.next_block_s:
            time.sleep(BLOCK_S)
            weather.next_block_s = time.monotonic() + BLOCK_EVERY_S
        if weather.fails or any(HAIL in item.prompt.text for item in batch.items if isinstance(item.prompt, TextPrompt)):
            raise EngineError("The weather is bad.")

    def death(batch: Batch) -> None:
        if weather.is_dead:
            raise EngineUnavailable("It died of the weather.")

    def load_again() -> tuple[Engine, Encoder]:
        if weather.is_dead:
            raise EngineUnavailable("It is still dead.")
        return FakeEngine(fault=death), WordEncoder()

    plain = FakeEngine(step_s=0.001, fault=trouble)

    def state() -> VllmState | None:
        num_tokens = 1000 * time.monotonic()
        busy = {"kv_cache_usage": 0.5, "running_requests": 4, "waiting_requests": 2}
        cache = {"prefix_cache_queries": num_tokens, "prefix_cache_hits": num_tokens / 2}
        return VllmState(**busy, **cache) if weather.has_upstream else None

    upstream = UpstreamMetrics(metrics, "plain", UPSTREAM)
    upstream.show(is_well=lambda: weather.has_upstream, num_tokens=lambda: 0, read_state=state)
    breaker = Breaker(BreakerLimits(max_failures=1, rest_s=0.2, max_rest_s=0.4))
    cache = SharedCache(_Store(weather), timeout_s=0.5, metrics=metrics, location=CACHE, breaker=breaker)
    narrow = FakeEngine(step_s=STEP_S)
    limits: dict[str, Any] = {"max_batch_items": 1, "max_concurrent_requests": INSIDE}
    served_models = [
        replace(served(plain, WordEncoder(200), name="plain", metrics=metrics), shared=cache),
        served(narrow, name="narrow", metrics=metrics, **limits),
        replace(served(FakeEngine(fault=death), name="mortal", metrics=metrics), load_again=load_again, restarts=True),
    ]
    return Runtime(served_models, settings=settings(), metrics=metrics)


@dataclass
class Callers:
    """People who ask a server for one document, each in a thread of its own, until they are told to stop."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, model: str, number: int = 1) -> None:
        for _ in range(number):
            thread = threading.Thread(target=self._ask, args=(model,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _ask(self, model: str) -> None:
        with httpx2.Client(base_url=self.url, timeout=30) as client:
            while not self.stop.wait(PERIOD_S):
                body = {"model": model, "query": "weather", "documents": [f"day {next(self.numbers)}"]}
                with contextlib.suppress(httpx2.HTTPError):
                    client.post("/v1/rerank", json=body)


@contextlib.contextmanager
def callers(url: str) -> Iterator[Callers]:
    """Yield an empty list; started services are stopped at the end."""
    found = Callers(url)
    try:
        yield found
    finally:
        found.stop.set()
        for thread in found.threads:
            thread.join(timeout=15)
