"""When to leave a sick neighbour alone. Pure policy: decides from what it is told and a clock reading that it is given.

Closed: calls go out. After several failures in a row it opens: nobody calls for a while. Then one call goes out as a probe
(half-open), and its end decides: closed again, or open for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class BreakerState(StrEnum):
    """What becomes of the next call."""

    CLOSED = "closed"
    """It goes out."""
    OPEN = "open"
    """It does not."""
    HALF_OPEN = "half_open"
    """A probe is out; whoever else comes waits for its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """How patient a breaker is. Units: failures, seconds.

    Attributes:
        max_failures: Failures in a row that open it.
        rest_s: How long it stays open at first; twice as long after every probe that fails.
        max_rest_s: How long it stays open at most.
    """

    max_failures: int = 3
    rest_s: float = 1.0
    max_rest_s: float = 30.0


DEFAULT_LIMITS: Final = BreakerLimits()


class Breaker:
    """Whoever calls the neighbour asks `may_call` first, and says afterwards how it went."""

    def __init__(self, limits: BreakerLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.state = BreakerState.CLOSED
        self._num_failures = 0
        self._rest_s = limits.rest_s
        self._rests_until_s = 0.0

    def may_call(self, now_s: float) -> bool:
        """Return whether to call now; while it is open, this lets one probe out after every rest.

        A probe that never says how it went (its caller was cancelled) holds up the next one for one more rest, not for ever.
        """
        if self.state is BreakerState.CLOSED:
            return True
        if now_s < self._rests_until_s:
            return False
        self.state = BreakerState.HALF_OPEN
        self._rests_until_s = now_s + self._rest_s
        return True

    def succeeded(self) -> bool:
        """Take note that a call was answered; return whether that closed the breaker.

        An answer to a call from before it opened says nothing about now, and changes nothing.
        """
        if self.state is BreakerState.OPEN:
            return False
        was_open = self.state is BreakerState.HALF_OPEN
        self.state = BreakerState.CLOSED
        self._num_failures = 0
        self._rest_s = self.limits.rest_s
        return was_open

    def failed(self, now_s: float) -> bool:
        """Take note that a call failed; return whether that opened the breaker, which was closed."""
        if self.state is BreakerState.CLOSED:
            self._num_failures += 1
            return self._num_failures >= self.limits.max_failures and self.trip(now_s)
        if self.state is BreakerState.HALF_OPEN:
            self._rest_s = min(2 * self._rest_s, self.limits.max_rest_s)
            self._open(now_s)
        return False

    def trip(self, now_s: float) -> bool:
        """Open at once, whatever the count; return whether it was closed."""
        was_closed = self.state is BreakerState.CLOSED
        self._open(now_s)
        return was_closed

    def _open(self, now_s: float) -> None:
        self.state = BreakerState.OPEN
        self._rests_until_s = now_s + self._rest_s
