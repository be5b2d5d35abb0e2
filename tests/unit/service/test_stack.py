"""A request finds the model that it means."""

from __future__ import annotations

import pytest

from shortlist.errors import BadSetting, InvalidInput, NotFound
from shortlist.service.stack import Registry
from shortlist.types import Task
from tests.support.house import stack

RERANKER = frozenset({Task.RERANK})
EMBEDDER = frozenset({Task.EMBED})


@pytest.fixture
def registry() -> Registry:
    return Registry(
        [
            stack(name="Qwen/Qwen3-Reranker-0.6B", tasks=RERANKER, aliases=("rerank-v3.5",)),
            stack(name="Qwen/Qwen3-Embedding-0.6B", tasks=EMBEDDER),
            stack(name="BAAI/bge-reranker-v2-m3", tasks=RERANKER),
        ]
    )


@pytest.mark.parametrize(
    "name",
    ["Qwen/Qwen3-Reranker-0.6B", "qwen3-reranker-0.6b", "Qwen3-Reranker-0.6B", "rerank-v3.5", "openai/qwen3-reranker-0.6b"],
)
def test_model_is_found_by_name_basename_and_alias(registry: Registry, name: str) -> None:
    assert registry.find(name, Task.RERANK).name == "Qwen/Qwen3-Reranker-0.6B"


@pytest.mark.parametrize("name", [None, ""])
def test_absent_name_means_the_default_of_the_task(registry: Registry, name: str | None) -> None:
    assert registry.find(name, Task.RERANK).name == "Qwen/Qwen3-Reranker-0.6B"
    assert registry.find(name, Task.EMBED).name == "Qwen/Qwen3-Embedding-0.6B"


@pytest.mark.parametrize("name", ["default", "DEFAULT", "default/not-specified"])
def test_name_that_stands_for_none_means_the_default_of_the_task(registry: Registry, name: str) -> None:
    assert registry.find(name, Task.EMBED).name == "Qwen/Qwen3-Embedding-0.6B"


@pytest.mark.parametrize("name", ["Qwen3-Reranker-0.6B___VLLM", "Qwen/Qwen3-Reranker-0.6B___OpenAI-API-Compatible"])
def test_what_ragflow_appends_to_a_name_is_not_part_of_it(registry: Registry, name: str) -> None:
    assert registry.find(name, Task.RERANK).name == "Qwen/Qwen3-Reranker-0.6B"


def test_model_of_any_task_is_found_for_what_all_can_do(registry: Registry) -> None:
    assert registry.find(None).name == "Qwen/Qwen3-Reranker-0.6B"
    assert registry.find("qwen3-embedding-0.6b").name == "Qwen/Qwen3-Embedding-0.6B"


def test_unknown_name_may_mean_the_default(registry: Registry) -> None:
    lenient = Registry(registry.stacks, unknown_model="default")
    assert lenient.find("gpt-4", Task.EMBED).name == "Qwen/Qwen3-Embedding-0.6B"
    with pytest.raises(InvalidInput):
        lenient.find("bge-reranker-v2-m3", Task.EMBED)


def test_unknown_name_is_refused_with_the_known_ones(registry: Registry) -> None:
    with pytest.raises(NotFound, match="BAAI/bge-reranker-v2-m3") as error:
        registry.find("gpt-4", Task.RERANK)
    assert error.value.param == "model"
    assert "gpt-4" not in error.value.message


def test_model_of_another_task_is_refused_with_the_right_ones(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match=r"Qwen3-Embedding-0\.6B does not rerank; served for that: Qwen/Qwen3-Reranker"):
        registry.find("qwen3-embedding-0.6b", Task.RERANK)


def test_task_that_nobody_does_is_refused() -> None:
    with pytest.raises(NotFound, match="can embed"):
        Registry([stack(tasks=RERANKER)]).find(None, Task.EMBED)


def test_same_name_twice_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="demo"):
        Registry([stack(name="demo"), stack(name="demo")])
    with pytest.raises(BadSetting, match="shared"):
        Registry([stack(name="a", aliases=("shared",)), stack(name="b", aliases=("shared",))])


def test_shared_basename_means_the_first() -> None:
    registry = Registry([stack(name="one/same"), stack(name="two/same")])
    assert registry.find("same", Task.RERANK).name == "one/same"
    assert registry.find("two/same", Task.RERANK).name == "two/same"
