"""Admission control. Pure policy: decides on whole requests, from counts and measured throughput.

A request is costed in tokens and bytes, and admitted whole or refused whole. It is refused (429) when a limit is reached, when
its caller exceeds its share of a limit, or when the predicted wait exceeds the request's deadline or the server's limit. An
idle server admits any request; otherwise a request above a limit would never be served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, NamedTuple, Self

from shortlist.errors import Overloaded, Shortage
from shortlist.scheduler.queue import DEFAULT_FLOW, Flow

MEMORY_S: Final = 5.0
"""The engine's speed is that of about so many of its last seconds of work."""

LONGEST_S: Final = 1.0
"""One step counts for at most so many of them: the first, or one that a server died under, says little about the rest."""

SHORTEST_STEP_S: Final = 1e-6
"""Shorter measurements say more about the clock than about the engine."""

UNMEASURED_RETRY_S: Final = 1.0
"""What `Retry-After` says before the speed was ever measured."""

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
"""What a caller is told of a shortage."""


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
    """One thing that there is only so much of, when a request asks for some of it."""

    shortage: Shortage
    asked: int
    own: int
    taken: int
    limit: int

    @property
    def excess_of_all(self) -> float:
        """How much must be given back before the request fits; not above 0 if it fits."""
        return self.taken + self.asked - self.limit

    @property
    def excess(self) -> float:
        """The same, when its caller must also stay within its share; what it gives back itself counts on both sides."""
        beyond_share = self.own + self.asked - SHARE * (self.limit - self.taken)
        return max(self.excess_of_all, beyond_share / (1 + SHARE))


class Admission:
    """Hands out permits and knows how much admitted work is unfinished."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.limits = limits
        self.load = QueuedLoad()
        self.tokens_per_s: float | None = None
        self.step_tokens = 0.0
        self._measured_s = 0.0
        self._by_flow: dict[Flow, QueuedLoad] = {}

    @property
    def num_flows(self) -> int:
        """How many flows have something inside; of others nothing is remembered."""
        return len(self._by_flow)

    def admit(
        self, num_tokens: int, *, num_bytes: int = 0, flow: Flow = DEFAULT_FLOW, timeout_s: float | None = None
    ) -> Permit:
        """Let a whole request in, or refuse it.

        Args:
            num_tokens: Its estimated cost.
            num_bytes: Memory that its texts take.
            flow: Whose it is, and how urgent.
            timeout_s: How long the caller is willing to wait, if it said so.

        Raises:
            Overloaded: a limit is reached; carries the seconds for `Retry-After`.
        """
        asked = QueuedLoad(1, num_tokens, num_bytes)
        if self.load.num_requests:
            self._check_headroom(asked, flow)
            self._check_wait(num_tokens, flow, timeout_s)
        return Permit(self, flow, asked)

    def predicted_wait_s(self, flow: Flow = DEFAULT_FLOW, num_tokens: int = 0) -> float:
        """Seconds that the engine works for others before this many more tokens of a flow are done; 0 before it was measured.

        Until they are done, every other flow is served as much as fair sharing gives it, or all that it has.
        """
        if not self.tokens_per_s:
            return 0.0
        own = self._by_flow.get(flow, QueuedLoad()).num_tokens
        turn = (own + num_tokens) * flow.cost_factor
        ahead = sum(min(load.num_tokens, turn / other.cost_factor) for other, load in self._by_flow.items() if other != flow)
        return (own + ahead) / self.tokens_per_s

    def check_more(self, num_tokens: int) -> None:
        """Refuse if an admitted request grows by more tokens than fit.

        Raises:
            Overloaded: they do not.
        """
        excess = self.load.num_tokens + num_tokens - self.limits.max_queue_tokens
        if min(excess, num_tokens) > 0 and self.load.num_requests > 1:
            raise self._overloaded(Shortage.TOKENS, wait_for_tokens=excess)

    def observe(self, num_tokens: int, seconds: float) -> None:
        """Learn from one finished step how fast the engine is, and how large its steps are.

        A step counts for the time that it took. Counted by the step, a few small ones, which take long for what they do,
        would make an idle engine look slow, and a crowd that it could serve would be sent away.

        Args:
            num_tokens: What was computed.
            seconds: How long the engine worked at that and at nothing else.
        """
        if seconds < SHORTEST_STEP_S:
            return
        counted_s = min(seconds, LONGEST_S)
        self._measured_s = min(self._measured_s + counted_s, MEMORY_S)
        weight = counted_s / self._measured_s
        speed = self.tokens_per_s or 0.0
        self.tokens_per_s = speed + weight * (num_tokens / seconds - speed)
        self.step_tokens += weight * (num_tokens - self.step_tokens)

    def _check_headroom(self, asked: QueuedLoad, flow: Flow) -> None:
        own = sum((load for each, load in self._by_flow.items() if each.caller == flow.caller), QueuedLoad())
        for headroom in self._headrooms(asked, own):
            excess = headroom.excess if flow.caller else headroom.excess_of_all
            if excess > 0:
                raise self._overloaded(
                    headroom.shortage, wait_for_tokens=excess * self.load.num_tokens / max(headroom.taken, 1)
                )

    def _headrooms(self, asked: QueuedLoad, own: QueuedLoad) -> Iterator[_Headroom]:
        limits, taken = self.limits, self.load
        yield _Headroom(
            Shortage.REQUESTS, asked.num_requests, own.num_requests, taken.num_requests, limits.max_concurrent_requests
        )
        yield _Headroom(Shortage.TOKENS, asked.num_tokens, own.num_tokens, taken.num_tokens, limits.max_queue_tokens)
        yield _Headroom(Shortage.BYTES, asked.num_bytes, own.num_bytes, taken.num_bytes, limits.max_queue_bytes)

    def _check_wait(self, num_tokens: int, flow: Flow, timeout_s: float | None) -> None:
        """Hold the wait to the server's limit, and the end of it all to the caller's."""
        if not self.tokens_per_s:
            return
        wait_s = self.predicted_wait_s(flow, num_tokens)
        excess_s = wait_s - self.limits.max_queue_delay_s
        if timeout_s is not None:
            # Its last item may share a step with others of which none is here yet, and is not done before them.
            last_s = (num_tokens + self.step_tokens) / self.tokens_per_s
            excess_s = max(excess_s, wait_s + last_s - timeout_s)
        if excess_s > 0:
            raise self._overloaded(Shortage.TIME, wait_for_tokens=excess_s * self.tokens_per_s)

    def _overloaded(self, shortage: Shortage, *, wait_for_tokens: float) -> Overloaded:
        seconds = wait_for_tokens / self.tokens_per_s if self.tokens_per_s else UNMEASURED_RETRY_S
        message = f"The server is busy: {SHORTAGE_MESSAGES[shortage]}. Try again later."
        return Overloaded(message, retry_after_s=max(seconds, 0.001), shortage=shortage)

    def change(self, flow: Flow, before: QueuedLoad, after: QueuedLoad) -> None:
        """Count what a permit of this flow takes now instead of before. Flows that take nothing are forgotten."""
        self.load = self.load - before + after
        left = self._by_flow.get(flow, QueuedLoad()) - before + after
        if left.num_requests:
            self._by_flow[flow] = left
        else:
            self._by_flow.pop(flow, None)


class Permit:
    """The right of one whole request to be inside. A context manager: leaving it gives everything back, once."""

    def __init__(self, admission: Admission, flow: Flow, load: QueuedLoad) -> None:
        self._admission = admission
        self._flow = flow
        self._load = load
        admission.change(flow, QueuedLoad(), load)

    def settle(self, num_tokens: int) -> None:
        """Replace the estimated cost by what is really left to compute.

        Raises:
            Overloaded: the true cost exceeds the estimate, and does not fit.
        """
        assert self._load.num_requests, "A permit is settled while it is held. This is a bug."
        self._admission.check_more(num_tokens - self._load.num_tokens)
        self._become(replace(self._load, num_tokens=num_tokens))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._become(QueuedLoad())

    def _become(self, load: QueuedLoad) -> None:
        self._admission.change(self._flow, self._load, load)
        self._load = load
