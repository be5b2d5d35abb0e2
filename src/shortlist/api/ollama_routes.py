"""Ollama's routes about models, which its clients ask before they embed.

Source: Ollama's API documentation, "List Local Models", "List Running Models", "Show Model Information", "Version".
"""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field, model_validator

from shortlist import __version__
from shortlist.api import model_info
from shortlist.api.dialects import ollama
from shortlist.api.dialects.dialect import Json
from shortlist.api.json_body import read_json
from shortlist.api.request_state import state_of
from shortlist.errors import InvalidInput
from shortlist.schemas.fields import ItemLimit, RequestFields, validated
from shortlist.service.runtime import Runtime
from shortlist.types import ModelCard

router = APIRouter(prefix="/api")


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Service = Annotated[Runtime, Depends(_runtime)]

SHOWN_NAMES: Final = ("model", "name")


class ShowRequest(RequestFields):
    """The model to describe; `name` is the older field."""

    model: str = Field(description="A served model.")

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, body: dict[str, object]) -> dict[str, object]:
        name = next((body[field] for field in SHOWN_NAMES if body.get(field)), None)
        if not isinstance(name, str):
            raise InvalidInput("model is required: the name of a served model.", param="model")
        return {"model": name}


@router.get("/tags", tags=["models"])
@router.get("/ps", include_in_schema=False)
async def tags(service: Service) -> Response:
    """List what is served, under names and aliases, as Ollama lists its models."""
    return _json({"models": [model for card in service.cards() for model in _models(card)]})


@router.get("/version", tags=["server"])
async def version() -> Response:
    """Say which release this is, as Ollama does."""
    return _json({"version": __version__})


@router.post("/show", tags=["models"])
async def show(request: Request, service: Service) -> Response:
    """Describe one served model, as Ollama does."""
    state_of(request.scope).dialect = ollama.DIALECT
    asked = validated(ShowRequest, await read_json(request), ItemLimit(1, "model"))
    card = service.card(asked.model)
    return _json({**model_info.ollama(card), **model_info.ollama_details(card)})


def _models(card: ModelCard) -> list[Json]:
    """Return a model under its name and its aliases."""
    return [{**model_info.ollama(card), "name": name, "model": name} for name in (card.name, *card.aliases)]


def _json(body: Json) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
