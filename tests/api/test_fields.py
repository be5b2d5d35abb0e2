"""Every published field of every dialect is honoured, refused or noted, as tests/api/fields.yaml lists it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from shortlist.api.app import create_app
from shortlist.api.dialects import table
from shortlist.engine.base import EngineInfo
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Batch, Vector
from tests.support.apps import served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.published import PublishedRequest, declared, published, replaced
from tests.support.serving import serving

LONG: Final = "red fox " * 400
"""More than the models read."""

PUBLISHED: Final = published()

each_request = pytest.mark.parametrize("request_", PUBLISHED, ids=str)

OF_REQUEST: Final = frozenset({"id", "created", "created_at", "request_id", "usage", "meta"})
"""Parts of answers that differ from one request to the next, or that count tokens."""


class LongVectors(FakeEngine):
    """Makes vectors twice as long as unit vectors."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, has_unit_vectors=False)

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        return [2 * each for each in await super().embed(batch)]


@pytest.fixture(scope="module")
def client(tokenizer_path: Path) -> Iterator[httpx2.Client]:
    metrics = Metrics()
    models = [
        served(
            LongVectors(operations=frozenset({operation}), max_model_len=256),
            QwenEncoder(tokenizer_path, operation=RERANK if operation is RERANK else EMBED, max_model_len=256),
            name=operation.name,
            operations=frozenset({operation}),
            metrics=metrics,
        )
        for operation in (RERANK, EMBED, EMBED_SPARSE)
    ]
    app = create_app(Runtime(models, settings=settings(), metrics=metrics))
    with serving(app) as url, httpx2.Client(base_url=url) as client:
        yield client


def results(value: object) -> object:
    """Return an answer without what differs from one request to the next."""
    if isinstance(value, list):
        return [results(each) for each in value]
    if isinstance(value, Mapping):
        return {name: results(each) for name, each in value.items() if name not in OF_REQUEST}
    return value


def answer(client: httpx2.Client, at: str, body: Mapping[str, Any]) -> object:
    response = client.post(at, json=body)
    return results(response.json()) if response.status_code == 200 else f"{response.status_code}: {response.text}"


def sent(request: PublishedRequest, kind: str) -> Iterator[tuple[str, str, Mapping[str, Any], dict[str, Any]]]:
    """Yield every value of a kind: the name of the field, a description, and the bodies without and with it."""
    for field in request.fields:
        for value in field.values.get(kind, ()):
            yield field.path, f"{field.path}={value!r}", field.base(request.body), field.sent(request.body, value)


def test_list_is_complete() -> None:
    request_models = {model for entries in table.ENTRIES.values() for _, model in entries}
    assert {each.request_model for each in PUBLISHED} == request_models


@each_request
def test_list_says_what_the_dialect_declares(request_: PublishedRequest) -> None:
    model = request_.request_model
    listed = Counter((field.path, field.verdict) for field in request_.fields)
    honoured = {*declared(model), *model.also_read}
    assert listed == Counter(
        [
            *((name, "honoured") for name in honoured),
            *((name, "refused") for name in model.unsupported),
            *((name, "noted") for name in model.noted),
        ]
    )
    assert not honoured & (model.unsupported.keys() | model.noted)


@each_request
def test_right_values_are_accepted(client: httpx2.Client, request_: PublishedRequest) -> None:
    found = {value: answer(client, request_.at, body) for _, value, _, body in sent(request_, "right")}
    assert [f"{value}: {each}" for value, each in found.items() if isinstance(each, str)] == []


@each_request
def test_fields_change_the_answer(client: httpx2.Client, request_: PublishedRequest) -> None:
    same = []
    for _, value, without, body in sent(request_, "changes"):
        found = answer(client, request_.at, body)
        if isinstance(found, str) or found == answer(client, request_.at, without):
            same.append(f"{value}: {found}")
    assert same == []


@each_request
def test_wrong_values_are_errors_that_name_the_field(client: httpx2.Client, request_: PublishedRequest) -> None:
    taken = []
    for path, value, _, body in sent(request_, "wrong"):
        response = client.post(request_.at, json=body)
        named = response.text if path != "model" else "model"
        if not 400 <= response.status_code < 500 or path.rpartition(".")[2] not in named:
            taken.append(f"{value}: {response.status_code} {response.text}")
    assert taken == []


@each_request
def test_noted_fields_change_nothing(client: httpx2.Client, request_: PublishedRequest) -> None:
    noted = {field.path: "x" for field in request_.fields if field.verdict == "noted"}
    assert answer(client, request_.at, {**request_.body, **noted}) == answer(client, request_.at, request_.body)


def long_bodies(request: PublishedRequest) -> Iterator[dict[str, Any]]:
    """Yield the request with longer texts, and with a longer query."""
    items = request.request_model.items_field
    yield replaced(request.body, items, _longer(_at(request.body, items)))
    for name in ("query", "text_1", "input.query"):
        if (query := _at(request.body, name)) and name != items:
            yield replaced(request.body, name, _longer(query))


def _at(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def _longer(value: Any) -> Any:
    if isinstance(value, list):
        return [_longer(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _longer(each) for name, each in value.items()}
    return LONG + value if isinstance(value, str) else value


@each_request
def test_what_must_not_be_cut_is_refused_and_every_cut_is_marked(client: httpx2.Client, request_: PublishedRequest) -> None:
    cut = []
    for long in long_bodies(request_):
        for field in request_.fields:
            for value in field.values.get("uncut", ()):
                response = client.post(request_.at, json=field.sent(long, value))
                own_name = request_.request_model.items_field.rpartition(".")[2]
                if response.status_code not in {400, 422} or (
                    own_name not in response.text and "query" not in response.text.lower()
                ):
                    cut.append(f"{field.path}={value!r}: {response.status_code} {response.text}")
        if any("uncut" in field.values for field in request_.fields):
            response = client.post(request_.at, json=long)
            if response.status_code != 200 or not int(response.headers.get("x-truncated-texts", 0)):
                cut.append(f"nothing: {response.status_code} {response.text}")
    assert cut == []
