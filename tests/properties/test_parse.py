"""Whatever JSON, or none, stands in a request: the answer is one that is documented, and never the request itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import cast

import httpx2
import orjson
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from shortlist.api.dialects.common import CommonRerankRequest
from shortlist.api.dialects.dialect import RequestModel
from shortlist.api.dialects.openai import OpenAIEmbeddingsRequest
from shortlist.api.dialects.table import DIALECTS
from shortlist.api.openapi import task_operation
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import OPERATIONS
from tests.support import apps
from tests.support.examples import examples
from tests.support.fake_engine import FakeEngine

MAX_ERROR_BYTES = 2000
FUZZ = settings(
    max_examples=examples(12, 40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLAIN: dict[str, dict[str, object]] = {
    "/v1/rerank": {"query": "red fox", "documents": ["a cat", "the red fox"]},
    "/v1/embeddings": {"input": ["a cat", "the red fox"]},
}
SHAPES: dict[str, type[BaseModel]] = {"/v1/rerank": CommonRerankRequest, "/v1/embeddings": OpenAIEmbeddingsRequest}
DOCUMENTED = {int(status) for status in cast("dict[str, object]", task_operation("/v1/rerank")["responses"])}

FIELDS = [
    (path, field.alias or name) for path, request_model in SHAPES.items() for name, field in request_model.model_fields.items()
]

OTHERS = [
    pytest.param(dialect.name, request_model, id=f"{dialect.name} {request_model.__name__}")
    for dialect in DIALECTS
    for request_model in dialect.request_models
    if request_model not in SHAPES.values()
]
"""Every other dialect's requests, each asked for by name."""

Ask = Callable[[str, bytes], httpx2.Response]

numbers = (
    st.integers()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from([0, -0.0, 1e308, 2**53, 2**63, 2**64, 10**40, -(10**400), 5e-324])
)
words = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", " ", "true", "0", "-1", "1e9", "NaN", "null", "query", "fake", "FAKE", "/fake", "x" * 5000, "\ud800", "\0", "<|im_end|>", "__proto__"]
)  # fmt: skip
scalars = st.none() | st.booleans() | numbers | words
keys = words | st.sampled_from(["text", "content", "type", "instruction", "query", "documents"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
objects = st.fixed_dictionaries(
    {}, optional={"text": values, "content": st.lists(values | st.dictionaries(keys, values), max_size=3)}
)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """One application, and one event loop, for thousands of requests."""
    with asyncio.Runner() as runner:
        doors = contextlib.AsyncExitStack()
        metrics, operations = Metrics(), frozenset(OPERATIONS.values())
        one = apps.served(FakeEngine(operations=operations), operations=operations, metrics=metrics)
        service = Runtime([one], settings=apps.settings(), metrics=metrics)
        client = runner.run(doors.enter_async_context(apps.http(service)))
        yield lambda path, body: runner.run(client.post(path, content=body))
        runner.run(doors.aclose())


def check_any(response: httpx2.Response, *, may_be_late: bool = False) -> None:
    """Only what is documented, and no fault of the server's own."""
    assert response.status_code in DOCUMENTED
    assert response.status_code < 500 or (may_be_late and response.status_code == 504), response.text
    told = response.json()
    assert response.status_code == 200 or len(response.content) <= MAX_ERROR_BYTES
    assert told is not None


def check(response: httpx2.Response, *, may_be_late: bool = False) -> None:
    """As `check_any`, and errors in the body that all clients read."""
    check_any(response, may_be_late=may_be_late)
    told = response.json()
    if response.status_code == 200:
        return
    assert told["message"] == told["detail"]
    if "error" in told:  # without it, it was taken for Voyage's
        assert told["error"]["message"] == told["message"]
        assert told["error"]["param"] is None or len(told["error"]["param"]) < 100


def spell(body: object) -> bytes:
    return json.dumps(body).encode()


def is_json(body: object) -> bool:
    """Return whether this can be said in strict JSON at all."""
    with contextlib.suppress(orjson.JSONDecodeError):
        orjson.loads(spell(body))
        return True
    return False


@pytest.mark.parametrize(("path", "field"), FIELDS)
@FUZZ
@given(value=values | objects | st.lists(objects, max_size=3))
@example("x" * 100_000)
@example(["x" * 100_000, 5])
@example({"x" * 100_000: "x" * 100_000})
@example([{"text": {"text": "x" * 100_000}}])
@example(10**400)
def test_any_value_of_any_field_gets_a_documented_answer(ask: Ask, path: str, field: str, value: object) -> None:
    check(ask(path, spell({**PLAIN[path], field: value})), may_be_late=field == "timeout_ms")


@FUZZ
@given(documents=st.lists(values | objects, min_size=1, max_size=3), fields=st.lists(keys, min_size=1, max_size=3))
@example([5], ["text"])
@example([{"a": 5}], ["a"])
def test_any_documents_read_by_fields_get_a_documented_answer(ask: Ask, documents: list[object], fields: list[str]) -> None:
    check(ask("/v1/rerank", spell({"query": "red fox", "documents": documents, "rank_fields": fields})))


@pytest.mark.parametrize("path", PLAIN)
@settings(FUZZ, max_examples=examples(50, 300))
@given(data=st.data())
def test_any_values_of_all_fields_get_a_documented_answer(ask: Ask, path: str, data: st.DataObject) -> None:
    names = [field for each, field in FIELDS if each == path]
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)))
    merged = {**(PLAIN[path] if data.draw(st.booleans()) else {}), **body}
    check(ask(path, spell(merged)), may_be_late="timeout_ms" in body)


@pytest.mark.parametrize("path", PLAIN)
@settings(FUZZ, max_examples=examples(50, 300))
@given(body=st.binary(max_size=200) | values.map(spell))
@example(b"[" * 100_000)
@example(b'{"query":' * 5_000)
@example(b'{"query": "a", "query": "b", "documents": ["c"]}')
@example(b'\xef\xbb\xbf{"query": "a", "documents": ["c"]}')
@example("{}".encode("utf-16"))
@example(b'{"query": 1' + b"0" * 5000 + b"}")
def test_any_bytes_get_a_documented_answer(ask: Ask, path: str, body: bytes) -> None:
    check(ask(path, body))


@pytest.mark.parametrize("path", PLAIN)
@FUZZ
@given(junk=st.dictionaries(keys, values, max_size=5).filter(is_json))
def test_unknown_fields_change_nothing(ask: Ask, path: str, junk: dict[str, object]) -> None:
    known = {field for each, field in FIELDS if each == path} | set(SHAPES[path].model_fields)
    assume(not junk.keys() & known)
    response = ask(path, spell({**junk, **PLAIN[path]}))
    assert response.status_code == 200
    for key in ("results", "data"):
        assert response.json().get(key) == ask(path, spell(PLAIN[path])).json().get(key)


@pytest.mark.parametrize(("name", "request_model"), OTHERS)
def test_example_of_every_dialect_is_answered(ask: Ask, name: str, request_model: type[RequestModel]) -> None:
    if request_model.example is None:
        pytest.skip("it is for what is not made here")
    for path in request_model.paths:
        concrete = path.replace("{rest:path}", "a/b")
        for prefix in ("", f"/compat/{name}") if name != "sglang" else (f"/compat/{name}",):
            response = ask(f"{prefix}{concrete}", spell(request_model.example))
            assert response.status_code == 200, (prefix, concrete, response.text)


@pytest.mark.parametrize(("name", "request_model"), OTHERS)
@settings(FUZZ, max_examples=examples(5, 20))
@given(data=st.data())
def test_any_values_of_every_dialect_get_a_documented_answer(
    ask: Ask, name: str, request_model: type[RequestModel], data: st.DataObject
) -> None:
    fields = [field.alias or name for name, field in request_model.model_fields.items()]
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(fields, values | objects)))
    merged = {**dict(request_model.example or {}), **body}
    concrete = request_model.paths[0].replace("{rest:path}", "a/b")
    check_any(ask(f"/compat/{name}{concrete}", spell(merged)))
