"""One short handler per task: body to request model, task, outcome, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from urllib.parse import quote

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import Receive, Scope, Send

from shortlist import __version__
from shortlist.api import model_info, openapi
from shortlist.api.dialects import table
from shortlist.api.dialects.dialect import RequestView, ResponseMeta
from shortlist.api.dialects.explain import MAX_DOCUMENTS, ExplainRequest
from shortlist.api.dialects.published_fields import check_unsupported
from shortlist.api.job_acceptance import DIALECT_HEADER, accept, job_preferences
from shortlist.api.json_body import INLINE_BYTES, let_others_run, read_json
from shortlist.api.request_options import apply_headers, with_instruction
from shortlist.api.request_state import state_of
from shortlist.api.task_handlers import ServedOutcome, handler_of
from shortlist.errors import InvalidInput, TooManyItems
from shortlist.schemas.fields import ItemLimit, validated
from shortlist.service.runtime import Runtime, State
from shortlist.types import EMBED, SparseVector, Timing, Usage, Vector

router = APIRouter()

PIECE_BYTES: Final = 65_536
"""Bytes of an answer that are written at once. Source: uvicorn's `HIGH_WATER_LIMIT`, from which on it waits."""

NUMBER_BYTES: Final = 13
"""Bytes of a float32 number in JSON, with its comma."""

NO_TIMING: Final = Timing()


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Service = Annotated[Runtime, Depends(_runtime)]


async def handle_task(request: Request) -> Response:
    """Handle a task request in any dialect: answer it, or accept it as a job."""
    started_s = time.perf_counter()
    scope, state, service = request.scope, state_of(request.scope), _runtime(request)
    body = await read_json(request)
    view = RequestView(scope["path"], body, dict(scope["headers"]))
    dialect, request_model = table.find(scope["route"].path, view, _explicit_dialect(request))
    state.dialect, state.request_model = dialect, request_model
    limit = ItemLimit(service.settings.server.max_client_batch_size, request_model.items_field)
    check_unsupported(request_model.unsupported, body)
    try:
        request_body = validated(request_model, body, limit)
        if request_body.num_items > limit.max_items:
            raise limit.exceeded(request_body.num_items, limit.field)
    except TooManyItems as error:
        state.num_items = error.num_items
        raise
    state.num_items = request_body.num_items
    service.metrics.ignored_fields.labels(dialect.name).inc(len(body.keys() - request_model.known_fields()))
    handler = handler_of(request_model)
    task = handler.task_of(request_body, request)
    if request.app.state.jobs is not None and (preferred := job_preferences(request)) is not None:
        service.card(task.model)
        return await accept(request.app.state.jobs, request, preferred)
    state.outcome = outcome = await handler.run(service, task)
    build = partial(request_body.answer, outcome, _response_meta(request))
    return _answer(build, outcome, started_s, len(await request.body()))


def task_router() -> APIRouter:
    """Return the routes of all tasks in all dialects."""
    router = APIRouter()
    for path in table.ENTRIES:
        router.add_api_route(path, handle_task, methods=["POST"], response_class=Response, **openapi.of_path(path))
    return router


def fast_routes(*routers: APIRouter) -> dict[str, APIRoute]:
    """Return the POST routes with fixed paths, by path; see `FastRoutes`. Their endpoints take only the request."""
    routes = (route for router in routers for route in router.routes if isinstance(route, APIRoute))
    return {route.path: route for route in routes if not route.param_convertors and "POST" in (route.methods or ())}


@router.post("/v1/explain", tags=["tasks"], response_class=Response)
async def explain(request: Request, service: Service) -> Response:
    """Say why documents have their scores: prompt, ids, logits, what was cut. Only if the server was started with --explain."""
    started_s = time.perf_counter()
    limit = ItemLimit(service.settings.server.max_client_batch_size, ExplainRequest.items_field)
    request_body = validated(ExplainRequest, await read_json(request), limit)
    if request_body.num_items > MAX_DOCUMENTS:
        message = f"documents has {request_body.num_items} items; at most {MAX_DOCUMENTS} are allowed."
        raise InvalidInput(message, param="documents")
    explanation = await service.explain(apply_headers(with_instruction(request_body.task(), request_body.instruction), request))
    build = partial(request_body.explained, explanation, _response_meta(request))
    return _answer(build, explanation, started_s, len(await request.body()))


@router.get("/v1/models", tags=["models"])
async def models(service: Service) -> Response:
    """List what is served, embedders first: clients of embeddings take the first one."""
    cards = sorted(service.cards(), key=lambda card: EMBED not in card.operations)
    return _json({"object": "list", "data": [model_info.model(card) for card in cards]})


@router.get("/models", include_in_schema=False)
async def infinity_models(service: Service) -> Response:
    """List it for Infinity's client, which is the one that asks at this path."""
    return _json({"object": "list", "data": [model_info.infinity(card) for card in service.cards()]})


@router.get("/v1/models/{name:path}", tags=["models"])
@router.get("/models/{name:path}", include_in_schema=False)
async def model(name: str, service: Service) -> Response:
    """Describe one served model, by any name that requests may use."""
    return _json(model_info.model(service.card(name)))


@router.get("/info", tags=["models"])
async def info(request: Request, service: Service) -> Response:
    """Describe one model as Text Embeddings Inference does: that of the path, or else the default reranker."""
    return _json(model_info.info(service.card(state_of(request.scope).model), service.settings))


@router.post("/v1/check-api-key", include_in_schema=False)
async def check_api_key() -> Response:
    """Say that the key is valid, as Cohere does: a wrong one does not get here."""
    return _json({"valid": True})


@router.get("/v1/cluster/auth", tags=["server"])
async def cluster_auth(request: Request) -> Response:
    """Say whether a key is needed, as Xinference does: its client asks before everything else."""
    return _json({"auth": request.app.state.keys.are_needed})


@router.get("/load", tags=["server"])
async def load(service: Service) -> Response:
    """Say how many requests are inside, as vLLM does."""
    return _json({"server_load": service.num_running})


@router.get("/meta", include_in_schema=False)
async def meta(service: Service) -> Response:
    """Describe the models to Weaviate, which asks for any JSON."""
    return _json({"models": [card.name for card in service.cards()], "version": __version__})


@router.get("/health", tags=["server"])
@router.get("/.well-known/live", include_in_schema=False)
async def health(service: Service) -> Response:
    """Liveness: 503 when an engine has failed."""
    body = {"status": "ok" if service.is_alive else "failed", "unix": datetime.now(UTC).timestamp()}
    return _json(body, status=200 if service.is_alive else 503)


@router.get("/ready", tags=["server"])
@router.get("/ping", include_in_schema=False)
@router.post("/ping", include_in_schema=False)
@router.get("/.well-known/ready", include_in_schema=False)
async def ready(service: Service) -> Response:
    """Say whether requests are welcome: 503 while starting, stopping, or without an engine."""
    state = State.DRAINING if service.state is State.READY and service.is_leaving else service.state
    return _json({"status": state.value}, status=200 if service.is_ready else 503)


@router.get("/version", tags=["server"])
async def version() -> Response:
    """Say which release this is."""
    return _json({"version": __version__})


@router.get("/metrics", tags=["server"], response_class=Response)
async def metrics(service: Service) -> Response:
    """Return every metric, for Prometheus."""
    # In a thread: worker processes are asked for the state of their GPUs.
    found = await asyncio.to_thread(generate_latest, service.metrics.registry)
    return Response(found, media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """Send people to the page, and tell programs what this is."""
    root_path = state_of(request.scope).root_path
    if "text/html" in request.headers.get("accept", ""):
        page = "ui" if request.app.state.has_page else "docs"
        # A relative URL is also right behind a proxy that removes a prefix which the server does not know.
        return RedirectResponse(f"{root_path}/{page}" if root_path else page)
    return _json({"name": "shortlist", "version": __version__, "docs": f"{root_path}/docs"})


def _response_meta(request: Request) -> ResponseMeta:
    return ResponseMeta(state_of(request.scope).request_id, int(datetime.now(UTC).timestamp()))


def _explicit_dialect(request: Request) -> str | None:
    """Return the dialect that path or header name, or None."""
    return state_of(request.scope).explicit_dialect or request.headers.get(DIALECT_HEADER)


class Answer(Response):
    """The answer of a task. It is built when there is memory for it, and written in pieces as its reader takes them.

    Args:
        build: Returns the body to encode. Until then, vectors are those of the cache.
        headers: Its headers.
        num_bytes: About as many bytes as it will have.
    """

    def __init__(self, build: Callable[[], object], headers: Mapping[str, str], num_bytes: int) -> None:
        super().__init__(media_type="application/json", headers=headers)
        self._build = build
        self._num_bytes = num_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the answer; `send` waits while the client does not read."""
        del receive
        claim = state_of(scope).claim
        if claim is not None and self._num_bytes > PIECE_BYTES:
            await claim.add_when_free(self._num_bytes, scope["app"].state.runtime.settings.server.write_timeout_s)
        if self._num_bytes > INLINE_BYTES:
            await let_others_run()
        body = orjson.dumps(self._build(), option=orjson.OPT_SERIALIZE_NUMPY)
        del self._build
        self.headers["content-length"] = str(len(body))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(body), PIECE_BYTES):
            is_last = start + PIECE_BYTES >= len(body)
            piece = body if is_last and not start else body[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": not is_last})


def _answer(build: Callable[[], object], outcome: ServedOutcome, started_s: float, num_request_bytes: int) -> Response:
    """Return the answer, with headers for model, cache hits and, as in TEI, milliseconds."""
    timing: Timing = getattr(outcome, "timing", NO_TIMING)
    headers = {
        "x-served-model": quote(outcome.model),  # a folder can have any name; headers are ASCII
        "x-total-time": _ms(time.perf_counter() - started_s),
        "x-tokenization-time": _ms(timing.tokenize_s),
        "x-queue-time": _ms(timing.queue_s),
        "x-inference-time": _ms(timing.compute_s),
    }
    usage: Usage | None = getattr(outcome, "usage", None)
    if usage is not None:
        headers["x-cache-hits"] = str(usage.num_cached)
    if truncated := getattr(outcome, "truncated", ()):
        headers["x-truncated-texts"] = str(len(truncated))
    # An answer repeats the texts of its request at most once; beyond that, only vectors make it long.
    vectors: Sequence[Vector | SparseVector] = getattr(outcome, "vectors", ())
    num_numbers = sum(each.size if isinstance(each, np.ndarray) else 4 * len(each.indices) for each in vectors)
    return Answer(build, headers, num_request_bytes + num_numbers * NUMBER_BYTES)


def _json(body: object, *, status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status_code=status, media_type="application/json")


def _ms(seconds: float) -> str:
    return str(round(1000 * seconds))
