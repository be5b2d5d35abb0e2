"""What a run is asked to do: read from the command line, checked before anybody is asked anything. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from shortlist.bench.traffic.schedule import Level, Loop
from shortlist.bench.traffic.target import Target
from shortlist.errors import BadSetting

DURATION_S: Final = 60.0
WARM_UP_S: Final = 5.0
TIMEOUT_S: Final = 120.0
NUM_DOCUMENTS: Final = 10
NUM_WORDS: Final = 100

TOLERANCE: Final = 1e-3
"""Scores further apart than this are another ranking, not another order of additions."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One visit to come: which round, which level, which server."""

    number: int
    level: Level
    target: Target

    @property
    def seed(self) -> str:
        """What this visit alone draws with, so that no two of them ask the same."""
        return f"{self.number}-{self.level.name}-{self.target.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Attributes:
        targets: Whom to ask; the others are compared with the first.
        levels: How much to ask of each.
        duration_s: How long a level is measured.
        warm_up_s: How long it is asked before that, at least.
        repeats: How many rounds of all levels.
        num_documents: Documents in a request.
        num_words: Words in a document.
        seen_share: Share of requests that were asked before, so that a cache can answer them.
        num_checked: Answers of every visit whose documents are asked again alone.
        tolerance: How far apart their numbers may be.
        within_s: How fast an answer must come to be counted as in time; None for no such count.
        timeout_s: When a request without an answer is lost.
        seed: What everything is drawn with.
    """

    targets: Sequence[Target]
    levels: Sequence[Level]
    duration_s: float = DURATION_S
    warm_up_s: float = WARM_UP_S
    repeats: int = 1
    num_documents: int = NUM_DOCUMENTS
    num_words: int = NUM_WORDS
    seen_share: float = 0.0
    num_checked: int = 0
    tolerance: float = TOLERANCE
    within_s: float | None = None
    timeout_s: float = TIMEOUT_S
    seed: int = 0

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
        """Yield all visits: round by round, level by level, and within a level the servers in an order drawn anew."""
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
