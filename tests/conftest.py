"""What holds for every test there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lacking import not_tested


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say after everything else, where it is read, what was not tested here."""
    yield
    for line in not_tested(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)
