"""Real servers that were started wrongly and would score nonsense: named at the start, with what would be right."""

from __future__ import annotations

import json
import shlex

import pytest

from shortlist.engine.vllm.probe import Probe, served_names
from shortlist.errors import ModelRefused
from shortlist.models.qwen3.family import AS_RERANKER
from shortlist.types import EMBED, RERANK, Operation
from tests.support.vllm import SERVED_NAME, by_hand, folder_of, plan_of, running, url_of

POOLING = ("--runner", "pooling")


def refusal(url: str, task: Operation = RERANK) -> str:
    with pytest.raises(ModelRefused) as refused:
        Probe(url, plan_of(folder_of("embedder" if task is EMBED else "reranker"), task)).run()
    return refused.value.message


def assert_shows_the_command(message: str) -> None:
    command = shlex.split(message.split("Right would be: ")[1])
    assert command[:2] == ["vllm", "serve"]
    assert json.loads(command[command.index("--hf-overrides") + 1]) == AS_RERANKER


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "is a language model that writes", id="chat", marks=pytest.mark.full),
        pytest.param(POOLING, "embeds and does not rank", id="no overrides", marks=pytest.mark.full),
        # The folder has no weights for this head: without dummy ones, vLLM computes with whatever was in memory, NaN included.
        pytest.param(
            (*POOLING, "--convert", "classify", "--load-format", "dummy"),
            "labels: it was started without the overrides",
            id="bare classifier",
            marks=pytest.mark.full,
        ),
    ],
)
def test_reranker_that_is_none_is_named(arguments: tuple[str, ...], words: str) -> None:
    with by_hand(folder_of("reranker"), *arguments) as server:
        message = refusal(server.url)
    assert words in message
    assert_shows_the_command(message)


def test_embedder_is_no_reranker() -> None:
    message = refusal(url_of(running("embedder")))
    assert "embeds and does not rank" in message
    assert_shows_the_command(message)


def test_reranker_that_was_started_by_the_right_command_is_one_and_no_embedder() -> None:
    url = url_of(running("reranker"))
    assert SERVED_NAME in served_names(url)
    assert Probe(url, plan_of(folder_of("reranker"))).run().identity.dimensions is None
    assert "ranks and does not embed" in refusal(url, EMBED)
