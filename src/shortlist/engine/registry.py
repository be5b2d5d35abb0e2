"""The registry of engines that run in this process or its workers. Modules are imported on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortlist.config import SchedulerSettings
from shortlist.engine.base import EngineInfo
from shortlist.engine.memory_plan import MemoryPlan, library_plan

Plan = Callable[[Path, EngineInfo, SchedulerSettings], MemoryPlan]
"""Returns the memory plan of a loaded model from its folder, its engine info and the batch limits. Picklable by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What the server needs to know of an engine; model families load it (`models.base.ModelFamily.load`).

    Attributes:
        plan: Returns the memory plan of a model.
        is_planned: Whether the start reports the plan.
    """

    plan: Plan = library_plan
    is_planned: bool = False


def native_plan(folder: Path, info: EngineInfo, settings: SchedulerSettings) -> MemoryPlan:
    """Return the memory plan of the native engine."""
    from shortlist.engine.native.memory import memory_plan

    return memory_plan(folder, info, settings)


ENGINES: Final[dict[str, EngineSpec]] = {
    "native": EngineSpec(plan=native_plan, is_planned=True),
    "sentence": EngineSpec(),
}
"""By name. A new engine is a new entry, and an entry in `load` of the families that it runs."""
