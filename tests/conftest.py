"""What holds for every test there is."""

from __future__ import annotations

import pytest

from tests.support.lacking import not_tested


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say after everything else, where it is read, what was not tested here."""
    for line in not_tested(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)
