"""What a run found: frozen values that tables, files and plots are made of, and the figures that follow from them.

Pure. Every time that was measured is kept; medians and ratios are computed from them and never stored instead of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import orjson

from benchmarks.engines.agreement import Agreement
from benchmarks.engines.protocol import Ready
from benchmarks.engines.roofline import Floor, Work
from benchmarks.engines.saturation import Many
from shortlist.bench.machine import Machine
from shortlist.bench.stats import Spread
from shortlist.bench.tables import OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One contender.

    Attributes:
        name: As it was called on the command line.
        command: What was run, without the model's folder.
        ready: What it said of itself; None if it never did.
        agreement: How far its scores are from the reference's; None if it gave none.
        max_rms: How far they may be.
        peak_bytes: Most memory that its processes needed; None if that is not known.
        gpu_bytes: Most of the GPU's memory that it held; None if that is not known, or on no GPU.
        why_not: Why it is not ranked; None if it is.
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
    """The same request, answered by everyone: what it cost, and the seconds each took."""

    work: Work
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One contender under one load.

    Attributes:
        seconds: Per request.
        ratio: Its seconds over ours, of the same request.
        tokens_per_s: Tokens a request needs read, over its seconds.
        floor_share: Share of its seconds that the arithmetic alone would need; known for ours.
    """

    name: str
    seconds: Spread
    ratio: Spread | None
    tokens_per_s: float
    floor_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything about one run.

    Attributes:
        model: As it was asked for.
        machine: Where it ran.
        reference: The contender whose scores are the truth.
        entries: The contenders, ours first.
        rounds: The rounds that count, for every load.
        many: What came of many requests at once, for every load, by contender; empty if that was not asked.
        floors: The machine's rate before and after; none if it was not measured.
        num_checked: Documents in the check set.
        seed: What the requests were drawn with.
    """

    model: str
    machine: Machine
    reference: str
    entries: Sequence[ReportEntry]
    rounds: Mapping[str, Sequence[Round]]
    floors: Sequence[Floor]
    num_checked: int
    seed: int
    many: Mapping[str, Mapping[str, Many]] = field(default_factory=dict)

    @property
    def floor(self) -> Floor | None:
        """The floor that counts: the higher rate is nearer to what the machine can do undisturbed."""
        return max(self.floors, key=lambda floor: floor.flops_per_s, default=None)

    def rows(self, load: str) -> list[SpeedRow]:
        """Return the ranked contenders that were timed under this load, fastest first."""
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
        """Return everything, measured and computed, as JSON."""
        computed = {load: [asdict(row) for row in self.rows(load)] for load in self.rounds}
        return orjson.dumps({**asdict(self), "figures": computed}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
