"""Calls of an engine with a batch, as the dispatcher makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shortlist.engine.base import Engine
from shortlist.types import Batch


async def compute(engine: Engine, batch: Batch) -> Sequence[Any]:
    """Return one value per item."""
    return await engine.compute(batch.operation, batch.prompts)


async def explain(engine: Engine, batch: Batch) -> Sequence[Mapping[str, float]]:
    """Return the components of every item's score."""
    return await engine.explain(batch.prompts)
