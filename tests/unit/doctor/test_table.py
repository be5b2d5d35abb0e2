"""The doctor's table of clients matches the recorded requests and requirements of each client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from shortlist.doctor.checks import consumers
from shortlist.doctor.client_check import MODEL
from tests.support.consumers import recorded

TABLE: Final = consumers()
RECORDED: Final = recorded()
LEFT_OUT: Final = {"ragflow": ["Qwen3-Reranker-0.6B___VLLM"]}
"""Models of recorded requests that the table omits: with the server's model name, they repeat other requests."""

Json = Mapping[str, Any]


def placed(request: str) -> str:
    """Return a recorded request with the model placeholder of the table."""
    return re.sub(r"(?:Qwen/)?Qwen3-(?:Reranker|Embedding)-0\.6B", MODEL, request)


def sent(check: Json) -> Json:
    """Return a check of the table as a recorded exchange."""
    headers = {"authorization": check["key"]} if check["key"] else {}
    request = {"method": check["method"], "path": check["path"]}
    if "body" in check:
        request["body"] = check["body"]
        headers["content-type"] = "application/json"
    return {"request": {**request, **({"headers": headers} if headers else {})}, "requires": check["needs"]}


def needed(exchange: Json) -> Json:
    """Return the requirements of an exchange that hold for any number of models; the recording has two."""
    requires = {rule: value for rule, value in exchange["requires"].items() if (rule, value) != ("items", None)}
    if exchange["request"]["path"] == "/v1/models":
        requires.pop("count", None)
    return requires


def exchanges(name: str) -> list[Json]:
    """Return the recorded exchanges of a client that the table must have."""
    kept = [
        each
        for each in RECORDED[name]["exchanges"]
        if each["request"].get("body", {}).get("model") not in LEFT_OUT.get(name, ())
    ]
    found: list[Json] = json.loads(placed(json.dumps(kept)))
    return [{**each, "requires": needed(each)} for each in found]


def test_table_has_every_recorded_consumer() -> None:
    assert list(TABLE) == list(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_table_names_a_client_and_its_quirk_as_recorded(name: str) -> None:
    assert TABLE[name]["consumer"] == RECORDED[name]["consumer"]
    assert TABLE[name]["quirk"] == RECORDED[name]["quirk"]


@pytest.mark.parametrize("name", RECORDED)
def test_table_matches_the_recorded_requests_and_fields(name: str) -> None:
    assert [sent(check) for check in TABLE[name]["checks"]] == exchanges(name)


@pytest.mark.parametrize("name", RECORDED)
def test_every_check_has_a_task_and_its_model(name: str) -> None:
    recorded_models = [json.dumps(each["request"]) for each in RECORDED[name]["exchanges"]]
    for check in TABLE[name]["checks"]:
        assert check["task"] in {"rerank", "embedding"}
        if check.get("body", {}).get("model") == MODEL:
            role = "Embedding" if check["task"] == "embedding" else "Reranker"
            assert any(check["path"] in each and f"Qwen3-{role}-0.6B" in each for each in recorded_models)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_omitted_requests_repeat_others(name: str) -> None:
    left_out = [each for each in RECORDED[name]["exchanges"] if each["request"].get("body", {}).get("model") in LEFT_OUT[name]]
    assert len(left_out) == len(LEFT_OUT[name])
    for each in left_out:
        named = {**each["request"], "body": {**each["request"]["body"], "model": MODEL}}
        again = [check for check in map(sent, TABLE[name]["checks"]) if check["request"] == named]
        assert any(each["requires"].items() <= check["requires"].items() for check in again)
