"""Admission control. Pure policy: decides on whole requests, from counts and measured throughput.

A request is costed in tokens and bytes, and admitted whole or refused whole. It is refused (429) when a limit is reached, when
its caller exceeds its share of a limit, or when the predicted wait exceeds the request's deadline or the server's limit. A
request that exceeds a limit alone is too large (413), whatever the load.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, NamedTuple, Self

from shortlist.errors import Overloaded, RequestTooLarge, Shortage
from shortlist.scheduler.queue import DEFAULT_FLOW, Flow

AVERAGING_S: Final = 5.0
"""The measured throughput is an average over about this many seconds of engine work."""

MAX_BATCH_S: Final = 1.0
"""One batch weighs at most this many seconds: a first batch, or one on a failing server, is not typical."""

MIN_BATCH_S: Final = 1e-6
"""Shorter batches are not measured: the clock is too coarse."""

UNMEASURED_RETRY_S: Final = 1.0
"""`Retry-After` in seconds before the throughput has been measured."""

SHARE: Final = 4
"""One caller may take this many times what it leaves to others: alone four fifths, with another four ninths each.

Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
"""


SHORTAGE_MESSAGES: Final = {
    Shortage.REQUESTS: "too many requests at once",
    Shortage.TOKENS: "the queue is full",
    Shortage.BYTES: "its texts would not fit beside the others in memory",
    Shortage.TIME: "the wait would be too long",
}
"""The reason in the 429 message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """Units: requests, tokens, bytes of memory for texts, seconds."""

    max_concurrent_requests: int
    max_queue_tokens: int
    max_queue_bytes: int
    max_queue_delay_s: float


@dataclass(frozen=True, slots=True)
class QueuedLoad:
    """Load of a request, a caller or the server."""

    num_requests: int = 0
    num_tokens: int = 0
    num_bytes: int = 0

    def __add__(self, other: QueuedLoad) -> QueuedLoad:
        """Return both together."""
        return self._with(other, 1)

    def __sub__(self, other: QueuedLoad) -> QueuedLoad:
        """Return what is left without the other."""
        return self._with(other, -1)

    def _with(self, other: QueuedLoad, sign: int) -> QueuedLoad:
        return QueuedLoad(
            self.num_requests + sign * other.num_requests,
            self.num_tokens + sign * other.num_tokens,
            self.num_bytes + sign * other.num_bytes,
        )


class _Headroom(NamedTuple):
    """Headroom of one limit for one request: requested, held by its caller, held in total, and the limit."""

    shortage: Shortage
    requested: int
    own: int
    taken: int
    limit: int

    @property
    def excess_of_all(self) -> float:
        """Amount to free before the request fits; 0 or less if it fits."""
        return self.taken + self.requested - self.limit

    @property
    def excess(self) -> float:
        """The same, if its caller must also stay within its share; what the caller itself frees counts on both sides."""
        beyond_share = self.own + self.requested - SHARE * (self.limit - self.taken)
        return max(self.excess_of_all, beyond_share / (1 + SHARE))


class Admission:
    """Issues permits and counts the admitted, unfinished work."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self.load = QueuedLoad()
        self.tokens_per_s: float | None = None
        self.batch_tokens = 0.0
        self._measured_s = 0.0
        self._by_flow: dict[Flow, QueuedLoad] = {}

    @property
    def num_flows(self) -> int:
        """Number of flows with admitted requests; other flows are not stored."""
        return len(self._by_flow)

    @property
    def queue_delay_s(self) -> float:
        """Seconds until all admitted work is done at the measured throughput; 0 before it is measured.

        Waiting and running tokens. A request counts until it is answered, so this is an upper bound.
        """
        speed = self.tokens_per_s
        return self.load.num_tokens / speed if speed else 0.0

    def admit(
        self, num_tokens: int, *, num_bytes: int = 0, flow: Flow = DEFAULT_FLOW, timeout_s: float | None = None
    ) -> Permit:
        """Return a permit for a whole request, or refuse it (429).

        Args:
            num_tokens: Its estimated cost.
            num_bytes: Memory of its texts.
            flow: Caller and priority.
            timeout_s: The request's timeout, if it has one.

        Raises:
            Overloaded: a limit is reached; carries the seconds for `Retry-After`.
            RequestTooLarge: the request alone exceeds a limit.
        """
        self._check_size(num_tokens, num_bytes)
        requested = QueuedLoad(1, num_tokens, num_bytes)
        if self.load.num_requests:
            self._check_headroom(requested, flow)
            self._check_wait(num_tokens, flow, timeout_s)
        return Permit(self, flow, requested)

    def predicted_wait_s(self, flow: Flow = DEFAULT_FLOW, num_tokens: int = 0) -> float:
        """Predicted wait in seconds before this many more tokens of a flow are done; 0 before throughput is measured.

        Meanwhile, every other flow is served up to its fair share, or all of its tokens.
        """
        if not self.tokens_per_s:
            return 0.0
        own = self._by_flow.get(flow, QueuedLoad()).num_tokens
        turn = (own + num_tokens) * flow.cost_factor
        ahead = sum(min(load.num_tokens, turn / other.cost_factor) for other, load in self._by_flow.items() if other != flow)
        return (own + ahead) / self.tokens_per_s

    def check_more(self, num_tokens: int, *, total: int) -> None:
        """Refuse if an admitted request grows by more tokens than fit.

        Args:
            num_tokens: Tokens more than admitted.
            total: Its tokens then.

        Raises:
            Overloaded: the tokens do not fit.
            RequestTooLarge: they never fit.
        """
        self._check_size(total, 0)
        excess = self.load.num_tokens + num_tokens - self.limits.max_queue_tokens
        if min(excess, num_tokens) > 0 and self.load.num_requests > 1:
            raise self._overloaded(Shortage.TOKENS, wait_for_tokens=excess)

    def _check_size(self, num_tokens: int, num_bytes: int) -> None:
        limits = self.limits
        if num_tokens > limits.max_queue_tokens:
            raise RequestTooLarge(
                f"The request has about {num_tokens} tokens; at most {limits.max_queue_tokens} fit (max_queue_tokens). "
                "Send fewer or shorter texts."
            )
        if num_bytes > limits.max_queue_bytes:
            raise RequestTooLarge(
                f"The request needs about {num_bytes} bytes of memory; at most {limits.max_queue_bytes} fit (max_queue_bytes)."
            )

    def observe(self, num_tokens: int, seconds: float) -> None:
        """Update the throughput and the batch size from one finished batch.

        A batch is weighted by its duration. With equal weights, a few small, inefficient batches would make an idle engine
        appear slow, and requests that it could serve would be refused.

        Args:
            num_tokens: Tokens of the batch.
            seconds: Engine time spent on this batch alone.
        """
        if seconds < MIN_BATCH_S:
            return
        counted_s = min(seconds, MAX_BATCH_S)
        self._measured_s = min(self._measured_s + counted_s, AVERAGING_S)
        weight = counted_s / self._measured_s
        speed = self.tokens_per_s or 0.0
        self.tokens_per_s = speed + weight * (num_tokens / seconds - speed)
        self.batch_tokens += weight * (num_tokens - self.batch_tokens)

    def _check_headroom(self, requested: QueuedLoad, flow: Flow) -> None:
        own = sum((load for each, load in self._by_flow.items() if each.caller == flow.caller), QueuedLoad())
        for headroom in self._headrooms(requested, own):
            excess = headroom.excess if flow.caller else headroom.excess_of_all
            if excess > 0:
                raise self._overloaded(
                    headroom.shortage, wait_for_tokens=excess * self.load.num_tokens / max(headroom.taken, 1)
                )

    def _headrooms(self, requested: QueuedLoad, own: QueuedLoad) -> Iterator[_Headroom]:
        limits, taken = self.limits, self.load
        yield _Headroom(
            Shortage.REQUESTS, requested.num_requests, own.num_requests, taken.num_requests, limits.max_concurrent_requests
        )
        yield _Headroom(Shortage.TOKENS, requested.num_tokens, own.num_tokens, taken.num_tokens, limits.max_queue_tokens)
        yield _Headroom(Shortage.BYTES, requested.num_bytes, own.num_bytes, taken.num_bytes, limits.max_queue_bytes)

    def _check_wait(self, num_tokens: int, flow: Flow, timeout_s: float | None) -> None:
        """Check the predicted wait against the server's limit, and the predicted completion against the request's timeout."""
        if not self.tokens_per_s:
            return
        wait_s = self.predicted_wait_s(flow, num_tokens)
        excess_s = wait_s - self.limits.max_queue_delay_s
        if timeout_s is not None:
            # The last item may share a batch with later requests, and completes with that batch.
            last_s = (num_tokens + self.batch_tokens) / self.tokens_per_s
            excess_s = max(excess_s, wait_s + last_s - timeout_s)
        if excess_s > 0:
            raise self._overloaded(Shortage.TIME, wait_for_tokens=excess_s * self.tokens_per_s)

    def _overloaded(self, shortage: Shortage, *, wait_for_tokens: float) -> Overloaded:
        seconds = wait_for_tokens / self.tokens_per_s if self.tokens_per_s else UNMEASURED_RETRY_S
        message = f"The server is busy: {SHORTAGE_MESSAGES[shortage]}. Try again later."
        return Overloaded(message, retry_after_s=max(seconds, 0.001), shortage=shortage)

    def change(self, flow: Flow, before: QueuedLoad, after: QueuedLoad) -> None:
        """Replace the load of one permit of this flow. Flows without requests are dropped."""
        self.load = self.load - before + after
        left = self._by_flow.get(flow, QueuedLoad()) - before + after
        if left.num_requests:
            self._by_flow[flow] = left
        else:
            self._by_flow.pop(flow, None)


class Permit:
    """The permit of one admitted request. A context manager: exit releases its load, once."""

    def __init__(self, admission: Admission, flow: Flow, load: QueuedLoad) -> None:
        self._admission = admission
        self._flow = flow
        self._load = load
        admission.change(flow, QueuedLoad(), load)

    def settle(self, num_tokens: int) -> None:
        """Replace the estimated cost by the tokens left to compute.

        Raises:
            Overloaded: the true cost exceeds the estimate, and does not fit.
        """
        assert self._load.num_requests, "A permit is settled while it is held. This is a bug."
        self._admission.check_more(num_tokens - self._load.num_tokens, total=num_tokens)
        self._become(replace(self._load, num_tokens=num_tokens))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._become(QueuedLoad())

    def _become(self, load: QueuedLoad) -> None:
        self._admission.change(self._flow, self._load, load)
        self._load = load
