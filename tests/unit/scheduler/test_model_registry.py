"""The registry finds the served model by name and task."""

from __future__ import annotations

import pytest

from shortlist.errors import BadSetting, InvalidInput, NotFound, UnknownModel
from shortlist.scheduler.model_registry import ModelRegistry
from shortlist.types import EMBED, RERANK
from tests.support.apps import served

RERANKER = frozenset({RERANK})
EMBEDDER = frozenset({EMBED})


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry(
        [
            served(name="Qwen/Qwen3-Reranker-0.6B", operations=RERANKER, aliases=("rerank-v3.5",)),
            served(name="Qwen/Qwen3-Embedding-0.6B", operations=EMBEDDER),
            served(name="BAAI/bge-reranker-v2-m3", operations=RERANKER),
        ]
    )


@pytest.mark.parametrize(
    "name",
    ["Qwen/Qwen3-Reranker-0.6B", "qwen3-reranker-0.6b", "Qwen3-Reranker-0.6B", "rerank-v3.5", "openai/qwen3-reranker-0.6b"],
)
def test_model_is_found_by_name_basename_and_alias(registry: ModelRegistry, name: str) -> None:
    assert registry.find(name, RERANK).name == "Qwen/Qwen3-Reranker-0.6B"


@pytest.mark.parametrize("name", [None, ""])
def test_absent_name_means_the_default_of_the_task(registry: ModelRegistry, name: str | None) -> None:
    assert registry.find(name, RERANK).name == "Qwen/Qwen3-Reranker-0.6B"
    assert registry.find(name, EMBED).name == "Qwen/Qwen3-Embedding-0.6B"


@pytest.mark.parametrize("name", ["default", "DEFAULT", "default/not-specified"])
def test_name_that_stands_for_none_means_the_default_of_the_task(registry: ModelRegistry, name: str) -> None:
    assert registry.find(name, EMBED).name == "Qwen/Qwen3-Embedding-0.6B"


@pytest.mark.parametrize("name", ["Qwen3-Reranker-0.6B___VLLM", "Qwen/Qwen3-Reranker-0.6B___OpenAI-API-Compatible"])
def test_ragflows_name_suffix_is_ignored(registry: ModelRegistry, name: str) -> None:
    assert registry.find(name, RERANK).name == "Qwen/Qwen3-Reranker-0.6B"


def test_name_with_ollamas_tag_is_the_name(registry: ModelRegistry) -> None:
    known = registry.served_models[0]
    assert registry.find(f"{known.name}:latest") is known
    with pytest.raises(UnknownModel):
        registry.find(f"{known.name}:other")


def test_any_model_is_found_for_tokenizing(registry: ModelRegistry) -> None:
    assert registry.find(None).name == "Qwen/Qwen3-Reranker-0.6B"
    assert registry.find("qwen3-embedding-0.6b").name == "Qwen/Qwen3-Embedding-0.6B"


def test_unknown_name_can_select_the_default(registry: ModelRegistry) -> None:
    lenient = ModelRegistry(registry.served_models, unknown_model="default")
    assert lenient.find("gpt-4", EMBED).name == "Qwen/Qwen3-Embedding-0.6B"
    with pytest.raises(InvalidInput):
        lenient.find("bge-reranker-v2-m3", EMBED)


def test_unknown_name_is_refused_with_the_known_ones(registry: ModelRegistry) -> None:
    with pytest.raises(NotFound, match="BAAI/bge-reranker-v2-m3") as error:
        registry.find("gpt-4", RERANK)
    assert error.value.param == "model"
    assert "gpt-4" not in error.value.message


def test_model_of_another_task_is_refused_with_the_right_ones(registry: ModelRegistry) -> None:
    with pytest.raises(InvalidInput, match=r"Qwen3-Embedding-0\.6B does not rerank; served for that: Qwen/Qwen3-Reranker"):
        registry.find("qwen3-embedding-0.6b", RERANK)


def test_task_without_a_model_is_refused() -> None:
    with pytest.raises(NotFound, match="can embed"):
        ModelRegistry([served(operations=RERANKER)]).find(None, EMBED)


def test_same_name_twice_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="demo"):
        ModelRegistry([served(name="demo"), served(name="demo")])
    with pytest.raises(BadSetting, match="shared"):
        ModelRegistry([served(name="a", aliases=("shared",)), served(name="b", aliases=("shared",))])


def test_shared_basename_means_the_first() -> None:
    registry = ModelRegistry([served(name="one/same"), served(name="two/same")])
    assert registry.find("same", RERANK).name == "one/same"
    assert registry.find("two/same", RERANK).name == "two/same"
