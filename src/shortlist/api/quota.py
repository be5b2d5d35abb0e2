"""Limits of one caller. Pure policy: the caller passes the time.

Two independent limits: requests per minute, with a burst of a few seconds' worth, and concurrent requests. Idle callers are
dropped, which bounds memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from shortlist.errors import Overloaded, Shortage

BURST_S: Final = 10.0
"""Burst of an idle caller, in seconds of its rate."""

MAX_CALLERS: Final = 65_536
"""Callers that are tracked; beyond that, the least recent one is dropped and its count restarts."""

RETRY_RUNNING_S: Final = 1.0
"""`Retry-After` for too many concurrent requests, whose duration is unknown."""


@dataclass(slots=True)
class _Account:
    """One caller.

    Attributes:
        paid_until_s: When all requests so far would have ended at the allowed rate.
        num_running: Running requests.
    """

    paid_until_s: float
    num_running: int = 0

    def is_idle(self, now_s: float) -> bool:
        return not self.num_running and self.paid_until_s <= now_s


class Quota:
    """Rate and concurrency limits per caller.

    The rate is stored as one time per caller (a leaky bucket as a meter): every request adds one interval, and the time may
    be ahead of the clock by a burst.

    Args:
        max_per_minute: Requests per caller and minute, or None.
        max_running: Concurrent requests per caller, or None.
        max_callers: Callers that are tracked.

    Source: ATM Forum, Traffic Management 4.1, the generic cell rate algorithm in its virtual scheduling form.
    """

    def __init__(self, *, max_per_minute: int | None, max_running: int | None, max_callers: int = MAX_CALLERS) -> None:
        self._max_per_minute = max_per_minute
        self._max_running = max_running
        self._max_callers = max_callers
        self._interval_s = 60.0 / max_per_minute if max_per_minute else 0.0
        self._burst_s = max(BURST_S - self._interval_s, 0.0)
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self._max_per_minute is not None or self._max_running is not None

    def enter(self, caller: str, now_s: float) -> None:
        """Count a request of this caller as running; `leave` ends it.

        Raises:
            Overloaded: a limit is exceeded; has the time to retry after.
        """
        self._forget(now_s)
        account = self._accounts.get(caller) or _Account(now_s)
        if self._max_running is not None and account.num_running >= self._max_running:
            raise Overloaded(
                f"This caller has {account.num_running} requests running; at most {self._max_running} are allowed "
                "(max_concurrent_requests_per_caller).",
                retry_after_s=RETRY_RUNNING_S,
                shortage=Shortage.CALLER_REQUESTS,
            )
        wait_s = account.paid_until_s - now_s - self._burst_s
        if wait_s > 0:
            raise Overloaded(
                f"This caller sends more than {self._max_per_minute} requests per minute (max_requests_per_minute).",
                retry_after_s=wait_s,
                shortage=Shortage.CALLER_RATE,
            )
        account.paid_until_s = max(account.paid_until_s, now_s) + self._interval_s
        account.num_running += 1
        self._accounts[caller] = account
        self._accounts.move_to_end(caller)

    def leave(self, caller: str) -> None:
        """End a request that `enter` admitted."""
        account = self._accounts.get(caller)
        if account is not None:
            account.num_running = max(account.num_running - 1, 0)

    def _forget(self, now_s: float) -> None:
        """Drop idle callers, checking two per new caller; and the least recent one when full."""
        for _ in range(min(2, len(self._accounts))):
            caller, account = next(iter(self._accounts.items()))
            if account.is_idle(now_s) or len(self._accounts) >= self._max_callers:
                del self._accounts[caller]
            else:
                self._accounts.move_to_end(caller)
