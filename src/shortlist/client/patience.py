"""How long to wait and whether to ask again: the retry policy of one call. It reads no clock and sleeps nowhere."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass

import httpx2

from shortlist.client.faults import retry_after_s

RETRYABLE = frozenset({httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE})
FIRST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How patient a client is.

    Attributes:
        max_retries: How often a refused call is sent again; 0 means never.
        max_pause_s: The longest wait before one retry. A server that asks for more is not asked again: coming back
            earlier than told would only be refused.
    """

    max_retries: int = 2
    max_pause_s: float = 10.0

    def pause_s(self, response: httpx2.Response, *, num_sent: int, remaining_s: float, now: dt.datetime) -> float | None:
        """Return the seconds to wait before sending the call again, or None to take the answer as it is.

        Only 429 and 503 are asked again: ranking changes nothing on the server, so repeating is safe, but no other answer
        would be different the second time.
        """
        if response.status_code not in RETRYABLE or num_sent > self.max_retries:
            return None
        asked_s = retry_after_s(response.headers, now=now)
        pause_s = _backoff_s(num_sent) if asked_s is None else asked_s
        return pause_s if pause_s <= self.max_pause_s and pause_s < remaining_s else None


def _backoff_s(num_sent: int) -> float:
    """Double each time, and spread: clients refused together should not come back together."""
    longest_s = FIRST_PAUSE_S * 2.0 ** (num_sent - 1)
    return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - no secret depends on it
