"""How flows share the engine. Pure policy: the weights, and nothing else.

A flow is what one caller asks for at one priority. Flows share the engine by weight, counted in tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shortlist.types import Priority, Terms


class Flow(NamedTuple):
    """The requests of one caller at one priority."""

    caller: str
    priority: Priority

    @classmethod
    def of(cls, terms: Terms) -> Flow:
        """Return the flow that a request on these terms belongs to."""
        return cls(terms.caller, terms.priority)

    @property
    def cost_factor(self) -> int:
        """What one token counts for when flows are weighed against each other."""
        return COST_FACTORS[self.priority]


COST_FACTORS: Final[Mapping[Priority, int]] = {Priority.INTERACTIVE: 1, Priority.BATCH: 8}
"""Against one busy interactive flow, a batch flow gets a ninth of the engine: little, but never nothing."""

EVERYBODY: Final = Flow("", Priority.INTERACTIVE)
"""The flow of those of whom nothing is known."""
