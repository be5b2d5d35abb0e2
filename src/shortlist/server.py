"""Runs the server process: bind, load, serve, stop.

The port is bound first, so that a conflict is reported before gigabytes are loaded. Connections are refused until every model
has passed its self-test. The first SIGINT or SIGTERM stops new work and lets running requests finish; a second one exits at
once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.markup import escape

from shortlist import __version__, allocator, gc_pause, ui
from shortlist.api.api_keys import ApiKeys
from shortlist.api.app import PAGE_PATH, check_root_path, create_app
from shortlist.api.http_protocol import ConnectionLimits
from shortlist.api.sites import is_loopback
from shortlist.config import ServerSettings, Settings
from shortlist.engine.base import Notify
from shortlist.errors import BadSetting
from shortlist.logs import configure_logging, standard_error
from shortlist.service.build import build_runtime
from shortlist.service.runtime import Runtime
from shortlist.systemd import READY, STOPPING, Notifier
from shortlist.telemetry import logger

EXIT_STOPPED = 0
EXIT_ENGINE_DIED = 1

SPARE_FILES: Final = 16
"""Files that stay free for other uses than connections."""

MIN_CONNECTIONS: Final = 4

FIRST_REQUEST_S: Final = 0.5
"""A client that has connected before the port closed has this long to send its request."""

LOG_AGAIN_S: Final = 60.0

OPEN_TO_ALL: Final = (
    "every client that reaches this address can use the server; --api-key requires a key, --allowed-host limits the host names"
)
"""The warning at a start without a key on an address that other machines may reach."""


class Greeting:
    """What a start says: lines for people, or log lines in JSON.

    Args:
        is_json: Whether every line must be JSON.
    """

    def __init__(self, *, is_json: bool) -> None:
        self._console = None if is_json else Console(file=standard_error(), highlight=False, soft_wrap=True, emoji=False)

    def notify(self, text: str) -> None:
        """Report progress."""
        if self._console is None:
            logger.info("loading", extra={"progress": text})
        else:
            self._console.print(text, markup=False)

    def show_ready(self, names: Sequence[str], url: str, *, page: str | None) -> None:
        """Say what is served, and where."""
        if self._console is None:
            logger.info("ready", extra={"models": list(names), "url": url})
            return
        url = escape(url)  # an IPv6 address has brackets
        self._console.print(f"[bold green]ready[/]  {escape(', '.join(names))} on [bold]{url}[/]")
        if page is not None:
            self._console.print(f"       page  {url}{page}")
        self._console.print(f"       API   {url}/docs")
        self._console.print("       stop  Ctrl-C")


WhenReady = Callable[[str], Awaitable[None]]
"""Called with the server's URL when it is ready."""


def run(settings: Settings, *, when_ready: WhenReady | None = None) -> int:
    """Serve until stopped; return the exit code.

    Raises:
        SetupError: The server cannot start as configured.
    """
    configure_logging(level=settings.server.log_level, style=settings.server.log_format)
    greeting = Greeting(is_json=settings.server.log_format == "json")
    allocator.limit_arenas()
    check_tls(settings.server)
    keys = ApiKeys.of(settings.server)  # reports an invalid key file before models load; the app reads it again
    with bind(settings.server) as listener:
        logger.info("starting", extra={"version": __version__, "settings": settings.digest, "pid": os.getpid()})
        if not keys.are_needed and not is_loopback(settings.server.host):
            logger.warning(OPEN_TO_ALL, extra={"host": settings.server.host})
        app = build_app(settings, notify=greeting.notify)
        runtime: Runtime = app.state.runtime
        url = _url(settings.server.host, listener.getsockname()[1], is_tls=settings.server.tls_cert is not None)
        try:
            code = asyncio.run(_live(app, runtime, listener, lambda: _ready(greeting, app, runtime, url, when_ready)))
        finally:
            gc_pause.resume()
    logger.info("stopped", extra={"exit_code": code})
    return code


def build_app(settings: Settings | None = None, *, notify: Notify = logger.info) -> FastAPI:
    """Load the models and return the whole application, API and page.

    Its lifespan starts the runtime, and drains and closes it. Any ASGI server can run it.

    Args:
        settings: The settings; None reads them from the environment.
        notify: Reports progress.

    Raises:
        SetupError: a setting does not fit the models, or a model cannot be served.
    """
    settings = Settings.load({}) if settings is None else settings
    check_root_path(settings.server)
    runtime = build_runtime(settings, notify=notify)
    app = create_app(runtime)
    if settings.server.ui and ui.is_available():
        ui.mount_page(app, path=PAGE_PATH, stopping=app.state.stopping, wait_idle=runtime.wait_idle)
        app.state.has_page = True
    return app


def bind(settings: ServerSettings) -> socket.socket:
    """Bind the port.

    Raises:
        BadSetting: The port is in use or not allowed, or the address is not this machine's.
    """
    with contextlib.ExitStack() as on_failure:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            # Without an explicit protocol, asyncio does not detect TCP and leaves Nagle's algorithm on. A response body then
            # waits for the acknowledgement of its headers: 40 ms on a kept-alive connection.
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            raise BadSetting(_why_not_bound(settings, error)) from None
        on_failure.pop_all()
    return listener


def check_tls(settings: ServerSettings) -> None:
    """Check the TLS certificate and key, if set.

    Raises:
        BadSetting: A file cannot be read, or certificate and key do not match.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return
    for name, path in (("tls-cert", settings.tls_cert), ("tls-key", settings.tls_key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise BadSetting(f"The file {path} (--{name}) cannot be read: {error.strerror}.") from None
    try:
        # Without a password argument, an encrypted key would prompt for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except ssl.SSLError:
        raise BadSetting(
            f"The certificate {settings.tls_cert} (--tls-cert) and the key {settings.tls_key} (--tls-key) do not match: both "
            "must be PEM, and the key must be this certificate's and not encrypted."
        ) from None


def _listen(settings: ServerSettings, listener: socket.socket) -> None:
    """Listen on the port. Another server may bind it meanwhile, as long as neither listens."""
    try:
        listener.listen()
    except OSError as error:
        raise BadSetting(_why_not_bound(settings, error)) from None


def _why_not_bound(settings: ServerSettings, error: OSError) -> str:
    place = f"{settings.host}:{settings.port}"
    choose = "Choose another with --port or SHORTLIST_PORT."
    if error.errno == errno.EADDRINUSE:
        return f"Another process is already listening on {place}. {choose}"
    if error.errno == errno.EACCES:
        return f"This user may not listen on {place}. {choose}"
    return f"Cannot listen on {place} (--host, --port): {error.strerror or error}."


async def _live(app: FastAPI, runtime: Runtime, listener: socket.socket, ready: Callable[[], Awaitable[None]]) -> int:
    """Start the runtime before the HTTP server, and always close it."""
    try:
        await runtime.start()
        _listen(runtime.settings.server, listener)
        return await _serve(app, runtime, listener, ready)
    finally:
        await runtime.close()


async def _serve(app: FastAPI, runtime: Runtime, listener: socket.socket, ready: Callable[[], Awaitable[None]]) -> int:
    settings = runtime.settings.server
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=ConnectionLimits.of(settings, max_connections=min(settings.max_connections, num_free_files())).protocol(),
        proxy_headers=False,  # `ProxyHeaders` applies them, from trusted proxies only
        forwarded_allow_ips="",  # without a value, uvicorn reads an environment variable
        timeout_keep_alive=settings.keep_alive_timeout_s,  # type: ignore[arg-type] # seconds of a timer
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    notifier = Notifier(os.environ)  # noqa: TID251 - systemd's own variables, no settings
    server = _Server(config, runtime, app.state.stopping, notifier)
    asyncio.get_running_loop().set_exception_handler(_AcceptErrors())
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(_stop_when_failed(runtime, server))
        greet = tasks.create_task(_greet(server, ready, notifier))
        await server.serve(sockets=[listener])
        watch.cancel()
        greet.cancel()
    return EXIT_ENGINE_DIED if runtime.failed.is_set() else EXIT_STOPPED


class _Server(uvicorn.Server):
    """Uvicorn's server with a start event, and a notice before it stops. A stopped process exits with success."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, stopping: asyncio.Event, notifier: Notifier) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()
        self._runtime = runtime
        self._stopping = stopping
        self._notifier = notifier

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and set `has_started`."""
        await super().startup(sockets)
        self.has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM while serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish requests, those of clients that have just connected included, and close all connections."""
        logger.info("drain begun", extra=self._counts())
        accepted = [wire for listener in sockets or () for wire in _accept_all(listener)]
        for each in (*self.servers, *(sockets or ())):
            each.close()
        for wire in accepted:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, wire, ssl=self.config.ssl)
        connections: set[Any] = self.server_state.connections
        until_s = time.monotonic() + FIRST_REQUEST_S
        while not self.force_exit and time.monotonic() < until_s:
            if all(each.cycle is not None for each in connections):
                break
            await asyncio.sleep(FIRST_REQUEST_S / 50)
        await super().shutdown(sockets)
        logger.info("drain ended", extra=self._counts())

    def _protocol(self) -> asyncio.Protocol:
        """Return the protocol of a connection, as uvicorn makes it."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return protocol

    def _counts(self) -> dict[str, int]:
        return {"requests": self._runtime.num_running, "connections": len(self.server_state.connections)}

    def _stop(self, number: signal.Signals) -> None:
        notice_s, is_first = self._runtime.settings.server.drain_notice_s, not (self.should_exit or self._runtime.is_leaving)
        if is_first:
            logger.info("signal", extra={"signal": number.name, "notice_s": notice_s, **self._counts()})
            self._notifier.send(STOPPING)
            self._runtime.leave()
            asyncio.get_running_loop().call_later(notice_s, self._exit)
        elif not self.force_exit:
            logger.warning("stopped at once by a second signal")
            # Uvicorn would log a traceback for the application that it cancels.
            logging.getLogger("uvicorn.error").addFilter(lambda _: False)
            self.force_exit = True
            self._exit()

    def _exit(self) -> None:
        self.should_exit = True
        self._stopping.set()


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that the system has accepted, and the event loop has not: closing the port would reset them."""
    with contextlib.suppress(BlockingIOError):
        while True:
            wire, _ = listener.accept()
            wire.setblocking(False)
            yield wire


def num_free_files() -> int:
    """Raise the limit of open files as far as allowed, and return how many connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    open_files = Path("/dev/fd")
    num_open = len(list(open_files.iterdir())) if open_files.is_dir() else 0
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(MIN_CONNECTIONS, soft - num_open - SPARE_FILES)


class _AcceptErrors:
    """Handles errors of the event loop. A lack of files is logged once in `LOG_AGAIN_S`: asyncio reports it for every try."""

    def __init__(self) -> None:
        self._logged_s = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
            loop.default_exception_handler(context)
        elif loop.time() - self._logged_s >= LOG_AGAIN_S:
            self._logged_s = loop.time()
            logger.error("connections cannot be accepted", extra={"error": error.strerror})


async def _stop_when_failed(runtime: Runtime, server: uvicorn.Server) -> None:
    await runtime.failed.wait()
    server.should_exit = True


async def _greet(server: _Server, ready: Callable[[], Awaitable[None]], notifier: Notifier) -> None:
    await server.has_started.wait()
    await ready()
    notifier.send(READY)
    await notifier.feed_watchdog()


async def _ready(greeting: Greeting, app: FastAPI, runtime: Runtime, url: str, when_ready: WhenReady | None) -> None:
    gc_pause.resume_and_freeze()  # a full collection of modules and models would block the event loop
    if when_ready is not None:
        await when_ready(url)
    greeting.show_ready([card.name for card in runtime.cards()], url, page=PAGE_PATH if app.state.has_page else None)


def _url(host: str, port: int, *, is_tls: bool = False) -> str:
    shown = "localhost" if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    place = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
    return f"{'https' if is_tls else 'http'}://{place}"
