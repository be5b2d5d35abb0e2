"""How much is asked: levels of load. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from shortlist.errors import BadSetting

DEFAULT_USERS: Final = (10, 30, 50, 100, 300)


class Loop(StrEnum):
    """Who decides when the next request is sent."""

    CLOSED = "closed"
    """The server does: every user waits for an answer before asking again."""
    OPEN = "open"
    """The world does: requests arrive at a rate, however slow the answers are."""


@dataclass(frozen=True, slots=True)
class Level:
    """How much is asked.

    Attributes:
        loop: Who decides when.
        amount: Users, or arrivals a second.
    """

    loop: Loop
    amount: float

    @classmethod
    def of_users(cls, users: int) -> Self:
        """Return the level of so many users, each waiting for an answer before asking again.

        Raises:
            BadSetting: there is not even one.
        """
        if users < 1:
            raise BadSetting(f"There must be at least one user (--users), not {users}.")
        return cls(Loop.CLOSED, users)

    @classmethod
    def of_rate(cls, per_s: float) -> Self:
        """Return the level of so many arrivals a second.

        Raises:
            BadSetting: it is not a rate.
        """
        if not (per_s > 0 and math.isfinite(per_s)):
            raise BadSetting(f"A rate (--rate) must be above 0, not {per_s:g}.")
        return cls(Loop.OPEN, per_s)

    @property
    def name(self) -> str:
        """What it is called in tables."""
        if self.loop is Loop.OPEN:
            return f"{self.amount:g}/s"
        return f"{self.amount:g} {'user' if self.amount == 1 else 'users'}"
