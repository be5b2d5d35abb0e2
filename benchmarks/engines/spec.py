"""What a run is asked to do: read from the command line, checked before anything is started."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from benchmarks.engines.memory import CPU
from benchmarks.engines.process import Spec
from benchmarks.engines.roofline import FLOOR_COMMAND
from benchmarks.loads import BenchLoad
from shortlist.bench.tables import OURS
from shortlist.config import SchedulerSettings
from shortlist.errors import BadSetting

OFFICIAL: Final = "official"
"""The reference unless another is named: the model card's own procedure."""

REPEATS: Final = 5

GPU_MODEL_LEN: Final = 32_768
"""Longest prompt on a GPU unless told otherwise: the longest document of its loads, and what stands around it."""

_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?")

MAX_RMS: Final = "0.25"
"""Further apart than this, in log-odds, is another model's opinion and not another order of additions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecBounds:
    """How far scores may be from the reference's: one bound for all, and those of contenders that have their own."""

    everyone: float
    own: Mapping[str, float]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Return the bounds of `NUMBER` and `NAME=NUMBER`, in any order.

        Raises:
            BadSetting: something is not of either form.
        """
        bounds = {}
        for text in (MAX_RMS, *texts):
            name, _, number = text.rpartition("=")
            bounds[name] = _bound(text, number)
        return cls(everyone=bounds.pop(""), own=bounds)

    def of(self, name: str) -> float:
        """Return the bound of this contender."""
        return self.own.get(name, self.everyone)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to run.

    Attributes:
        model: A folder, or the id of a model on a hub.
        loads: What to ask.
        contenders: Whom, ours first.
        reference: Whose scores are the truth.
        bounds: How far the others' may be from them.
        check_only: Those whose scores are compared, but who are not timed.
        repeats: Rounds of every load; one more of the first load is played before them, to warm up.
        is_saturated: Whether they are also asked as many requests at once as each likes.
        threads: How many threads each may use; None for as many as they like.
        device: Where all of them compute: cpu, cuda or cuda:N.
        max_model_len: Longest prompt in tokens that all of them read; None for what is usual.
        seed: What requests and orders are drawn with.
        floor: The command that measures the machine's rate; None to go without.
        ready_s: How long a contender may take to be ready.
        answer_s: How long it may take to answer.
    """

    model: str
    loads: Sequence[BenchLoad]
    contenders: Sequence[Spec]
    reference: str
    bounds: SpecBounds
    check_only: Sequence[str] = ()
    repeats: int = REPEATS
    is_saturated: bool = False
    threads: int | None = None
    device: str = CPU
    max_model_len: int | None = None
    seed: int = 0
    floor: Sequence[str] | None = FLOOR_COMMAND
    ready_s: float = 900.0
    answer_s: float = 600.0

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise BadSetting(f"The device {self.device!r} (--device) must be cpu, cuda or cuda:N, the same for all contenders.")
        names = [spec.name for spec in self.contenders]
        doubled = [name for name in names if names.count(name) > 1]
        if doubled:
            raise BadSetting(f"Two contenders are called {doubled[0]!r}; ours is called {OURS!r}.")
        unknown = [name for name in (self.reference, *self.bounds.own, *self.check_only) if name not in names]
        if unknown:
            raise BadSetting(f"There is no contender called {unknown[0]!r}; there are {', '.join(names)}.")
        if OURS in self.check_only:
            raise BadSetting(f"{OURS!r} is what all others are compared with, so it cannot be left untimed (--check-only).")

    def arguments(self, folder: str) -> list[str]:
        """Return what every contender's command is continued with: no flag that it need not know."""
        return [
            folder,
            *(["--threads", str(self.threads)] if self.threads else []),
            *(["--device", self.device] if self.device != CPU else []),
            *(["--max-model-len", str(self.max_model_len)] if self.max_model_len else []),
        ]


def step_tokens(max_model_len: int) -> int:
    """Return how many tokens a step of ours has, so that the longest prompt fits into one."""
    return max(max_model_len, SchedulerSettings().max_batch_tokens)


def ours(dtype: str | None) -> Spec:
    """Return our own contender, computing in this dtype."""
    return Spec(OURS, (sys.executable, "-m", "benchmarks.engines.builtin", *(["--dtype", dtype] if dtype else [])))


def reference_among(contenders: Sequence[Spec], named: str | None) -> str:
    """Return whose scores are the truth: the one that was named, else the official one, else ours."""
    return named or next((spec.name for spec in contenders if spec.name == OFFICIAL), OURS)


def _bound(text: str, number: str) -> float:
    try:
        bound = float(number)
    except ValueError:
        bound = -1.0
    if not bound > 0:
        raise BadSetting(f"The bound {text!r} (--max-rms) must be a number above 0, or NAME=NUMBER.")
    return bound
