"""Programs that are not Python, or cannot be run here: what they send is answered so that they can read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shortlist.doctor.checks import problems
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK
from tests.support.apps import http, served, settings
from tests.support.consumers import recorded

CONSUMERS = recorded()
EXCHANGES = [
    pytest.param(exchange, id=f"{name}-{number}-{exchange['request']['path']}")
    for name, consumer in CONSUMERS.items()
    for number, exchange in enumerate(consumer["exchanges"])
]


def side_by_side() -> Runtime:
    """Serve a reranker and an embedder under the names that people give them."""
    metrics = Metrics()
    served_models = [
        served(name="Qwen/Qwen3-Reranker-0.6B", operations=frozenset({RERANK}), metrics=metrics),
        served(name="Qwen/Qwen3-Embedding-0.6B", operations=frozenset({EMBED}), metrics=metrics),
    ]
    return Runtime(served_models, settings=settings(), metrics=metrics)


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_consumer_can_read_the_answer(exchange: dict[str, Any]) -> None:
    request = exchange["request"]
    content = json.dumps(request["body"]).encode() if "body" in request else None
    async with http(side_by_side()) as client:
        answer = await client.request(request["method"], request["path"], content=content, headers=request.get("headers", {}))
    assert problems(exchange["requires"], answer.status_code, answer.content) == []


@pytest.mark.parametrize("name", CONSUMERS)
def test_fixture_names_its_client_and_notes(name: str) -> None:
    fixture = CONSUMERS[name]
    assert fixture.keys() == {"consumer", "quirk", "exchanges"}
    assert fixture["exchanges"]


RANKED = {"items": "results", "each": {"index": "int", "relevance_score": "float"}, "first": 1, "count": 2}
GOOD = '{"results":[{"index":1,"relevance_score":1.0},{"index":0,"relevance_score":0.5}],"meta":{"n":1}}'


@pytest.mark.parametrize(
    ("requires", "answer", "said"),
    [
        (RANKED, GOOD, ""),
        (
            {**RANKED, "all_positions": True, "descending": "relevance_score", "written_as_floats": ["relevance_score"]},
            GOOD,
            "",
        ),
        ({**RANKED, "count": 3}, GOOD, "not a list of 3"),
        ({**RANKED, "first": 0}, GOOD, "do not start with 0"),
        ({**RANKED, "each": {"document.text": "str"}}, GOOD, "document.text is missing"),
        ({**RANKED, "each": {"index": "float"}}, GOOD, "index is not of type float"),
        ({**RANKED, "only": ["index"]}, GOOD, "['relevance_score']"),
        ({**RANKED, "only_in": {"document": ["text"]}}, GOOD.replace('"index":1', '"index":1,"document":{"x":1}'), "['x']"),
        ({**RANKED, "all_positions": True}, GOOD.replace('"index":0', '"index":1'), "not every position"),
        ({**RANKED, "descending": "relevance_score"}, GOOD.replace("0.5", "2.5"), "is not descending"),
        ({**RANKED, "written_as_floats": ["relevance_score"]}, GOOD.replace("1.0", "1"), "not always written as a float"),
        (RANKED, GOOD.replace("1.0", "1"), "relevance_score is not of type float"),
        (RANKED, GOOD.replace('"index":1', '"index":1,"document":null'), "document is null"),
        ({"items": "", "each": "float", "best": [None, 1]}, "[0.1,0.5]", ""),
        ({"items": "", "each": "float", "best": [None, 0]}, "[0.1,0.5]", "not at position 0"),
        ({"items": "", "each": "floats:2"}, "[[0.1,0.5]]", ""),
        ({"items": "", "each": "floats:3"}, "[[0.1,0.5]]", "does not have 3 numbers"),
        ({"items": "", "each": "base64"}, '["AAAA"]', "is not of type base64"),
        ({"body": {"meta.n": "int"}, "values": {"meta.n": 1}, "first_key": {"meta": ["n"]}, "is_object": True}, GOOD, ""),
        ({"body": {"meta.m": "int"}}, GOOD, "meta.m is missing"),
        ({"values": {"meta.n": 2}}, GOOD, "instead of 2"),
        ({"first_key": {"meta": ["m"]}}, GOOD, "starts with 'n'"),
        ({"is_object": True}, "[]", "not an object"),
        ({"status": [201, 204]}, GOOD, "status 200"),
    ],
)
def test_reader_finds_wrong_answers(requires: dict[str, Any], answer: str, said: str) -> None:
    found = problems(requires, 200, answer.encode())
    assert any(said in each for each in found) if said else not found, found
