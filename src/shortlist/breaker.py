"""A circuit breaker. Pure policy: the caller reports results and passes the time.

Closed: calls go out. After several failures in a row it opens: no calls for a while. Then one call goes out as a probe
(half-open). Its result closes the breaker, or keeps it open for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class BreakerState(StrEnum):
    """State of a breaker."""

    CLOSED = "closed"
    """Calls go out."""
    OPEN = "open"
    """No calls."""
    HALF_OPEN = "half_open"
    """One probe is in flight; no other calls until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """Limits of a breaker. Units: failures, seconds.

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
    """Callers check `may_call` before a call, and report `succeeded` or `failed` after it."""

    def __init__(self, limits: BreakerLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.state = BreakerState.CLOSED
        self._num_failures = 0
        self._rest_s = limits.rest_s
        self._rests_until_s = 0.0

    def may_call(self, now_s: float) -> bool:
        """Return whether to call now; while it is open, this lets one probe out after every rest.

        A probe without a result (its caller was cancelled) delays the next one by one rest only.
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

        An answer to a call from before it opened has no effect.
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
