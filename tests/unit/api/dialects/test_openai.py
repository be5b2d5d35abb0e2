"""OpenAI's embeddings: texts in, vectors out as numbers or base64."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from pydantic import ValidationError

from shortlist.api.dialects.dialect import ResponseMeta
from shortlist.api.dialects.openai import OpenAIEmbeddingsRequest
from shortlist.errors import InvalidInput
from shortlist.types import EmbedOutcome, InputType, Timing, Usage


def read(**fields: object) -> OpenAIEmbeddingsRequest:
    return OpenAIEmbeddingsRequest.model_validate({"input": ["a"], **fields})


def outcome() -> EmbedOutcome:
    vectors = [np.array([0.6, 0.8], np.float32), np.array([1.0, 0.0], np.float32)]
    return EmbedOutcome(model="served", vectors=vectors, truncated=[], usage=Usage(7), timing=Timing())


@pytest.mark.parametrize(("given", "texts"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([{"text": "a"}], ("a",)), ("", ("",))])
def test_input_is_one_text_or_several(given: object, texts: tuple[str, ...]) -> None:
    assert read(input=given).task().texts == texts


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]], [5]])
def test_token_ids_are_refused_with_the_cure(given: object) -> None:
    with pytest.raises(InvalidInput, match="check_embedding_ctx_length=False") as error:
        read(input=given)
    assert error.value.param == "input"


@pytest.mark.parametrize(("given", "param"), [([], "input"), (5, "input"), (None, "input"), (["a", None], "input[1]")])
def test_wrong_input_is_refused_by_name(given: object, param: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read(input=given)
    assert error.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"input_type": "query"},
        {"input_type": "SEARCH-QUERY"},
        {"task": "retrieval.query"},
        {"task": "nl2code.query"},
        {"text_type": "Query"},
        {"prompt_name": "query"},
        {"input_type": "document", "prompt_name": "query"},
    ],
)
def test_query_hints_of_other_apis_are_understood(fields: dict[str, str]) -> None:
    assert read(**fields).task().input_type is InputType.QUERY


@pytest.mark.parametrize(
    "fields", [{"input_type": "document"}, {"task": "retrieval.passage"}, {"input_type": "Search_Document"}]
)
def test_documents_are_documents(fields: dict[str, str]) -> None:
    assert read(**fields).task().input_type is InputType.DOCUMENT


@pytest.mark.parametrize("fields", [{}, {"input_type": None}, {"task": "text-matching"}, {"input_type": "classification"}])
def test_other_texts_are_neither(fields: dict[str, str]) -> None:
    assert read(**fields).task().input_type is InputType.UNSTATED


def test_other_names_are_those_of_the_models_prompts() -> None:
    assert read(prompt_name="sts").task().prompt_name == "sts"
    assert read(prompt_name="query").task().prompt_name is None


@pytest.mark.parametrize(("given", "expected"), [(None, None), (0, None), (256, 256)])
def test_dimensions_reach_the_task(given: int | None, expected: int | None) -> None:
    assert read(dimensions=given).task().dimensions == expected


@pytest.mark.parametrize("fields", [{"encoding_format": "int8"}, {"dimensions": -1}, {"dimensions": "wide"}])
def test_wrong_value_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        read(**fields)


def test_base64_and_numbers_say_the_same() -> None:
    numbers = read().answer(outcome(), ResponseMeta("1", 0))["data"]
    coded = read(encoding_format="base64").answer(outcome(), ResponseMeta("1", 0))["data"]
    for one, other in zip(numbers, coded, strict=True):
        assert isinstance(other["embedding"], str)
        np.testing.assert_array_equal(one["embedding"], np.frombuffer(base64.b64decode(other["embedding"]), "<f4"))
    assert [item["index"] for item in numbers] == [0, 1]
    assert all(set(item) == {"object", "index", "embedding"} for item in numbers)
