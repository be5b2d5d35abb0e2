"""The answer of `/v1/models`."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class ModelDescription(TypedDict):
    """A served model, for the clients of OpenAI, vLLM and Xinference."""

    id: str
    object: NotRequired[str]
    created: NotRequired[int]
    owned_by: NotRequired[str]
    root: NotRequired[str]
    parent: NotRequired[str | None]
    model_type: NotRequired[str]
    tasks: NotRequired[list[str]]
    capabilities: NotRequired[list[str]]
    max_model_len: NotRequired[int | None]
    dimensions: NotRequired[int | None]
    aliases: NotRequired[list[str]]


class ModelList(TypedDict):
    """The served models."""

    object: NotRequired[str]
    data: list[ModelDescription]
