"""The servers that transcripts are recorded with: fake engines in every state that a client can meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import httpx2

from shortlist.errors import EngineError, EngineOutOfMemory, EngineUnavailable, UpstreamError
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK, Batch, RerankTask, TextPrompt
from tests.support.apps import http, runtime, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.words import WordEncoder

SHORT: Final = 8
"""Tokens that the model `short` reads."""

SLOW_S: Final = 600.0
"""Seconds that the engine of `slow` takes: longer than any test waits."""

FAULTS: Final = {
    "poison": EngineError("The engine could not compute this."),
    "huge": EngineOutOfMemory("The engine has no memory for this."),
    "gone": EngineUnavailable("The engine is gone."),
    "remote": UpstreamError("The upstream failed.", is_retryable=False),
}
"""Words that make the engine of `failing` fail, and how."""


def _both(**flat: object) -> Runtime:
    return runtime(**{"cache_bytes": 0, **flat})


def _pair() -> Runtime:
    """Serve a reranker and an embedder under the names that people give them."""
    metrics = Metrics()
    served_models = [
        served(name="Qwen/Qwen3-Reranker-0.6B", operations=frozenset({RERANK}), metrics=metrics, cache_bytes=0),
        served(
            name="Qwen/Qwen3-Embedding-0.6B",
            aliases=("text-embedding-3-small",),
            operations=frozenset({EMBED}),
            metrics=metrics,
            cache_bytes=0,
        ),
    ]
    return Runtime(served_models, settings=settings(), metrics=metrics)


def _short() -> Runtime:
    metrics = Metrics()
    one = served(FakeEngine(max_model_len=SHORT), WordEncoder(SHORT), name="short", metrics=metrics, cache_bytes=0)
    return Runtime([one], settings=settings(), metrics=metrics)


def _fail(batch: Batch) -> None:
    for item in batch.items:
        assert isinstance(item.prompt, TextPrompt)
        for word, error in FAULTS.items():
            if word in item.prompt.text:
                raise error


def _failing() -> Runtime:
    return runtime(FakeEngine(fault=_fail), cache_bytes=0)


SERVERS: Final[Mapping[str, Callable[[], Runtime]]] = {
    "both": _both,
    "pair": _pair,
    "short": _short,
    "failing": _failing,
    "draining": _both,
    "cached": lambda: _both(cache_bytes=1_000_000),
    "explaining": lambda: _both(explain=True),
    "slow": lambda: runtime(FakeEngine(step_s=SLOW_S), cache_bytes=0),
    "keyed": lambda: _both(api_key=("alpha", "beta"), max_requests_per_minute=1),
    "limited": lambda: _both(max_client_batch_size=3, max_body_bytes=400),
    "full": lambda: runtime(FakeEngine(step_s=SLOW_S), cache_bytes=0, max_concurrent_requests=1),
    "lenient": lambda: _both(unknown_model="default"),
}


@asynccontextmanager
async def serving(name: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Start the server of this name, bring it into its state, and return a client."""
    service = SERVERS[name]()
    async with http(service) as client:
        if name == "draining":
            await service.drain(0)
        if name != "full":
            yield client
            return
        async with _occupied(service):
            yield client


@asynccontextmanager
async def _occupied(service: Runtime) -> AsyncIterator[None]:
    """Keep one request inside the server that admits one."""
    inside = asyncio.create_task(service.rerank(RerankTask(query="red fox", documents=("a cat",))))
    while not service.num_running:  # noqa: ASYNC110 - the runtime has no event for it
        await asyncio.sleep(0)
    try:
        yield
    finally:
        inside.cancel()
        with suppress(asyncio.CancelledError):
            await inside
