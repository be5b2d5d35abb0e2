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
from shortlist.types import EMBED, RERANK, Operation

DEMO: Final = "demo"
IN_PROCESS_URL: Final = "http://localhost"
MAX_QUEUE_DELAY_MS: Final = 24 * 3600 * 1000
"""A model in this process has one user, so long waits are fine."""

MAX_RETRIES: Final = 20
MAX_PAUSE_S: Final = 60.0
"""Long runs retry while a server is overloaded or restarts."""

NO_MODEL: Final = (
    "No model was named (--model, or --url for a server), so the bundled demo model is used: small, real, English."
)

Connect = Callable[[], AbstractAsyncContextManager[AsyncClient]]
"""Opens the target."""


def parameters(operation: Operation) -> Iterator[inspect.Parameter]:
    """Yield the flags of the target."""
    what = {RERANK: "reranker", EMBED: "embedder"}[operation]
    model = f"The {what}: a folder, a Hugging Face id, modelscope:ID, or demo; with --url, a model name on that server."
    yield flags.option("model", str | None, typer.Option("--model", "-m", metavar="MODEL", help=model))
    url = "Use this server instead of loading a model into this process."
    yield flags.option("url", str | None, typer.Option("--url", "-u", metavar="URL", help=url))
    key = "API key of the server; default SHORTLIST_API_KEY."
    yield flags.option("api_key", str | None, typer.Option("--api-key", metavar="KEY", help=key))
    concurrency = typer.Option("--concurrency", min=1, help="Maximum number of concurrent requests.")
    yield flags.option("concurrency", int, concurrency, 4)
    timeout = typer.Option("--timeout-s", min=0.001, help="Timeout of one request in seconds, retries included.")
    yield flags.option("timeout_s", float, timeout, 600.0)


def connect(operation: Operation, given: Mapping[str, Any]) -> Connect:
    """Return the target of the flags; a model in this process is loaded now.

    Raises:
        InvalidInput: flags conflict, or the URL is invalid.
        SetupError: the model cannot be loaded, or a setting is wrong.
    """
    if given["url"] is None and given["api_key"] is not None:
        raise InvalidInput("--api-key is for a server; give its --url, or leave --api-key out.")
    flag = next((name for name in sorted(flags.MODEL_SETTINGS) if given.get(name) is not None), None)
    if given["url"] is not None and flag is not None:
        raise InvalidInput(f"--{flag.replace('_', '-')} is for a model in this process; leave it out, or leave --url out.")
    settings = Settings.load({name: given.get(name) for name in (*flags.MODEL_SETTINGS, "config")})
    if given["url"] is None:
        return _in_process(operation, given["model"], settings, timeout_s=given["timeout_s"])
    key = given["api_key"] or next((key.get_secret_value() for key in settings.server.api_key), None)
    return _connect_to(given["url"], key, timeout_s=given["timeout_s"])


def _connect_to(url: str, api_key: str | None, *, timeout_s: float) -> Connect:
    policy = {"timeout_s": timeout_s, "max_retries": MAX_RETRIES, "max_pause_s": MAX_PAUSE_S}
    client = AsyncClient(url, api_key=api_key, **policy)  # type: ignore[arg-type]

    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncClient]:
        async with client:
            yield client

    return connected


def _in_process(operation: Operation, model: str | None, settings: Settings, *, timeout_s: float) -> Connect:
    from shortlist.api.app import create_app
    from shortlist.service.build import build_runtime

    configure_logging(level="warning", style="text")
    if model is None:
        print_message(NO_MODEL)
    runtime = build_runtime(_single_model_settings(operation, model or DEMO, settings), notify=_report)
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


def _single_model_settings(operation: Operation, model: str, settings: Settings) -> Settings:
    """Return the settings of this model only, without a server's other models and access rules."""
    named = {"models": (), "reranker": (), "embedder": (), "alias": (), _FIELD[operation]: (model,)}
    return settings.model_copy(
        update={
            "model": ModelSettings.model_validate({**settings.model.model_dump(), **named}),
            "scheduler": settings.scheduler.model_copy(update={"max_queue_delay_ms": MAX_QUEUE_DELAY_MS}),
            "server": ServerSettings(ui=False),
        }
    )


_FIELD: Final = {RERANK: "reranker", EMBED: "embedder"}


def _report(line: str) -> None:
    """Report progress on a terminal."""
    if standard_error().isatty():
        print_message(line)
