"""A benchmark's report with numbers that can be checked in the head."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.engines.agreement import Agreement
from benchmarks.engines.protocol import Ready
from benchmarks.engines.report import Report, ReportEntry, Round
from benchmarks.engines.roofline import Floor, Work
from shortlist.bench.machine import Machine

MACHINE = Machine(
    cpu="Example CPU",
    num_cores=4,
    memory_bytes=8 * 1024**3,
    system="Linux 6",
    python="3.11.1",
    versions={"torch": "2.0"},
    date="2026-01-02",
    command="python -m benchmarks model",
)
SAME = Agreement(rms=0.0, most=0.0, kendall_tau=1.0)
NEAR = Agreement(rms=0.01, most=0.04, kendall_tau=0.98)
FAR = Agreement(rms=2.5, most=5.0, kendall_tau=0.1)
FLOOR = Floor(flops_per_s=1e9, linear_flops_per_token=1e6, attention_flops_per_pair=0)


def entry(name: str, **fields: object) -> ReportEntry:
    ready = Ready(name=name, version=f"{name} 1.0", dtype="bfloat16")
    made = ReportEntry(name=name, command=(name,), max_rms=0.25, ready=ready, agreement=NEAR, peak_bytes=3 * 1024**3 // 2)
    return replace(made, **fields)  # type: ignore[arg-type]


def report(**fields: object) -> Report:
    """Ours takes 1, 2 and 4 seconds; the official procedure 3, 4 and 4; a third is left out."""
    rounds = [
        Round(work=Work(num_tokens=tokens, num_pairs=0), seconds={"ours": ours, "official": official})
        for tokens, ours, official in [(500, 1.0, 3.0), (800, 2.0, 4.0), (800, 4.0, 4.0)]
    ]
    made = Report(
        model="model",
        machine=MACHINE,
        reference="official",
        entries=[
            entry("ours"),
            entry("official", agreement=SAME),
            entry("odd|one", agreement=FAR, why_not="odd|one is not ranked: its scores are 2.50 apart"),
            entry("gone", ready=None, agreement=None, peak_bytes=None, why_not="gone: <no> [such] program"),
        ],
        rounds={"10x100": rounds, "mixed": rounds[:1]},
        floors=[replace(FLOOR, flops_per_s=0.5e9), FLOOR],
        num_checked=25,
        seed=0,
    )
    return replace(made, **fields)  # type: ignore[arg-type]
