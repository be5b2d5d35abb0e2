"""Who may come in. Pure policy: decides on whole requests, from counts and a clock reading that it is given.

A request is costed in tokens and admitted whole or refused whole. It is refused when too many requests are inside, when
too many tokens wait already, or when the predicted wait is longer than the caller's patience or the server's limit. An
idle server takes any request: a request that is larger than the queue would otherwise never be served.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from shortlist.errors import Overloaded

EWMA_WEIGHT = 0.2
"""Share of the newest measurement in the moving average of the engine's speed."""

SHORTEST_STEP_S = 1e-6
"""Shorter measurements say more about the clock than about the engine."""

UNMEASURED_RETRY_S = 1.0
"""What `Retry-After` says before the speed was ever measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """Units: requests, tokens, seconds."""

    max_concurrent_requests: int
    max_queue_tokens: int
    max_queue_delay_s: float


class Admission:
    """Hands out permits and knows how much admitted work is unfinished."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self.num_requests = 0
        self.num_tokens = 0
        self.tokens_per_s: float | None = None

    def admit(self, num_tokens: int, *, timeout_s: float | None = None) -> Permit:
        """Let a whole request in, or refuse it.

        Args:
            num_tokens: Its estimated cost.
            timeout_s: How long the caller is willing to wait, if it said so.

        Raises:
            Overloaded: there is no room; carries when there should be.
        """
        if self.num_requests >= self.limits.max_concurrent_requests:
            raise self._overloaded("too many requests at once", wait_for_tokens=num_tokens)
        if self.num_requests:
            self._check_queue(num_tokens, timeout_s)
        return Permit(self, num_tokens)

    def predicted_wait_s(self) -> float:
        """Seconds until everything admitted so far is done, at the measured speed; 0 before it was measured."""
        return self.num_tokens / self.tokens_per_s if self.tokens_per_s else 0.0

    def observe(self, num_tokens: int, seconds: float) -> None:
        """Learn the engine's speed from one finished step."""
        if seconds < SHORTEST_STEP_S:
            return
        speed = num_tokens / seconds
        previous = speed if self.tokens_per_s is None else self.tokens_per_s
        self.tokens_per_s = previous + EWMA_WEIGHT * (speed - previous)

    def _check_queue(self, num_tokens: int, timeout_s: float | None) -> None:
        excess = self.num_tokens + num_tokens - self.limits.max_queue_tokens
        if excess > 0:
            raise self._overloaded("the queue is full", wait_for_tokens=excess)
        patience_s = min(self.limits.max_queue_delay_s, timeout_s or self.limits.max_queue_delay_s)
        wait_s = self.predicted_wait_s()
        if wait_s > patience_s:
            too_many = (wait_s - patience_s) * (self.tokens_per_s or 0.0)
            raise self._overloaded("the wait would be too long", wait_for_tokens=too_many)

    def _overloaded(self, reason: str, *, wait_for_tokens: float) -> Overloaded:
        seconds = wait_for_tokens / self.tokens_per_s if self.tokens_per_s else UNMEASURED_RETRY_S
        return Overloaded(f"The server is busy: {reason}. Try again later.", retry_after_s=max(seconds, 0.001))


class Permit:
    """The right of one whole request to be inside. A context manager: leaving it gives everything back, once."""

    def __init__(self, admission: Admission, num_tokens: int) -> None:
        self._admission = admission
        self._num_tokens = num_tokens
        self._is_open = True
        admission.num_requests += 1
        admission.num_tokens += num_tokens

    def settle(self, num_tokens: int) -> None:
        """Replace the estimated cost by what is really left to compute."""
        assert self._is_open, "A permit is settled while it is held. This is a bug."
        self._admission.num_tokens += num_tokens - self._num_tokens
        self._num_tokens = num_tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._is_open:
            self._is_open = False
            self._admission.num_requests -= 1
            self._admission.num_tokens -= self._num_tokens
