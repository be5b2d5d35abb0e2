"""An engine that can be reloaded after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from shortlist.engine.base import Engine, EngineInfo
from shortlist.errors import EngineUnavailable
from shortlist.types import Operation, Prompt

T = TypeVar("T")


class RestartableEngine(Engine):
    """An `Engine` that delegates to another, which `restart` replaces.

    Args:
        engine: The initial engine.
        load: Loads the engine again; called in a worker thread after the previous engine was closed.
        on_close: Called on close; may abort a running `load`.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine], on_close: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._load = load
        self._on_close = on_close
        self._is_closed = False

    @property
    def info(self) -> EngineInfo:
        """The engine's properties; the same after a restart."""
        return self._engine.info

    @property
    def replicas(self) -> Sequence[Engine]:
        """The replicas of the current engine."""
        return self._engine.replicas

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Delegate to the current engine."""
        return await self._engine.compute(operation, prompts)

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """Delegate to the current engine."""
        return await self._engine.explain(prompts)

    async def wait_failed(self) -> None:
        """Delegate to the current engine."""
        await self._engine.wait_failed()

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Delegate to the current engine."""
        return self._engine.run_in_engine(function, timeout_s=timeout_s)

    async def restart(self) -> None:
        """Close the engine, which frees its memory, and load it again.

        Raises:
            EngineUnavailable: the loaded model differs, so its scores would be mixed with cached ones.
            The errors of loading; a repeated call tries again.
        """
        before = self._engine.info
        await asyncio.to_thread(self._engine.close)
        engine = await asyncio.to_thread(self._load)
        if self._is_closed or engine.info != before:
            engine.close()
            raise EngineUnavailable("The model is not the same any more; the server needs a restart.")
        self._engine = engine

    def close(self) -> None:
        """Free all resources, and never load again. Idempotent."""
        self._is_closed = True
        self._on_close()
        self._engine.close()
