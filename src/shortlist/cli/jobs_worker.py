"""`shortlist worker`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import typer

from shortlist.cli import flags
from shortlist.cli.exit_codes import EXIT_DONE, EXIT_PARTLY, run_to_exit
from shortlist.config import Settings
from shortlist.errors import BadSetting, InvalidInput
from shortlist.logs import configure_logging
from shortlist.setting_types import WORKER_SERVER

EPILOG: Final = (
    "Example:\n\nshortlist worker --jobs redis://localhost:6379/0 --server http://localhost:8080\n\n"
) + flags.EPILOG

app = typer.Typer(add_completion=False)


def _worker(server: str, *, concurrency: int, api_key: str | None = None, **given: object) -> None:
    """Work on durable jobs for a server.

    Takes jobs from Redis, asks the server, and stores its answers. The server is started with the same --jobs. Any number of
    workers may run, on any machines; each computes nothing itself. SIGINT or SIGTERM lets running jobs finish.
    """
    run_to_exit(lambda: _run(server, concurrency, api_key, Settings.load(given)))


def _run(server: str, concurrency: int, api_key: str | None, settings: Settings) -> int:
    from shortlist.api.api_keys import Role, sent_key
    from shortlist.jobs.connection import check_redis
    from shortlist.jobs.doorbells import doorbell
    from shortlist.jobs.job_worker import Worker

    configure_logging(level=settings.server.log_level, style=settings.server.log_format)
    if settings.jobs.jobs is None:
        raise BadSetting("A worker needs the Redis of the jobs: --jobs redis://HOST:6379/0, the same as the server's.")
    if not WORKER_SERVER.fullmatch(server):
        raise InvalidInput("--server must be the address of a server, as http://localhost:8080.")
    url = settings.jobs.jobs.get_secret_value()
    check_redis(url)
    key = api_key or sent_key((key.get_secret_value() for key in settings.server.api_key), Role.WORKER)
    name = settings.jobs.job_doorbell
    worker = Worker(
        url,
        doorbell(name, url),
        bell_name=name,
        server=server,
        api_key=key,
        concurrency=concurrency,
        webhook_targets=settings.jobs.webhook_target,
    )
    return EXIT_DONE if worker.run() else EXIT_PARTLY


def _parameters() -> Iterator[inspect.Parameter]:
    server = typer.Option("--server", metavar="URL", help="The server to ask, or a proxy before several.")
    yield flags.option("server", str, server, "http://localhost:8080")
    concurrency = typer.Option("--concurrency", min=1, help="Jobs at once; the server batches them, and refuses too many.")
    yield flags.option("concurrency", int, concurrency, 4)
    key = "Key of the server with the role worker; default SHORTLIST_API_KEY."
    yield flags.option("api_key", str | None, typer.Option("--api-key", metavar="KEY", help=key))
    yield from flags.settings(frozenset({"jobs", "job_doorbell", "webhook_target", "log_level", "log_format"}))


flags.command(_worker, _parameters(), epilog=EPILOG, to=app, name="worker")
