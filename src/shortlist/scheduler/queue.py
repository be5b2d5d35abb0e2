"""The queue of jobs, in fair order. Pure policy.

A job is one request's items. A flow is one caller at one priority; flows share the engine by weight, counted in tokens. A job
is queued whole, leaves item by item, and can be cancelled or expire as a whole at any time. Admission limits the queue.

Jobs are served by rank: the virtual time at which the job would finish, had flows shared the engine token by token. So small
jobs go before large ones, a flow with many tokens is served no later than its fair share, and as ranks only grow, no job
starves.

Source: weighted fair queueing, self-clocked; Golestani, "A self-clocked fair queueing scheme for broadband applications", 1994.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from shortlist.types import Operation, Priority, Prompt, RequestOptions, WorkItem


class Flow(NamedTuple):
    """The requests of one caller at one priority."""

    caller: str
    priority: Priority

    @classmethod
    def of(cls, options: RequestOptions) -> Flow:
        """Return the flow of a request with these options."""
        return cls(options.caller, options.priority)

    @property
    def cost_factor(self) -> int:
        """Weight of one token in fair queueing."""
        return COST_FACTORS[self.priority]


COST_FACTORS: Final[Mapping[Priority, int]] = {Priority.INTERACTIVE: 1, Priority.BATCH: 8}
"""Against one busy interactive flow, a batch flow gets a ninth of the engine: little, but never nothing."""

DEFAULT_FLOW: Final = Flow("", Priority.INTERACTIVE)
"""The flow of requests without a caller."""


class _Waiting:
    """The queued items of one job.

    Attributes:
        rank: Its position in the order; unit: tokens of virtual time.
    """

    __slots__ = ("deadline_s", "flow", "items", "num_tokens", "operation", "rank")

    def __init__(self, operation: Operation, items: deque[WorkItem], flow: Flow, rank: int, deadline_s: float | None) -> None:
        self.operation = operation
        self.items = items
        self.flow = flow
        self.rank = rank
        self.deadline_s = deadline_s
        self.num_tokens = _num_tokens(items)


class WorkQueue:
    """Jobs by rank, within a rank by arrival."""

    def __init__(self) -> None:
        self.num_items = 0
        self.num_tokens = 0
        self._jobs: dict[int, _Waiting] = {}
        self._turns: list[tuple[int, int, int]] = []
        self._num_put = 0
        self._clock = 0  # virtual time of the flow in service
        self._flows: Counter[Flow] = Counter()  # queued jobs by flow
        self._last_rank: dict[Flow, int] = {}

    @property
    def flows(self) -> frozenset[Flow]:
        """Flows with queued jobs; other flows are not stored."""
        return frozenset(self._last_rank)

    def put(
        self,
        job_id: int,
        operation: Operation,
        prompts: Sequence[Prompt],
        *,
        flow: Flow = DEFAULT_FLOW,
        deadline_s: float | None = None,
    ) -> None:
        """Add a whole job.

        Args:
            job_id: Unique among the queued jobs.
            operation: What to compute.
            prompts: Its items; at least one.
            flow: Caller and priority.
            deadline_s: Deadline on the clock of `expire`; later, the job is never computed.
        """
        assert prompts, "A job without items is never queued. This is a bug."
        assert job_id not in self._jobs, "Job ids are unique. This is a bug."
        items = deque(WorkItem(job_id, index, prompt) for index, prompt in enumerate(prompts))
        rank = max(self._clock, self._last_rank.get(flow, 0)) + flow.cost_factor * _num_tokens(items)
        self._last_rank[flow] = rank
        self._flows[flow] += 1
        self._jobs[job_id] = job = _Waiting(operation, items, flow, rank, deadline_s)
        self._num_put += 1
        heapq.heappush(self._turns, (rank, self._num_put, job_id))
        self.num_items += len(items)
        self.num_tokens += job.num_tokens

    def peek(self) -> tuple[Operation, WorkItem] | None:
        """Return the next item and its operation, without removing it."""
        while self._turns and self._turns[0][2] not in self._jobs:
            heapq.heappop(self._turns)  # cancelled, or expired
        if not self._turns:
            return None
        job = self._jobs[self._turns[0][2]]
        return job.operation, job.items[0]

    @property
    def priority(self) -> Priority | None:
        """The priority of the next item."""
        return self._jobs[self._turns[0][2]].flow.priority if self.peek() is not None else None

    def pop(self) -> WorkItem:
        """Remove and return the next item; the queue must not be empty."""
        self.peek()
        job = self._jobs[self._turns[0][2]]
        item = job.items.popleft()
        job.num_tokens -= item.prompt.num_own_tokens
        self.num_items -= 1
        self.num_tokens -= item.prompt.num_own_tokens
        self._clock = max(self._clock, job.rank - job.flow.cost_factor * job.num_tokens)
        if not job.items:
            self._drop(item.job_id)
        return item

    def cancel(self, job_id: int) -> int:
        """Remove the queued items of a job; return their number, 0 for an unknown job."""
        job = self._jobs.get(job_id)
        if job is None:
            return 0
        self._drop(job_id)
        return len(job.items)

    def expire(self, now_s: float) -> list[int]:
        """Remove every job past its deadline; return their ids."""
        late = [job_id for job_id, job in self._jobs.items() if job.deadline_s is not None and job.deadline_s <= now_s]
        for job_id in late:
            self._drop(job_id)
        return late

    def _drop(self, job_id: int) -> None:
        job = self._jobs.pop(job_id)
        self.num_items -= len(job.items)
        self.num_tokens -= job.num_tokens
        self._flows[job.flow] -= 1
        if not self._flows[job.flow]:  # an empty flow is dropped, so that flows of past callers are not kept
            del self._flows[job.flow], self._last_rank[job.flow]


def _num_tokens(items: Iterable[WorkItem]) -> int:
    return sum(item.prompt.num_own_tokens for item in items)
