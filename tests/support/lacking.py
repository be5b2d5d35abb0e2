"""What was not tested on this machine, for the last lines of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

MISSING = "is not installed"
"""How a test's reason to skip says that this machine lacks something which another one has."""


def not_tested(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> Iterator[str]:
    """Yield one line for everything that tests were skipped for lack of, with how many."""
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple)]
    for reason in sorted({reason for reason in reasons if MISSING in reason}):
        yield f"not tested here: {reason} ({reasons.count(reason)} skipped)"
