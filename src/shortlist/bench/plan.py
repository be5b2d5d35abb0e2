"""The plan of a load test: levels, servers and duration, validated before the first request. Pure."""

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
    """What decides when the next request is sent."""

    CLOSED = "closed"  # the server: every user waits for an answer before asking again
    OPEN = "open"  # the schedule: requests arrive at a rate, however slow the answers are


@dataclass(frozen=True, slots=True)
class Level:
    """How much is asked."""

    loop: Loop
    amount: float  # users, or arrivals a second

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


@dataclass(frozen=True, slots=True)
class Turn:
    """One visit to come: which round, which level, which server."""

    number: int
    level: Level
    target: Target

    @property
    def seed(self) -> str:
        """The seed of this visit alone, so that no two of them send the same texts."""
        return f"{self.number}-{self.level.name}-{self.target.name}"


@dataclass(frozen=True, kw_only=True)  # no slots: the command line reads the defaults from the class
class LoadPlan:
    """What to run, and the defaults of the command line."""

    targets: Sequence[Target]  # the others are compared with the first
    levels: Sequence[Level]
    duration_s: float = 60.0  # how long a level is measured
    warm_up_s: float = 5.0  # how long it is asked before that, at least
    repeats: int = 1  # rounds of all levels
    num_documents: int = 10  # in a request
    num_words: int = 100  # in a document
    seen_share: float = 0.0  # of requests that were asked before, so that a cache can answer them
    num_checked: int = 0  # answers of every visit whose documents are asked again alone
    tolerance: float = 1e-3  # scores further apart are another ranking, not another order of additions
    within_s: float | None = None  # how fast an answer must come to be counted as in time; None for no such count
    timeout_s: float = 120.0  # when a request without an answer is lost
    seed: int = 0  # decides every draw

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
        """Yield all visits: round by round, level by level, and within a level the servers in a newly drawn order."""
        draw = Random(self.seed)  # noqa: S311 - no secret
        for number in range(self.repeats):
            for level in self.levels:
                for target in draw.sample(self.targets, len(self.targets)):
                    yield Turn(number, level, target)

    @property
    def num_turns(self) -> int:
        """How many visits that makes."""
        return self.repeats * len(self.levels) * len(self.targets)

    @property
    def turn_s(self) -> float:
        """How long one takes, more or less."""
        return self.warm_up_s + self.duration_s

    @property
    def max_users(self) -> int:
        """How many users there are at most."""
        return max((int(level.amount) for level in self.levels if level.loop is Loop.CLOSED), default=0)
