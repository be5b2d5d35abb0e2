"""How many calls may be sent again. Pure policy: a share of those that were sent once.

So a sick neighbour never gets much more than what was asked of it.

Source: the idea of retry budgets in Envoy's and Finagle's documentation: fixed retries multiply load when it hurts most.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.1
"""Retries that every first call earns."""

BURST: Final = 10.0
"""Retries that may be saved up, and that there are at the start: one server's death fails several calls at once."""


class RetryBudget:
    """Every call earns a little; every retry costs one."""

    def __init__(self) -> None:
        self._saved = BURST

    def earn(self) -> None:
        """Take note of a first call."""
        self._saved = min(BURST, self._saved + SHARE)

    def spend(self, num: int = 1) -> bool:
        """Return whether so many more calls may go out, and count them if so."""
        if self._saved < num:
            return False
        self._saved -= num
        return True
