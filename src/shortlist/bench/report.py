"""What a run found: every request of every visit, and the figures that follow from them. Pure.

Nothing is stored that can be computed; nothing that was measured is left out, and no key is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import orjson

from shortlist.bench.machine import Machine
from shortlist.bench.plan import Level, Plan
from shortlist.bench.samples import Check, Fate, Generator, Visit
from shortlist.bench.stats import Spread, percentile

DIGITS: Final = 6
"""Of seconds in the file: microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server at one level, all rounds together."""

    name: str
    level: Level
    qps: Spread  # requests answered well, a second, over the rounds
    documents_per_s: Spread
    in_time_per_s: Spread | None  # requests answered well and in time, a second; None without a bound
    ratio: Spread | None  # its speed over the first server's, round by round; None if that had none
    of_first: Spread | None  # its speed over its own at the first level of this kind, round by round
    p50_s: float | None  # how long good answers took: half of them at most this
    p95_s: float | None
    p99_s: float | None
    refused_p99_s: float | None  # how long 99 % of the refusals took at most
    fates: Mapping[Fate, int]  # of all requests
    num_told: int  # refusals that said when to come back
    check: Check  # the comparison with answers to documents alone
    generator: Generator  # how busy the load generator was, at worst
    reasons: Mapping[str, int]  # what was said of requests that were not answered well, and how often

    @property
    def num_sent(self) -> int:
        """Requests in all."""
        return sum(self.fates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Everything about one run."""

    machine: Machine  # where the requests came from
    plan: Plan  # what was to be done
    visits: Sequence[Visit]  # what was done, in this order
    was_stopped: bool = False  # before all of it was done

    @property
    def reference(self) -> str:
        """The server that others are compared with."""
        return self.plan.targets[0].name

    @property
    def num_errors(self) -> int:
        """How many requests ended as none may."""
        return sum(visit.num_errors for visit in self.visits)

    def rows(self) -> list[Row]:
        """Return a row for every level and server that was measured, in the order of the plan."""
        wanted = [(level, target.name) for level in self.plan.levels for target in self.plan.targets]
        return [self._row(level, name) for level, name in wanted if self._of(level, name)]

    def to_json(self) -> bytes:
        """Return everything, measured and computed, as JSON."""
        found = {
            "machine": self.machine,
            "plan": self._plan(),
            "was_stopped": self.was_stopped,
            "figures": self.rows(),
            "visits": list(map(_visit, self.visits)),
        }
        return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)

    def _of(self, level: Level, name: str) -> dict[int, Visit]:
        return {visit.turn: visit for visit in self.visits if visit.level == level and visit.target == name}

    def _row(self, level: Level, name: str) -> Row:
        by_turn = self._of(level, name)
        visits = list(by_turn.values())
        first = next(each for each in self.plan.levels if each.loop is level.loop)
        within_s = self.plan.within_s
        good = _together(visits, Fate.OK)
        return Row(
            name=name,
            level=level,
            qps=Spread.of([visit.qps for visit in visits]),
            documents_per_s=Spread.of([visit.documents_per_s for visit in visits]),
            in_time_per_s=None if within_s is None else Spread.of([visit.good_per_s(within_s) for visit in visits]),
            ratio=_ratio(by_turn, self._of(level, self.reference)),
            of_first=_ratio(by_turn, self._of(first, name)),
            p50_s=percentile(good, 0.5),
            p95_s=percentile(good, 0.95),
            p99_s=percentile(good, 0.99),
            refused_p99_s=percentile(_together(visits, Fate.REFUSED), 0.99),
            fates=dict(sum((visit.fates() for visit in visits), Counter[Fate]())),
            num_told=sum(sample.has_retry_after for visit in visits for sample in visit.samples if sample.fate is Fate.REFUSED),
            check=sum((visit.check for visit in visits), Check()),
            generator=worst([visit.generator for visit in visits]),
            reasons=dict(sum((Counter(visit.reasons) for visit in visits), Counter[str]())),
        )

    def _plan(self) -> dict[str, object]:
        """Return the plan without keys."""
        plan = {each.name: getattr(self.plan, each.name) for each in fields(Plan) if each.name != "targets"}
        targets = [
            {"name": each.name, "url": each.url, "dialect": each.dialect.name, "model": each.model}
            for each in self.plan.targets
        ]
        return {**plan, "targets": targets}


def worst(generators: Sequence[Generator]) -> Generator:
    """Return how busy the load generator was at worst; 0 of none."""
    return Generator(
        cpu_share=max((each.cpu_share for each in generators), default=0.0),
        lag_p99_s=max((each.lag_p99_s for each in generators), default=0.0),
    )


def _ratio(one: Mapping[int, Visit], other: Mapping[int, Visit]) -> Spread | None:
    """Return one speed over another, in the rounds that have both."""
    ratios = [visit.qps / other[turn].qps for turn, visit in one.items() if turn in other and other[turn].qps]
    return Spread.of(ratios) if ratios else None


def _together(visits: Sequence[Visit], fate: Fate) -> list[float]:
    return sorted(latency_s for visit in visits for latency_s in visit.latencies(fate))


def _visit(visit: Visit) -> dict[str, object]:
    """Return a visit with its samples as columns, which are a third of the size."""
    about = {name: getattr(visit, name) for name in ("target", "level", "turn", "window", "generator", "check", "reasons")}
    columns: dict[str, list[object]] = {
        "due_s": [round(sample.due_s, DIGITS) for sample in visit.samples],
        "latency_s": [round(sample.latency_s, DIGITS) for sample in visit.samples],
        **{name: [getattr(each, name) for each in visit.samples] for name in ("fate", "status", "has_retry_after")},
    }
    return {**about, "samples": columns}
