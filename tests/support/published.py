"""The published fields of all dialects, as tests/api/fields.yaml lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from shortlist.api.dialects import table
from shortlist.api.dialects.dialect import AnyRequestModel
from shortlist.schemas.fields import RequestFields

FILE: Final = Path(__file__).parents[1] / "api" / "fields.yaml"

VERDICTS: Final = ("honoured", "refused", "noted")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedField:
    """One field of one request model.

    Attributes:
        path: Its name; with dots if it is inside of an object.
        verdict: One of `VERDICTS`.
        values: Lists of values by what becomes of them, and the fields that go with them.
    """

    path: str
    verdict: str
    values: Mapping[str, Any]

    def sent(self, body: Mapping[str, Any], value: object) -> dict[str, Any]:
        """Return a body with this field."""
        return replaced(self.base(body), self.path, value)

    def base(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a body without it."""
        return {**body, **self.values.get("with", {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRequest:
    """One request model: its clients, the path where it is tested, a request, and its fields."""

    request_model: type[AnyRequestModel]
    clients: str
    at: str
    body: Mapping[str, Any]
    fields: tuple[PublishedField, ...]

    def __str__(self) -> str:
        return self.request_model.__name__


def published() -> list[PublishedRequest]:
    """Return what the file lists."""
    listed = yaml.safe_load(FILE.read_text(encoding="utf-8"))["dialects"]
    request_models = {model.__name__: model for entries in table.ENTRIES.values() for _, model in entries}
    return [
        PublishedRequest(
            request_model=request_models[name],
            clients=each["of"],
            at=each["at"],
            body=each.get("request") or request_models[name].example or {},
            fields=tuple(_fields(listed[each.get("like", name)])),
        )
        for name, each in listed.items()
    ]


def _fields(entry: Mapping[str, Any]) -> Iterator[PublishedField]:
    for verdict in VERDICTS:
        for path, values in entry.get(verdict, {}).items():
            yield PublishedField(path=path, verdict=verdict, values=values)


def declared(request_model: type[RequestFields]) -> Iterator[str]:
    """Yield the fields of a request model, those inside of objects with dots."""
    for name, info in request_model.model_fields.items():
        path = info.alias or name
        inner = [each for each in (info.annotation, *get_args(info.annotation)) if _is_object(each)]
        if path != "chat_template_kwargs" and inner:
            yield from (f"{path}.{each}" for each in declared(inner[0]))
        else:
            yield path


def _is_object(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, RequestFields)


def replaced(body: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a body with another value at a path."""
    first, _, rest = path.partition(".")
    return {**body, first: replaced(body.get(first) or {}, rest, value) if rest else value}
