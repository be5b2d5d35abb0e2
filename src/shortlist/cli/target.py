"""The target of `rerank` and `embed`: a server at a URL, or a model in this process.

Both go through the client, so a model in this process has the same limits, defaults and errors as a served one.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx2
import typer

from shortlist.cli import flags
from shortlist.cli.exit_codes import print_message
from shortlist.client import AsyncClient
from shortlist.config import ModelSettings, ServerSettings, Settings
from shortlist.errors import InvalidInput
from shortlist.logs import configure_logging, standard_error
from shortlist.types import Task

DEMO: Final = "demo"
IN_PROCESS_URL: Final = "http://in-this-process"
MAX_QUEUE_DELAY_MS: Final = 24 * 3600 * 1000
"""A model in this process has one user, so long waits are fine."""

MAX_RETRIES: Final = 20
MAX_PAUSE_S: Final = 60.0
"""Work that runs for hours outlives a server that is full, or restarts."""

NO_MODEL: Final = (
    "No model was named (--model, or --url for a server), so the bundled demo model is used: small, real, English."
)

Connect = Callable[[], AbstractAsyncContextManager[AsyncClient]]
"""Opens the target."""


def parameters(task: Task) -> Iterator[inspect.Parameter]:
    """Yield the flags of the target."""
    what = {Task.RERANK: "reranker", Task.EMBED: "embedder"}[task]
    model = f"The {what}: a folder, a Hugging Face id, modelscope:ID, or demo; with --url, the name of one of that server's."
    yield flags.option("model", str | None, typer.Option("--model", "-m", metavar="MODEL", help=model))
    url = "Ask the server there, instead of loading a model into this process."
    yield flags.option("url", str | None, typer.Option("--url", "-u", metavar="URL", help=url))
    key = "That server's key; SHORTLIST_API_KEY if not given."
    yield flags.option("api_key", str | None, typer.Option("--api-key", metavar="KEY", help=key))
    together = typer.Option("--concurrency", min=1, help="Requests on their way at once.")
    yield flags.option("concurrency", int, together, 4)
    timeout = typer.Option("--timeout-s", min=0.001, help="Seconds that one request may take, retries included.")
    yield flags.option("timeout_s", float, timeout, 600.0)


def connect(task: Task, given: Mapping[str, Any]) -> Connect:
    """Return the target that the flags name; a model of this process is loaded now.

    Raises:
        InvalidInput: flags contradict each other, or the URL is none.
        SetupError: the model cannot be loaded, or a setting is wrong.
    """
    if given["url"] is None and given["api_key"] is not None:
        raise InvalidInput("--api-key is for a server; give its --url, or leave --api-key out.")
    told = next((name for name in sorted(flags.MODEL_SETTINGS) if given.get(name) is not None), None)
    if given["url"] is not None and told is not None:
        raise InvalidInput(f"--{told.replace('_', '-')} is for a model of this process; leave it out, or leave --url out.")
    settings = Settings.load({name: given.get(name) for name in (*flags.MODEL_SETTINGS, "config")})
    if given["url"] is None:
        return _in_process(task, given["model"], settings, timeout_s=given["timeout_s"])
    key = given["api_key"] or next((key.get_secret_value() for key in settings.server.api_key), None)
    return _at(given["url"], key, timeout_s=given["timeout_s"])


def _at(url: str, api_key: str | None, *, timeout_s: float) -> Connect:
    patience = {"timeout_s": timeout_s, "max_retries": MAX_RETRIES, "max_pause_s": MAX_PAUSE_S}
    client = AsyncClient(url, api_key=api_key, **patience)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncClient]:
        async with client:
            yield client

    return connected


def _in_process(task: Task, model: str | None, settings: Settings, *, timeout_s: float) -> Connect:
    from shortlist.api.app import create_app
    from shortlist.service.build import build_runtime

    configure_logging(level="warning", style="text")
    if model is None:
        print_message(NO_MODEL)
    runtime = build_runtime(_alone(task, model or DEMO, settings), notify=_say_to_a_person)
    transport = httpx2.ASGITransport(create_app(runtime), raise_app_exceptions=False)

    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncClient]:
        try:
            await runtime.start()
            async with AsyncClient(IN_PROCESS_URL, transport=transport, timeout_s=timeout_s) as client:
                yield client
        finally:
            await runtime.close()

    return connected


def _alone(task: Task, model: str, settings: Settings) -> Settings:
    """Return the settings for this one model: what is set for a server's other models and its callers is not for it."""
    named = {"models": (), "reranker": (), "embedder": (), "alias": (), _FIELD[task]: (model,)}
    return settings.model_copy(
        update={
            "model": ModelSettings.model_validate({**settings.model.model_dump(), **named}),
            "scheduler": settings.scheduler.model_copy(update={"max_queue_delay_ms": MAX_QUEUE_DELAY_MS}),
            "server": ServerSettings(ui=False),
        }
    )


_FIELD: Final = {Task.RERANK: "reranker", Task.EMBED: "embedder"}


def _say_to_a_person(line: str) -> None:
    """Report progress on a terminal."""
    if standard_error().isatty():
        print_message(line)
