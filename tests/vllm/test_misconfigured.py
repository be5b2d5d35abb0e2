"""Real servers that somebody started as one might, and that would score nonsense: named at the start, with what would be right."""

from __future__ import annotations

import json
import shlex

import pytest

from shortlist.engine.vllm.command import AS_RERANKER
from shortlist.engine.vllm.probe import Probe, served_names
from shortlist.engine.vllm.start import Access, connect
from shortlist.errors import ModelRefused
from shortlist.types import Task
from tests.support import qwen
from tests.support.vllm import batch_of, by_hand, folder_of, plan_of, prompts_of, running

POOLING = ("--runner", "pooling")
OVERRIDES = ("--hf-overrides", json.dumps(AS_RERANKER))


def refusal(url: str, task: Task = Task.RERANK) -> str:
    with pytest.raises(ModelRefused) as refused:
        Probe(url, plan_of(folder_of("embedder" if task is Task.EMBED else "reranker"), task)).run()
    return refused.value.message


def assert_shows_the_command(message: str) -> None:
    command = shlex.split(message.split("Right would be: ")[1])
    assert command[:2] == ["vllm", "serve"]
    assert json.loads(command[command.index("--hf-overrides") + 1]) == AS_RERANKER


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("reranker", (), "is a language model that writes"),
        ("reranker", POOLING, "embeds and does not rank"),
        ("reranker", (*POOLING, "--convert", "classify"), "labels: it was started without the overrides"),
        ("embedder", POOLING, "embeds and does not rank"),
    ],
    ids=["chat", "no overrides", "bare classifier", "embedder"],
)
def test_reranker_that_is_none_is_named(kind: qwen.Kind, arguments: tuple[str, ...], words: str) -> None:
    with by_hand(folder_of(kind), *arguments) as url:
        message = refusal(url)
        assert words in message
        assert_shows_the_command(message)


async def test_right_command_makes_an_upstream_that_scores_as_our_own_child() -> None:
    folder = folder_of("reranker")
    prompts = prompts_of([5, 80, 300, 7])
    with by_hand(folder, *POOLING, *OVERRIDES, "--served-model-name", "qwen3-reranker") as url:
        assert "qwen3-reranker" in served_names(url)
        engine = connect([url], plan_of(folder), Access(timeout_s=60.0))
        try:
            theirs = await engine.score(batch_of(prompts))
        finally:
            engine.close()
        assert "ranks and does not embed" in refusal(url, Task.EMBED)
    ours = await running("reranker").score(batch_of(prompts))
    assert theirs == pytest.approx(ours, abs=0.1)
