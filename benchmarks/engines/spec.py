"""The specification of a run, from the command line. It is checked before a contender starts."""

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
"""The default reference: the model card's own procedure."""

REPEATS: Final = 5

GPU_MODEL_LEN: Final = 32_768
"""Default of the longest prompt on a GPU: the longest document of its loads, and the prompt template."""

_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?")

MAX_RMS: Final = "0.25"
"""Default limit of the RMS difference in log-odds. Rounding causes smaller differences; a larger one means other scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecBounds:
    """Limits of the RMS difference from the reference scores: a default, and limits of single contenders."""

    default: float
    own: Mapping[str, float]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Parse `NUMBER` and `NAME=NUMBER`, in any order.

        Raises:
            BadSetting: a text has another form.
        """
        bounds = {}
        for text in (MAX_RMS, *texts):
            name, _, number = text.rpartition("=")
            bounds[name] = _bound(text, number)
        return cls(default=bounds.pop(""), own=bounds)

    def of(self, name: str) -> float:
        """Return the limit of a contender."""
        return self.own.get(name, self.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The specification of a run.

    Attributes:
        model: A folder, or the id of a model on a hub.
        loads: The loads.
        contenders: The contenders, Shortlist's engine first.
        reference: Name of the contender with the reference scores.
        bounds: Limits of the differences from the reference scores.
        check_only: Contenders whose scores are compared, but that are not timed.
        repeats: Rounds of every load, after one warm-up round of the first load.
        is_saturated: Whether concurrent requests are measured too.
        threads: Number of threads of each contender; None for its default.
        device: Device of all contenders: cpu, cuda or cuda:N.
        max_model_len: Longest prompt in tokens, for all contenders; None for their default.
        seed: Seed of the requests and of the order.
        floor: Command that measures the machine's rate; None skips it.
        ready_s: Time limit for the ready line.
        answer_s: Time limit for an answer.
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
        duplicates = [name for name in names if names.count(name) > 1]
        if duplicates:
            raise BadSetting(f"Two contenders have the name {duplicates[0]!r}; Shortlist's engine has the name {OURS!r}.")
        unknown = [name for name in (self.reference, *self.bounds.own, *self.check_only) if name not in names]
        if unknown:
            raise BadSetting(f"No contender has the name {unknown[0]!r}; the names are {', '.join(names)}.")
        if OURS in self.check_only:
            raise BadSetting(f"{OURS!r} must be timed, because the others are compared with it; remove it from --check-only.")

    def arguments(self, folder: str) -> list[str]:
        """Return the arguments appended to every command; flags with default values are omitted."""
        return [
            folder,
            *(["--threads", str(self.threads)] if self.threads else []),
            *(["--device", self.device] if self.device != CPU else []),
            *(["--max-model-len", str(self.max_model_len)] if self.max_model_len else []),
        ]


def batch_tokens_for(max_model_len: int) -> int:
    """Return Shortlist's `max_batch_tokens`, increased if necessary so that a batch holds the longest prompt."""
    return max(max_model_len, SchedulerSettings().max_batch_tokens)


def builtin_contender(dtype: str | None) -> Spec:
    """Return Shortlist's engine as a contender, with this dtype."""
    return Spec(OURS, (sys.executable, "-m", "benchmarks.engines.builtin", *(["--dtype", dtype] if dtype else [])))


def reference_name(contenders: Sequence[Spec], given_name: str | None) -> str:
    """Return the name of the reference: the given name, else the official procedure, else Shortlist's engine."""
    return given_name or next((spec.name for spec in contenders if spec.name == OFFICIAL), OURS)


def _bound(text: str, number: str) -> float:
    try:
        bound = float(number)
    except ValueError:
        bound = -1.0
    if not bound > 0:
        raise BadSetting(f"The bound {text!r} (--max-rms) must be a number above 0, or NAME=NUMBER.")
    return bound
