"""A doorbell on Celery: one task, which says nothing but that jobs may be due. Celery brings the pool and its operation.

Celery on Redis may lose a message: kombu takes it from its list, then stores it as unacknowledged, in two steps. The message of
a killed worker comes back after the visibility timeout, and one that takes longer comes twice. A ring may do all of that.

Threads, not processes: a worker computes nothing, so that processes would cost memory and protect nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

from shortlist.errors import BadSetting
from shortlist.installation import install_hint
from shortlist.jobs.doorbell import RING_TIMEOUT_S
from shortlist.jobs.transitions import PREFIX
from shortlist.telemetry import logger

TASK: Final = "shortlist.jobs.ring"
QUEUE: Final = "jobs"

STALE_S: Final = 30.0
"""Later, a ring in the queue is dropped by the worker: the sweep has rung again."""

VISIBILITY_S: Final = 60.0
"""Celery hands an unacknowledged ring to another worker after this."""


class CeleryDoorbell:
    """Implements `Doorbell`.

    Args:
        url: The address of Redis, which is the broker as well.

    Raises:
        BadSetting: Celery is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from kombu.exceptions import OperationalError

            self._app = _app(url)
        except ModuleNotFoundError as error:
            raise BadSetting(
                f"The setting jobs (--jobs) needs {error.name}, which is not installed: {install_hint('jobs')}"
            ) from None
        self._errors = (OperationalError, OSError)

    def ring(self) -> None:
        """Send the task."""
        try:
            self._app.send_task(TASK, expires=STALE_S, retry=False)
        except self._errors as error:
            logger.warning("jobs: the doorbell cannot ring", extra={"error": type(error).__name__})

    def listen(self, answer: Callable[[], None], *, on_stop: Callable[[], None], concurrency: int) -> None:
        """Run a Celery worker until SIGTERM or SIGINT."""
        from celery import signals

        def ring() -> None:
            answer()

        def keep_logging(**_: object) -> None:
            """Leave the logs as they are: Celery sets them up only if no receiver does."""

        def stop(**_: object) -> None:
            on_stop()

        self._app.task(ring, name=TASK)
        signals.setup_logging.connect(keep_logging)
        signals.worker_shutting_down.connect(stop)
        worker: Any = self._app.Worker(
            pool="threads",
            concurrency=concurrency,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()

    def close(self) -> None:
        """Close the connections of rings."""
        self._app.close()


def _app(url: str) -> Any:
    """Return a Celery that takes nothing from its environment: variables and modules of other programs' Celery."""
    from celery import Celery

    broker = _broker(url)

    class App(Celery):  # type: ignore[misc] # it has no types
        """Celery, at the address of the jobs: a variable would win over the configuration."""

        def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
            return super().connection_for_read(url or broker["broker_url"], **options)

        def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
            return super().connection_for_write(url or broker["broker_url"], **options)

    app = App("shortlist", set_as_current=False, fixups=[], loader="celery.loaders.app:AppLoader")
    app.conf.update({**_configuration(), **broker})
    return app


def _broker(url: str) -> dict[str, object]:
    """Return an address in Celery's form: it has another scheme for sockets, and would not verify certificates by default."""
    from redis.connection import parse_url

    options = dict(parse_url(url))  # type: ignore[no-untyped-call]
    user, password = (quote(options.get(name) or "", safe="") for name in ("username", "password"))
    credentials = f"{user}:{password}@" if user or password else ""
    database = options.get("db", 0)
    if url.startswith("unix://"):
        return {"broker_url": f"redis+socket://{credentials}{options['path']}?virtual_host={database}"}
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    found: dict[str, object] = {"broker_url": f"{parts.scheme}://{credentials}{host}/{database}"}
    if parts.scheme == "rediss":
        found["broker_use_ssl"] = {"ssl_cert_reqs": "required"} | {
            name: value for name, value in options.items() if name.startswith("ssl")
        }
    return found


def _configuration() -> dict[str, object]:
    return {
        "broker_transport_options": {
            "global_keyprefix": f"{PREFIX}celery:",
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": RING_TIMEOUT_S,
            "socket_connect_timeout": RING_TIMEOUT_S,
            "socket_keepalive": True,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
    }
