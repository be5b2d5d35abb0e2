"""Shortlist's own process around a fake engine: everything is real but the model.

python -m tests.support.fakeserver --port PORT [--step-s SECONDS] [--SETTING VALUE ...]

Texts can ask for trouble: #quote makes the engine raise a library's error that quotes them, #fail one of Shortlist's, #die
takes the engine away, #thread fails in a thread of its own, #task in a background task. Every logger is at DEBUG.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from shortlist import server
from shortlist.config import Settings
from shortlist.engine.base import Notify
from shortlist.errors import EngineError, EngineUnavailable
from shortlist.service.build import shared_cache
from shortlist.service.monitoring import tracing_to
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import Batch, TextPrompt
from tests.support.apps import served
from tests.support.fake_engine import FakeEngine

LOUD = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio", "httpx", "httpx2", "httpcore", "redis")


class Indigestion(RuntimeError):
    """What a foreign library raises: an error that quotes what it choked on."""


def trouble(batch: Batch) -> None:
    """Do what the texts ask for."""
    text = " ".join(
        f"{item.prompt.prefix.text} {item.prompt.text}" for item in batch.items if isinstance(item.prompt, TextPrompt)
    )
    for word, cause in CAUSES.items():
        if word in text:
            cause(text)


def quote(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        error.add_note(f"while reading {text!r}")
        raise Indigestion(f"cannot digest {text!r}") from error


def group(text: str) -> None:
    raise ExceptionGroup(f"several about {text!r}", [Indigestion(text), ValueError(text)])


def fail(text: str) -> None:
    raise EngineError("The step failed.")


def die(text: str) -> None:
    raise EngineUnavailable("It died.")


def fail_in_thread(text: str) -> None:
    thread = threading.Thread(target=quote, args=(text,))
    thread.start()
    thread.join()


def fail_in_task(text: str) -> None:
    async def lost() -> None:
        quote(text)

    asyncio.get_running_loop().create_task(lost())
    asyncio.get_running_loop().call_soon(quote, text)


CAUSES: dict[str, Callable[[str], None]] = {
    "#quote": quote,
    "#group": group,
    "#fail": fail,
    "#die": die,
    "#thread": fail_in_thread,
    "#task": fail_in_task,
}


def build(settings: Settings, *, notify: Notify, step_s: float = 0.0) -> Runtime:
    """Stand in for the composition root; every batch takes so long."""
    metrics = Metrics()
    notify("loading nothing")
    limit = settings.scheduler.max_concurrent_requests
    fake = served(FakeEngine(fault=trouble, step_s=step_s), metrics=metrics, max_concurrent_requests=limit)
    fake = replace(fake, shared=shared_cache(settings.scheduler, metrics))
    tracing = tracing_to(settings.server.otlp_endpoint, sample_ratio=settings.server.otlp_sample_ratio)
    return Runtime([fake], settings=settings, metrics=metrics, tracing=tracing)


def main(arguments: Sequence[str]) -> int:
    """Serve with these settings until told to stop."""
    flags = dict(zip((name.removeprefix("--").replace("-", "_") for name in arguments[::2]), arguments[1::2], strict=True))
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)
    vars(server)["build_runtime"] = partial(build, step_s=float(flags.pop("step_s", 0)))
    return server.run(Settings.load({"ui": False, "self_test": "off", **flags}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
