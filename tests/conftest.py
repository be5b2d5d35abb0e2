"""What holds for every test there is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import examples  # noqa: F401 - registers the profile that --hypothesis-profile may name
from tests.support.lacking import not_tested

# Triton's kernels run in its interpreter, which needs no GPU; TRITON_INTERPRET=0 has the same tests run on one. Said here, since
# Triton looks when it is imported, which transformers does.
os.environ.setdefault("TRITON_INTERPRET", "1")  # noqa: TID251 - its only switch

# Torch's threads sleep while they wait for each other: several processes with as many threads as there are cores would spend most
# of their time looking again. Said here, since OpenMP looks when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # noqa: TID251 - its only switch


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say after everything else, where it is read, what was not tested here."""
    yield
    for line in not_tested(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)
