"""Runs the whole server with an engine that computes nothing.

    python -m benchmarks.nothing serve MODEL ...        # as `shortlist serve`

A score is an id from the prompt, so that answers can be checked. The device thread and all code before it are those of the
native engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shortlist.cli import main
from shortlist.engine.base import EngineInfo
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.types import Operation, Prompt, TokenPrompt, Value


class IdRunner:
    """A `BatchRunner` that returns one id of every prompt as its score."""

    def begin(self, _operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        """Return a function that returns the ids."""
        return lambda: [_id_of(prompt) for prompt in prompts]

    def explain(self, prompts: Sequence[Prompt]) -> list[Mapping[str, float]]:
        """Return the ids as explanations."""
        return [{"score": _id_of(prompt)} for prompt in prompts]


def _id_of(prompt: Prompt) -> float:
    assert isinstance(prompt, TokenPrompt)
    return int(prompt.ids[len(prompt.ids) // 2]) / 1e5


def load(_folder: Path, *, operation: Operation, max_model_len: int, **_options: Any) -> NativeEngine:
    """Replaces `NativeEngine.load`."""
    info = EngineInfo(
        fingerprint="nothing", operations=frozenset({operation}), max_model_len=max_model_len, max_concurrent_batches=3
    )
    return NativeEngine(IdRunner(), info)


if __name__ == "__main__":
    NativeEngine.load = load  # type: ignore[method-assign,assignment]
    main()
