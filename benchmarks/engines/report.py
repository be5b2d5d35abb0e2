"""The report of a run: measured values, and the figures computed from them. Pure.

Tables, files and plots are made from it. It keeps every measured time; medians and ratios are computed from these times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import orjson

from benchmarks.engines.agreement import Agreement
from benchmarks.engines.protocol import Ready
from benchmarks.engines.roofline import Floor, Work
from benchmarks.engines.saturation import SaturationResult
from shortlist.bench.machine import Machine
from shortlist.bench.stats import Spread
from shortlist.bench.tables import OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One contender.

    Attributes:
        name: Its name on the command line.
        command: Its command, without the model folder.
        ready: Its ready line; None if it did not send one.
        agreement: Differences from the reference scores; None without scores.
        max_rms: Largest allowed RMS difference, in log-odds.
        peak_bytes: Sum of the memory peaks of its processes; None if unknown.
        gpu_bytes: Peak GPU memory; None if unknown, or without a GPU.
        why_not: Why it is not ranked; None if it is ranked.
    """

    name: str
    command: Sequence[str]
    max_rms: float
    ready: Ready | None = None
    agreement: Agreement | None = None
    peak_bytes: int | None = None
    gpu_bytes: int | None = None
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One request answered by all contenders: its work, and the seconds by contender."""

    work: Work
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One contender under one load.

    Attributes:
        seconds: Seconds per request.
        ratio: Its seconds divided by those of Shortlist's engine for the same request.
        tokens_per_s: Tokens of a request divided by its seconds.
        floor_share: Time of the arithmetic alone divided by its seconds; only for Shortlist's engine.
    """

    name: str
    seconds: Spread
    ratio: Spread | None
    tokens_per_s: float
    floor_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of one run.

    Attributes:
        model: The model as given on the command line.
        machine: The machine of the run.
        reference: Name of the contender with the reference scores.
        entries: The contenders, Shortlist's engine first.
        rounds: The rounds after the warm-up, by load.
        many: Results of concurrent requests, by load and contender; empty without `--saturate`.
        floors: The machine's rate before and after the rounds; empty if not measured.
        num_checked: Number of documents in the check set.
        seed: Seed of the requests.
    """

    model: str
    machine: Machine
    reference: str
    entries: Sequence[ReportEntry]
    rounds: Mapping[str, Sequence[Round]]
    floors: Sequence[Floor]
    num_checked: int
    seed: int
    many: Mapping[str, Mapping[str, SaturationResult]] = field(default_factory=dict)

    @property
    def floor(self) -> Floor | None:
        """The floor with the highest rate, because it was disturbed least."""
        return max(self.floors, key=lambda floor: floor.flops_per_s, default=None)

    def rows(self, load: str) -> list[SpeedRow]:
        """Return the ranked contenders that were timed with this load, fastest first."""
        rounds = self.rounds[load]
        ranked = [entry.name for entry in self.entries if entry.why_not is None]
        names = [name for name in ranked if all(name in each.seconds for each in rounds)]
        return sorted((self._row(name, rounds) for name in names), key=lambda row: row.seconds.median)

    def _row(self, name: str, rounds: Sequence[Round]) -> SpeedRow:
        floor = self.floor if name == OURS else None
        has_ours = any(entry.name == OURS and entry.why_not is None for entry in self.entries)
        return SpeedRow(
            name=name,
            seconds=Spread.of([each.seconds[name] for each in rounds]),
            ratio=Spread.of([each.seconds[name] / each.seconds[OURS] for each in rounds]) if has_ours else None,
            tokens_per_s=median(each.work.num_tokens / each.seconds[name] for each in rounds),
            floor_share=median(floor.seconds(each.work) / each.seconds[name] for each in rounds) if floor else None,
        )

    def to_json(self) -> bytes:
        """Return measured and computed values as JSON."""
        computed = {load: [asdict(row) for row in self.rows(load)] for load in self.rounds}
        return orjson.dumps({**asdict(self), "figures": computed}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
