"""The engine of a model that is not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shortlist.engine.base import Engine, EngineInfo
from shortlist.errors import EngineUnavailable
from shortlist.types import Operation, Prompt


class UnloadedEngine(Engine):
    """Takes the place of a closed engine, so that nothing refers to the closed one and its memory is free.

    Args:
        info: The properties of the closed engine.
    """

    def __init__(self, info: EngineInfo) -> None:
        self._info = info

    @property
    def info(self) -> EngineInfo:
        """The properties of the closed engine."""
        return self._info

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Raise EngineUnavailable."""
        del operation, prompts
        raise EngineUnavailable("The model is not loaded.")

    def close(self) -> None:
        """Do nothing."""
