"""The HTTP application over one runtime, and the order of its middlewares."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from shortlist import __version__
from shortlist.api import batch_routes, file_routes, job_routes, ollama_routes, openapi, webhook_routes
from shortlist.api.api_keys import ApiKeys
from shortlist.api.auth import Auth
from shortlist.api.caller_limits import CallerLimits
from shortlist.api.fast_routes import FastRoutes
from shortlist.api.file_routes import FILES_PATH
from shortlist.api.job_leases import JobLeases
from shortlist.api.memory_budget import MemoryBudget
from shortlist.api.path_rewriting import DIALECT_PREFIX, MODEL_PREFIX, HeadRequests, PathRewriting
from shortlist.api.proxy_headers import ProxyHeaders, RootPath
from shortlist.api.quota import Quota
from shortlist.api.request_body import RequestBody
from shortlist.api.request_log import RequestLog
from shortlist.api.routes import fast_routes, router, task_router
from shortlist.api.sites import Sites, allowed_hosts
from shortlist.batches.batch_service import BatchService
from shortlist.config import ServerSettings, Settings
from shortlist.errors import BadSetting, InvalidInput, MethodNotAllowed, NotFound
from shortlist.jobs.job_service import JobService
from shortlist.service.runtime import Runtime
from shortlist.telemetry.compat import collectors

PAGE_PATH = "/ui"
STATIC_PATH = "/docs/static"

ROUTERS: Final = (
    job_routes.router,
    webhook_routes.router,
    file_routes.router,
    batch_routes.router,
    router,
    ollama_routes.router,
)
"""All routes but those of tasks."""

EXPOSED_HEADERS = (
    "location",
    "preference-applied",
    "retry-after",
    "x-cache-hits",
    "x-request-id",
    "x-served-model",
    "x-total-time",
    "x-tokenization-time",
    "x-queue-time",
    "x-inference-time",
)
"""Response headers that pages of allowed origins may read."""

DESCRIPTION = """Turns a long list of candidates into a short one.

Every error has one body: `error.message` says what is wrong and what would be right, `error.param` names the field.
Times are in the headers `x-total-time`, `x-tokenization-time`, `x-queue-time` and `x-inference-time`, in milliseconds;
`x-cache-hits` says how many of the documents or texts were remembered.
"""


def create_app(runtime: Runtime, jobs: JobService | None = None) -> FastAPI:
    """Return the application; starting it starts the runtime, stopping it drains and closes the runtime.

    Args:
        runtime: The served models.
        jobs: The durable jobs; None if the server takes none.
    """
    server = runtime.settings.server
    keys = ApiKeys.of(server)
    batches = _batches(jobs, runtime.settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await runtime.start()
        async with _open(jobs, app.state.stopping), _open_batches(batches):
            yield
            await runtime.drain(server.drain_timeout_s)
        await runtime.close()

    app = FastAPIOffline(
        title="Shortlist",
        version=__version__,
        description=DESCRIPTION,
        redoc_url=None,
        static_url=STATIC_PATH,
        lifespan=lifespan,
    )
    app.state.runtime = runtime
    app.state.has_page = False
    app.state.stopping = asyncio.Event()  # set when the process is told to stop
    app.state.keys = keys
    app.state.jobs = jobs
    app.state.batches = batches
    app.state.model_names = lambda: _names(runtime)
    tasks = task_router()
    app.state.task_routes = tasks.routes
    for each in (tasks, *ROUTERS):
        app.include_router(each)
    app.openapi = _documented(app)  # type: ignore[method-assign] # as FastAPI's documentation says
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    _add_middleware(app, runtime, server, keys, fast_routes(tasks, job_routes.router, file_routes.router, batch_routes.router))
    runtime.metrics.build_info.labels(__version__, platform.python_version()).set(1)
    for collector in collectors(runtime.metrics, server.metrics_compat, methods=_methods(tasks, *ROUTERS)):
        runtime.metrics.registry.register(collector)
    return app


@asynccontextmanager
async def _open(jobs: JobService | None, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Run the jobs' tasks. Followers leave when the server is told to stop: their connections would hold it up."""
    if jobs is None:
        yield
        return

    async def leave() -> None:
        await stopping.wait()
        jobs.leave()

    await jobs.start()
    leaving = asyncio.create_task(leave(), name="jobs leave")
    try:
        yield
    finally:
        leaving.cancel()
        await jobs.close()


def _batches(jobs: JobService | None, settings: Settings) -> BatchService | None:
    """Return the files and batches of a server; None if it has none."""
    if jobs is None or settings.jobs.job_files is None:
        return None
    return BatchService(jobs, settings.jobs, max_body_bytes=settings.server.max_body_bytes)


@asynccontextmanager
async def _open_batches(batches: BatchService | None) -> AsyncIterator[None]:
    """Run the batches' task."""
    if batches is None:
        yield
        return
    await batches.start()
    try:
        yield
    finally:
        await batches.close()


def _add_middleware(
    app: FastAPI, runtime: Runtime, server: ServerSettings, keys: ApiKeys, fast: Mapping[str, APIRoute]
) -> None:
    """Add middlewares, innermost first.

    RootPath, FastRoutes, RequestBody, CallerLimits, JobLeases, Auth, PathRewriting, Sites, ProxyHeaders, RequestLog, CORS,
    HeadRequests.
    """
    quota = Quota(max_per_minute=server.max_requests_per_minute, max_running=server.max_concurrent_requests_per_caller)
    app.add_middleware(RootPath)
    app.add_middleware(FastRoutes, routes=fast)
    app.add_middleware(
        RequestBody,
        budget=MemoryBudget(server.max_transfer_bytes),
        max_body_bytes=server.max_body_bytes,
        body_timeout_s=server.body_timeout_s,
        streamed=(FILES_PATH,) if app.state.batches is not None else (),
    )
    app.add_middleware(CallerLimits, quota=quota, public_prefixes=(PAGE_PATH,))
    if app.state.jobs is not None:
        app.add_middleware(JobLeases, jobs=app.state.jobs, keys=keys)
    app.add_middleware(Auth, keys=keys, public=("/metrics",) if server.public_metrics else ())
    # Outside of `Auth`, so that its errors are in the dialect of the path; its cost is linear and small.
    app.add_middleware(PathRewriting, names=lambda: _names(runtime), public_prefixes=(PAGE_PATH, STATIC_PATH))
    app.add_middleware(Sites, hosts=allowed_hosts(server, has_keys=keys.are_needed), origins=server.cors_origin)
    app.add_middleware(ProxyHeaders, trusted=server.trusted_proxy, root_path=server.root_path)
    app.add_middleware(RequestLog, metrics=runtime.metrics, tracing=runtime.tracing, is_leaving=lambda: runtime.is_leaving)
    if server.cors_origin:
        # Outermost, so that browsers can read errors too. Pages send keys in headers, never as credentials of
        # the browser, so a foreign page cannot use another user's credentials.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=server.cors_origin,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(HeadRequests)


def check_root_path(settings: ServerSettings) -> None:
    """Check that a path with the root path in front can be told apart from the server's own paths.

    Raises:
        BadSetting: paths of the server begin with it.
    """
    routes = (route for each in (task_router(), *ROUTERS) for route in each.routes)
    own = [route.path for route in routes if isinstance(route, APIRoute)]
    prefixes = (f"{PAGE_PATH}/", f"{STATIC_PATH}/", MODEL_PREFIX, DIALECT_PREFIX)
    first = next((path for path in (*prefixes, *own) if path.startswith(f"{settings.root_path}/")), None)
    if settings.root_path and first is not None:
        raise BadSetting(
            f"root_path (--root-path) is {settings.root_path}, with which paths of the server itself begin, as {first}. Choose "
            "another prefix."
        )


def _documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return a function that adds the schemas of all bodies when the document is first read."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        before = app.openapi_schema
        schema = generate()
        if schema is not before:  # it is generated again when routes are added
            schema = app.openapi_schema = openapi.with_bodies(schema)
        return schema

    return document


def _methods(*routers: APIRouter) -> dict[str, str]:
    """Return a method of every route, which is a label of the HTTP metrics."""
    routes = (route for router in routers for route in router.routes)
    return {route.path: min(route.methods) for route in routes if isinstance(route, APIRoute) and route.methods}


def _names(runtime: Runtime) -> Iterator[str]:
    """Yield model names for paths: names, aliases, and last parts of names."""
    for card in runtime.cards():
        yield from (card.name, *card.aliases, card.name.rsplit("/", 1)[-1])


async def _http_error(_: Request, error: Exception) -> Response:
    """Raise the router's 404 and 405 as Shortlist's errors, which `RequestLog` answers."""
    assert isinstance(error, HTTPException), "Only these are sent here. This is a bug."
    if error.status_code == 405:
        raise MethodNotAllowed("This path does not take this method.", allow=(error.headers or {})["Allow"]) from None
    raise NotFound("There is nothing at this path; /docs lists what there is.") from None


async def _validation_error(_: Request, _error: Exception) -> Response:
    """Raise the framework's validation errors as Shortlist's, without echoing the input."""
    raise InvalidInput("A parameter of the path or the query string is wrong.") from None
