"""Builds stacks, runtimes and applications around a given engine, the way the composition root does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.api.app import create_app
from shortlist.config import Settings
from shortlist.engine.base import Engine
from shortlist.scheduler.served_model import NO_EXPECTATIONS, Expectations, ServedModel
from shortlist.service.build import served_model_of
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, RERANK, Operation
from tests.support.fake_engine import FakeEngine
from tests.support.words import WordEncoder

BOTH = frozenset({RERANK, EMBED})


def settings(**flat: object) -> Settings:
    """Return settings, given by name, untouched by the environment.

    Without a self-test unless it is asked for: fake engines understand nothing, and tests count what they were asked.
    """
    return Settings.load({"self_test": "off", **flat}, environ={})


def served(
    engine: Engine | None = None,
    encoder: Encoder | None = None,
    *,
    name: str = "fake",
    aliases: tuple[str, ...] = (),
    operations: frozenset[Operation] = BOTH,
    metrics: Metrics | None = None,
    expectations: Expectations = NO_EXPECTATIONS,
    **flat: Any,
) -> ServedModel:
    return served_model_of(
        engine or FakeEngine(),
        encoder or WordEncoder(),
        name=name,
        aliases=aliases,
        operations=operations,
        settings=settings(**flat).scheduler,
        metrics=metrics or Metrics(),
        expectations=expectations,
    )


def runtime(*engines: Engine, **flat: Any) -> Runtime:
    """Return a runtime that serves these engines (or one fake) under the names fake, fake-1, ..."""
    metrics = Metrics()
    names = ["fake", *(f"fake-{number}" for number in range(1, len(engines)))]
    served_models = [
        served(engine, name=name, metrics=metrics, **flat)
        for engine, name in zip(engines or (FakeEngine(),), names, strict=True)
    ]
    return Runtime(served_models, settings=settings(**flat), metrics=metrics)


@asynccontextmanager
async def running(service: Runtime) -> AsyncIterator[Runtime]:
    """Start a runtime, and close it whatever happens."""
    await service.start()
    try:
        yield service
    finally:
        await service.close()


@asynccontextmanager
async def http(service: Runtime) -> AsyncIterator[httpx2.AsyncClient]:
    """Start a runtime and speak HTTP to its application, in process."""
    async with running(service):
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def scope_behind(middleware: Callable[[ASGIApp], ASGIApp], scope: Scope) -> Scope:
    """Return the scope that an application gets from a middleware that neither reads nor answers the request."""
    passed: Scope = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        passed.update(scope)

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    await middleware(app)(scope, receive, send)
    return passed
