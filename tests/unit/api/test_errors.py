"""Every error of the tree has a status, and one body that all clients can read."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ValidationError

from shortlist import errors as tree
from shortlist.api.errors import answer
from shortlist.schemas.fields import invalid_input


def leaves(root: type[tree.ServiceError]) -> list[type[tree.ServiceError]]:
    below = [leaf for child in root.__subclasses__() for leaf in leaves(child)]
    return below or [root]


def make(cls: type[tree.ServiceError]) -> tree.ServiceError:
    if cls is tree.Overloaded:
        return tree.Overloaded("message", retry_after_s=2.1)
    if cls is tree.NotReady:
        return tree.NotReady("message", retry_after_s=1)
    if cls is tree.UpstreamBusy:
        return tree.UpstreamBusy("message", is_retryable=True)
    if cls is tree.MethodNotAllowed:
        return tree.MethodNotAllowed("message", allow="GET")
    return cls("message")


@pytest.mark.parametrize("cls", [cls for cls in leaves(tree.ServiceError) if not issubclass(cls, tree.SetupError)])
def test_every_error_has_a_status_of_its_own(cls: type[tree.ServiceError]) -> None:
    result = answer(make(cls), request_id="r1")
    assert (400 <= result.status < 500) is (issubclass(cls, (tree.CallerError, tree.Overloaded)))
    assert json.loads(result.body)["error"]["code"] != "internal_error"


def test_one_body_satisfies_every_client() -> None:
    body = json.loads(answer(tree.InvalidInput("wrong", param="documents[3]"), request_id="r1").body)
    assert body["error"] == {
        "message": "wrong",
        "type": "invalid_request_error",
        "param": "documents[3]",
        "code": "invalid_input",
    }
    assert body["message"] == body["detail"] == "wrong"
    assert body["request_id"] == "r1"


@pytest.mark.parametrize(("seconds", "header"), [(0.001, "1"), (1.0, "1"), (1.1, "2"), (90.0, "90")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    assert answer(tree.Overloaded("busy", retry_after_s=seconds), request_id="r").headers["retry-after"] == header


@pytest.mark.parametrize("cls", [tree.EngineUnavailable, tree.Draining])
def test_unavailable_has_retry_after(cls: type[tree.ServiceError]) -> None:
    assert "retry-after" in answer(make(cls), request_id="r").headers


class Inner(BaseModel):
    size: int


class RequestModel(BaseModel):
    name: str
    inner: list[Inner] = []


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "name", "required"),
        ({"name": 5}, "name", "string"),
        ({"name": "a", "inner": [{"size": 1}, {"size": "canary"}]}, "inner[1].size", "integer"),
    ],
)
def test_wrong_shape_names_the_field_and_never_the_value(body: object, param: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RequestModel.model_validate(body)
    error = invalid_input(caught.value)
    assert error.param == param
    assert words in error.message
    assert "canary" not in error.message
