"""An engine that can be reloaded after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from shortlist.engine.base import Engine, EngineInfo, Supervised, replicas_of
from shortlist.errors import EngineUnavailable
from shortlist.types import Batch, Vector


class RestartableEngine:
    """Implements `engine.base.Engine` by another engine, which `restart` replaces.

    Args:
        engine: The first one.
        load: Returns another one like it; called in a worker thread, after the one before was closed.
        on_close: Called on close; may abort a running `load`.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine], on_close: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._load = load
        self._on_close = on_close
        self._is_closed = False

    @property
    def info(self) -> EngineInfo:
        """What this engine is; the same after a restart."""
        return self._engine.info

    @property
    def replicas(self) -> Sequence[Engine]:
        """The engines for the single devices of the engine of the moment."""
        return replicas_of(self._engine)

    async def score(self, batch: Batch) -> Sequence[float]:
        """Return what the engine of the moment returns."""
        return await self._engine.score(batch)

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        """Return what the engine of the moment returns."""
        return await self._engine.embed(batch)

    async def explain(self, batch: Batch) -> Sequence[Mapping[str, float]]:
        """Return what the engine of the moment returns."""
        return await self._engine.explain(batch)

    async def wait_failed(self) -> None:
        """Return only by raising, if the engine of the moment is one that can go unasked."""
        if isinstance(self._engine, Supervised):
            await self._engine.wait_failed()

    async def restart(self) -> None:
        """Close the engine, which frees its memory, and load another one.

        Raises:
            EngineUnavailable: what was loaded is another model, whose scores would be mixed up with remembered ones.
            Whatever loading raises; calling this again tries again.
        """
        before = self._engine.info
        await asyncio.to_thread(self._engine.close)
        engine = await asyncio.to_thread(self._load)
        if self._is_closed or engine.info != before:
            engine.close()
            raise EngineUnavailable("The model is not the same any more; the server needs a restart.")
        self._engine = engine

    def close(self) -> None:
        """Free what the engine holds, and load no other. Calling it twice is harmless."""
        self._is_closed = True
        self._on_close()
        self._engine.close()
