"""The report of a self-test: checks, their results, and usual causes of failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shortlist.types import Operation


class SelfTestCheck(StrEnum):
    """The checks."""

    FINITE = "finite"
    UNIT_LENGTH = "unit length"
    REPEATABLE = "repeatable"
    ORDER_KEPT = "order kept"
    ALONE = "alone = in batch"
    SUFFIX_KEPT = "suffix kept"
    MEANING = "meaning"


class CheckStatus(StrEnum):
    """Result of a check. Only a failure prevents serving."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check for one task; `detail` is one sentence."""

    check: SelfTestCheck
    operation: Operation
    status: CheckStatus
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The self-test of one model. Units: seconds."""

    model: str
    results: tuple[CheckResult, ...]
    duration_s: float
    remedy: str = ""

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The failed checks."""
        return self.with_status(CheckStatus.FAILED)

    @property
    def has_passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failure(self) -> str:
        """The first failure and its usual cause; for a failed self-test."""
        first = self.failed[0]
        usually = f"Usually that is {CAUSES[first.check]}."
        message = f"{self.model} failed its self-test ({first.check.value}): {first.detail}. {usually}"
        return f"{message} {self.remedy}" if self.remedy and first.check is SelfTestCheck.MEANING else message

    @property
    def summary(self) -> str:
        """The result in one line."""
        template = f"{self.model}: self-test {{}} in {self.duration_s:.1f} s"
        if self.failed:
            return template.format("failed") + f" ({', '.join(result.check.value for result in self.failed)})"
        untested = {
            result.check.value for result in self.with_status(CheckStatus.SKIPPED) if result.check is SelfTestCheck.MEANING
        }
        return template.format("passed") + (" (meaning not tested: random_weights is set)" if untested else "")

    def with_status(self, status: CheckStatus) -> tuple[CheckResult, ...]:
        """Return the results with this status."""
        return tuple(result for result in self.results if result.status is status)


CAUSES: Final[Mapping[SelfTestCheck, str]] = MappingProxyType(
    {
        SelfTestCheck.FINITE: "the weights are damaged, or the dtype is too narrow for them (try --dtype float32)",
        SelfTestCheck.UNIT_LENGTH: "the final normalization to vectors of length 1 is missing or broken",
        SelfTestCheck.REPEATABLE: "the device or a library computes in a nondeterministic order",
        SelfTestCheck.ORDER_KEPT: "the engine returns scores in another order than the prompts",
        SelfTestCheck.ALONE: "padding or a neighbour leaks into a prompt, or the dtype is too narrow for the weights",
        SelfTestCheck.SUFFIX_KEPT: "the tokenizer is not the model's own, or long prompts are truncated at their end",
        SelfTestCheck.MEANING: "the wrong prompt, the wrong head, the wrong model, or weights that were never trained",
    }
)
"""The usual cause of a failed check."""
