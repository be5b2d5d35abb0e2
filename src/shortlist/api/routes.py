"""One short handler per task: body to dialect, dialect to task, outcome to answer."""

from __future__ import annotations

import time
from typing import Annotated, Protocol, TypeVar
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ValidationError

from shortlist import __version__
from shortlist.api import openapi
from shortlist.api.dialects.explain import ExplainRequest
from shortlist.api.dialects.fields import Json
from shortlist.api.dialects.openai import EmbeddingsRequest
from shortlist.api.dialects.superset import RerankRequest
from shortlist.api.errors import from_validation
from shortlist.api.terms import on_terms
from shortlist.errors import InvalidInput, NotFound
from shortlist.service.runtime import Runtime
from shortlist.types import ModelCard, Task, Timing

router = APIRouter()

Shape = TypeVar("Shape", bound=BaseModel)

MODEL_TYPES = {Task.RERANK: "rerank", Task.EMBED: "embedding"}
"""What Xinference calls them; its clients pick models by this."""


class _Outcome(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def timing(self) -> Timing: ...


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Service = Annotated[Runtime, Depends(_runtime)]


@router.post("/v1/rerank", tags=["tasks"], openapi_extra=openapi.RERANK, response_class=Response)
@router.post("/v2/rerank", include_in_schema=False)
@router.post("/rerank", include_in_schema=False)
async def rerank(request: Request, service: Service) -> Response:
    """Rank documents for a query: best first, each with a relevance between 0 and 1."""
    started_s = time.perf_counter()
    asked = await _read(request, RerankRequest)
    _check_size(len(asked.documents), asked.items_field, service)
    outcome = await service.rerank(on_terms(asked.task(), request))
    return _answer(asked.answer(outcome, request_id=request.scope["request_id"]), outcome, started_s)


@router.post("/v1/embeddings", tags=["tasks"], openapi_extra=openapi.EMBEDDINGS, response_class=Response)
@router.post("/embeddings", include_in_schema=False)
async def embeddings(request: Request, service: Service) -> Response:
    """Turn texts into vectors of unit length."""
    started_s = time.perf_counter()
    asked = await _read(request, EmbeddingsRequest)
    _check_size(len(asked.input), asked.items_field, service)
    outcome = await service.embed(on_terms(asked.task(), request))
    return _answer(asked.answer(outcome, request_id=request.scope["request_id"]), outcome, started_s)


@router.post("/v1/explain", tags=["tasks"], openapi_extra=openapi.EXPLAIN, response_class=Response)
async def explain(request: Request, service: Service) -> Response:
    """Say why documents have their scores: prompt, ids, logits, what was cut. Only if the server was started with --explain."""
    started_s = time.perf_counter()
    asked = await _read(request, ExplainRequest)
    _check_size(len(asked.documents), asked.items_field, service, most=asked.max_items)
    explanation = await service.explain(on_terms(asked.task(), request))
    return _answer(asked.explained(explanation, request_id=request.scope["request_id"]), explanation, started_s)


@router.get("/v1/models", tags=["models"])
async def models(service: Service) -> Response:
    """List what is served."""
    return _json({"object": "list", "data": [_model(card) for card in service.cards()]})


@router.get("/v1/models/{name:path}", tags=["models"])
async def model(name: str, service: Service) -> Response:
    """Describe one served model."""
    for card in service.cards():
        if name in {card.name, *card.aliases}:
            return _json(_model(card))
    raise NotFound("No model of this name is served; GET /v1/models lists them.", param="model")


@router.get("/health", tags=["server"])
async def health(service: Service) -> Response:
    """Say whether the process is worth keeping: 503 when an engine is gone."""
    return _json({"status": "ok" if service.is_alive else "failed"}, status=200 if service.is_alive else 503)


@router.get("/ready", tags=["server"])
async def ready(service: Service) -> Response:
    """Say whether requests are welcome: 503 while starting, stopping, or without an engine."""
    return _json({"status": service.state.value}, status=200 if service.is_ready else 503)


@router.get("/version", tags=["server"])
async def version() -> Response:
    """Say which release this is."""
    return _json({"version": __version__})


@router.get("/metrics", tags=["server"], response_class=Response)
async def metrics(service: Service) -> Response:
    """Return every metric, for Prometheus."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def root(request: Request) -> Response:
    """Send people to the page, and tell programs what this is."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("ui" if request.app.state.has_page else "docs")
    return _json({"name": "shortlist", "version": __version__, "docs": "/docs"})


async def _read(request: Request, shape: type[Shape]) -> Shape:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is not valid JSON: {error.msg}.") from None
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object.")
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise from_validation(error) from None


def _check_size(num_items: int, field: str, service: Runtime, *, most: int | None = None) -> None:
    limit = min(service.settings.server.max_client_batch_size, most or num_items)
    if num_items > limit:
        why = "" if limit == most else " (max_client_batch_size)"
        raise InvalidInput(f"{field} has {num_items} items; at most {limit} are allowed{why}.", param=field)


def _answer(body: Json, outcome: _Outcome, started_s: float) -> Response:
    """Return the body, with the time spent in TEI's headers, in milliseconds, and the name of the model that served it."""
    response = _json(body)
    timing = outcome.timing
    response.headers["x-served-model"] = quote(outcome.model)  # a folder may have any name; a header takes ASCII
    response.headers["x-total-time"] = _ms(time.perf_counter() - started_s)
    response.headers["x-tokenization-time"] = _ms(timing.tokenize_s)
    response.headers["x-queue-time"] = _ms(timing.queue_s)
    response.headers["x-inference-time"] = _ms(timing.compute_s)
    return response


def _json(body: Json, *, status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status_code=status, media_type="application/json")


def _ms(seconds: float) -> str:
    return str(round(1000 * seconds))


def _model(card: ModelCard) -> Json:
    tasks = [task for task in Task if task in card.tasks]
    return {
        "id": card.name,
        "object": "model",
        "created": card.created_s,
        "owned_by": "shortlist",
        "model_type": MODEL_TYPES[tasks[0]],
        "tasks": [task.value for task in tasks],
        "max_model_len": card.max_model_len,
        "dimensions": card.dimensions,
        "aliases": list(card.aliases),
    }
