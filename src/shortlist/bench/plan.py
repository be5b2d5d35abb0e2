"""The plan of a run: load levels, servers and durations, validated before the first request. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Self

from shortlist.bench.target import Target
from shortlist.errors import BadSetting

DEFAULT_USERS: Final = (10, 30, 50, 100, 300)


class Loop(StrEnum):
    """The kind of load generation."""

    CLOSED = "closed"  # every user waits for an answer before sending the next request
    OPEN = "open"  # requests arrive at a fixed rate, independent of the answers


@dataclass(frozen=True, slots=True)
class Level:
    """One level of load."""

    loop: Loop
    amount: float  # users, or arrivals a second

    @classmethod
    def of_users(cls, users: int) -> Self:
        """Return a closed-loop level with this many users.

        Raises:
            BadSetting: there is not even one.
        """
        if users < 1:
            raise BadSetting(f"There must be at least one user (--users), not {users}.")
        return cls(Loop.CLOSED, users)

    @classmethod
    def of_rate(cls, per_s: float) -> Self:
        """Return an open-loop level with this many arrivals per second.

        Raises:
            BadSetting: it is not a rate.
        """
        if not (per_s > 0 and math.isfinite(per_s)):
            raise BadSetting(f"A rate (--rate) must be above 0, not {per_s:g}.")
        return cls(Loop.OPEN, per_s)

    @property
    def name(self) -> str:
        """The name in tables."""
        if self.loop is Loop.OPEN:
            return f"{self.amount:g}/s"
        return f"{self.amount:g} {'user' if self.amount == 1 else 'users'}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One level run to do: round, level and server."""

    number: int
    level: Level
    target: Target

    @property
    def seed(self) -> str:
        """The seed of this level run; no two level runs send the same texts."""
        return f"{self.number}-{self.level.name}-{self.target.name}"


@dataclass(frozen=True, kw_only=True)  # no slots: the command line reads the defaults from the class
class LoadPlan:
    """The options of a run and the defaults of the command line."""

    targets: Sequence[Target]  # the others are compared with the first
    levels: Sequence[Level]
    duration_s: float = 60.0  # measurement window of a level
    warm_up_s: float = 5.0  # minimum warm-up before it
    repeats: int = 1  # rounds of all levels
    num_documents: int = 10  # in a request
    num_words: int = 100  # in a document
    seen_share: float = 0.0  # share of repeated requests, which a cache can answer
    num_checked: int = 0  # answers per level run whose documents are re-sent one by one
    tolerance: float = 1e-3  # a larger difference is an error, not floating-point rounding
    within_s: float | None = None  # latency limit of an answer in time; None for no such count
    timeout_s: float = 120.0  # a request without an answer is lost after this
    seed: int = 0  # seeds all random draws

    def __post_init__(self) -> None:
        if not self.targets or not self.levels:
            raise BadSetting("There must be at least one server and one level (--users, --rate).")
        for flag, seconds in (("duration", self.duration_s), ("timeout", self.timeout_s), ("within", self.within_s)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise BadSetting(f"--{flag} must be a time above 0, not {seconds:g} seconds.")
        for flag, number in (("documents", self.num_documents), ("words", self.num_words), ("repeats", self.repeats)):
            if number < 1:
                raise BadSetting(f"--{flag} must be at least 1, not {number}.")
        for flag, value in (("warm-up", self.warm_up_s), ("check", self.num_checked), ("tolerance", self.tolerance)):
            if not 0 <= value < math.inf:
                raise BadSetting(f"--{flag} must be at least 0, not {value:g}.")
        if not 0 <= self.seen_share <= 1:
            raise BadSetting(f"--seen is a share between 0 and 1, not {self.seen_share:g}.")

    def turns(self) -> Iterator[Turn]:
        """Yield all level runs by round and level; the servers of a level come in a new random order."""
        draw = Random(self.seed)  # noqa: S311 - no secret
        for number in range(self.repeats):
            for level in self.levels:
                for target in draw.sample(self.targets, len(self.targets)):
                    yield Turn(number, level, target)

    @property
    def num_turns(self) -> int:
        """Number of level runs."""
        return self.repeats * len(self.levels) * len(self.targets)

    @property
    def turn_s(self) -> float:
        """Approximate duration of a level run in seconds."""
        return self.warm_up_s + self.duration_s

    @property
    def max_users(self) -> int:
        """Maximum number of users."""
        return max((int(level.amount) for level in self.levels if level.loop is Loop.CLOSED), default=0)
