"""What waits. Pure policy: a bounded queue of jobs, one job per request, first come first served.

A job goes in whole or not at all, leaves item by item, and can be cancelled or expire as a whole at any moment. Items of
a job that were already taken are the dispatcher's business.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from shortlist.errors import Overloaded
from shortlist.types import Prompt, Task, WorkItem


class _Waiting:
    """The items of one job that nobody took yet."""

    __slots__ = ("deadline_s", "items", "task")

    def __init__(self, task: Task, items: deque[WorkItem], deadline_s: float | None) -> None:
        self.task = task
        self.items = items
        self.deadline_s = deadline_s


class WorkQueue:
    """First come, first served, bounded in items and tokens.

    Args:
        max_items: Items that may wait.
        max_tokens: Tokens that may wait, not counting heads.
    """

    def __init__(self, *, max_items: int, max_tokens: int) -> None:
        self.max_items = max_items
        self.max_tokens = max_tokens
        self.num_items = 0
        self.num_tokens = 0
        self._jobs: OrderedDict[int, _Waiting] = OrderedDict()

    def put(self, job_id: int, task: Task, prompts: Sequence[Prompt], *, deadline_s: float | None = None) -> None:
        """Append a whole job.

        Args:
            job_id: Its name; unique among the jobs that wait.
            task: What to compute.
            prompts: Its items; at least one.
            deadline_s: Clock reading after which it must not be computed any more.

        Raises:
            Overloaded: there is no room for all of it. An empty queue takes a job of any size.
        """
        assert prompts, "A job without items is never queued. This is a bug."
        assert job_id not in self._jobs, "Job ids are unique. This is a bug."
        num_tokens = sum(prompt.num_tokens for prompt in prompts)
        if self.num_items and not self._has_room(len(prompts), num_tokens):
            raise Overloaded("The server is busy: the queue is full. Try again later.", retry_after_s=1.0)
        items = deque(WorkItem(job_id, index, prompt) for index, prompt in enumerate(prompts))
        self._jobs[job_id] = _Waiting(task, items, deadline_s)
        self.num_items += len(items)
        self.num_tokens += num_tokens

    def peek(self) -> tuple[Task, WorkItem] | None:
        """Return the item whose turn it is, and its task, without taking it."""
        for job in self._jobs.values():
            return job.task, job.items[0]
        return None

    def pop(self) -> WorkItem:
        """Take the item whose turn it is."""
        job_id, job = next(iter(self._jobs.items()))
        item = job.items.popleft()
        self._forget([item])
        if not job.items:
            del self._jobs[job_id]
        return item

    def cancel(self, job_id: int) -> int:
        """Remove what is left of a job; return how many items that were. Unknown jobs have none."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return 0
        self._forget(job.items)
        return len(job.items)

    def expire(self, now_s: float) -> list[int]:
        """Remove every job whose deadline has passed; return their ids."""
        late = [job_id for job_id, job in self._jobs.items() if job.deadline_s is not None and job.deadline_s <= now_s]
        for job_id in late:
            self.cancel(job_id)
        return late

    def _has_room(self, num_items: int, num_tokens: int) -> bool:
        return self.num_items + num_items <= self.max_items and self.num_tokens + num_tokens <= self.max_tokens

    def _forget(self, items: Sequence[WorkItem] | deque[WorkItem]) -> None:
        self.num_items -= len(items)
        self.num_tokens -= sum(item.prompt.num_tokens for item in items)
