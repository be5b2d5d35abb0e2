"""The result of a run: every request of every level run, and the figures computed from them. Pure.

It stores only what cannot be computed, leaves out nothing that was measured, and contains no key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import orjson

from shortlist.bench.machine import Machine
from shortlist.bench.plan import Level, LoadPlan
from shortlist.bench.samples import AnswerCheck, Fate, Generator, LevelRun
from shortlist.bench.stats import Spread, percentile

DIGITS: Final = 6
"""Decimal digits of seconds in the file: microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one server at one level over all rounds."""

    name: str
    level: Level
    qps: Spread  # good answers per second, over the rounds
    documents_per_s: Spread
    in_time_per_s: Spread | None  # good answers in time per second; None without a latency limit
    ratio: Spread | None  # its speed over the first server's, round by round; None if that had none
    of_first: Spread | None  # its speed over its own at the first level of this kind, round by round
    p50_s: float | None  # median latency of good answers
    p95_s: float | None
    p99_s: float | None
    refused_p99_s: float | None  # 99th percentile latency of refusals
    fates: Mapping[Fate, int]  # of all requests
    num_told: int  # refusals with Retry-After
    check: AnswerCheck  # comparison with answers to single documents
    generator: Generator  # highest load generator utilization
    reasons: Mapping[str, int]  # error messages and their counts

    @property
    def num_sent(self) -> int:
        """Total number of requests."""
        return sum(self.fates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Plan, machine and results of one run."""

    machine: Machine  # the load generator's machine
    plan: LoadPlan  # the options of the run
    level_runs: Sequence[LevelRun]  # the results in run order
    was_stopped: bool = False  # before all level runs were done

    @property
    def reference(self) -> str:
        """The server that the others are compared with."""
        return self.plan.targets[0].name

    @property
    def num_errors(self) -> int:
        """Number of requests with an error."""
        return sum(level_run.num_errors for level_run in self.level_runs)

    def rows(self) -> list[Row]:
        """Return a row for every measured level and server, in plan order."""
        wanted = [(level, target.name) for level in self.plan.levels for target in self.plan.targets]
        return [self._row(level, name) for level, name in wanted if self._of(level, name)]

    def to_json(self) -> bytes:
        """Return all measurements and figures as JSON."""
        found = {
            "machine": self.machine,
            "plan": self._plan(),
            "was_stopped": self.was_stopped,
            "figures": self.rows(),
            "visits": list(map(_level_run, self.level_runs)),
        }
        return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)

    def _of(self, level: Level, name: str) -> dict[int, LevelRun]:
        return {
            level_run.turn: level_run for level_run in self.level_runs if level_run.level == level and level_run.target == name
        }

    def _row(self, level: Level, name: str) -> Row:
        by_turn = self._of(level, name)
        level_runs = list(by_turn.values())
        first = next(each for each in self.plan.levels if each.loop is level.loop)
        within_s = self.plan.within_s
        good = _together(level_runs, Fate.OK)
        return Row(
            name=name,
            level=level,
            qps=Spread.of([level_run.qps for level_run in level_runs]),
            documents_per_s=Spread.of([level_run.documents_per_s for level_run in level_runs]),
            in_time_per_s=None if within_s is None else Spread.of([level_run.good_per_s(within_s) for level_run in level_runs]),
            ratio=_ratio(by_turn, self._of(level, self.reference)),
            of_first=_ratio(by_turn, self._of(first, name)),
            p50_s=percentile(good, 0.5),
            p95_s=percentile(good, 0.95),
            p99_s=percentile(good, 0.99),
            refused_p99_s=percentile(_together(level_runs, Fate.REFUSED), 0.99),
            fates=dict(sum((level_run.fates() for level_run in level_runs), Counter[Fate]())),
            num_told=sum(
                sample.has_retry_after
                for level_run in level_runs
                for sample in level_run.samples
                if sample.fate is Fate.REFUSED
            ),
            check=sum((level_run.check for level_run in level_runs), AnswerCheck()),
            generator=worst([level_run.generator for level_run in level_runs]),
            reasons=dict(sum((Counter(level_run.reasons) for level_run in level_runs), Counter[str]())),
        )

    def _plan(self) -> dict[str, object]:
        """Return the plan without API keys."""
        plan = {each.name: getattr(self.plan, each.name) for each in fields(LoadPlan) if each.name != "targets"}
        targets = [
            {"name": each.name, "url": each.url, "dialect": each.dialect.name, "model": each.model}
            for each in self.plan.targets
        ]
        return {**plan, "targets": targets}


def worst(generators: Sequence[Generator]) -> Generator:
    """Return the highest load generator utilization; 0 for an empty sequence."""
    return Generator(
        cpu_share=max((each.cpu_share for each in generators), default=0.0),
        lag_p99_s=max((each.lag_p99_s for each in generators), default=0.0),
    )


def _ratio(one: Mapping[int, LevelRun], other: Mapping[int, LevelRun]) -> Spread | None:
    """Return the ratio of two speeds over the rounds that have both."""
    ratios = [level_run.qps / other[turn].qps for turn, level_run in one.items() if turn in other and other[turn].qps]
    return Spread.of(ratios) if ratios else None


def _together(level_runs: Sequence[LevelRun], fate: Fate) -> list[float]:
    return sorted(latency_s for level_run in level_runs for latency_s in level_run.latencies(fate))


def _level_run(level_run: LevelRun) -> dict[str, object]:
    """Return a level run with its samples as columns: a third of the size of rows."""
    about = {name: getattr(level_run, name) for name in ("target", "level", "turn", "window", "generator", "check", "reasons")}
    columns: dict[str, list[object]] = {
        "due_s": [round(sample.due_s, DIGITS) for sample in level_run.samples],
        "latency_s": [round(sample.latency_s, DIGITS) for sample in level_run.samples],
        **{name: [getattr(each, name) for each in level_run.samples] for name in ("fate", "status", "has_retry_after")},
    }
    return {**about, "samples": columns}
