"""Forms the batches that the engine computes. Pure policy.

It fills a step from the queue, halves a step that failed, and lowers the token limit of a step after one did not fit into
memory, then raises it again slowly.
"""

from __future__ import annotations

from typing import Final

from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Batch, WorkItem

BATCHES_BEFORE_RAISING: Final = 64
"""So many steps must fit before a larger one is tried: a failure costs a step, and whoever took the memory may be gone."""


def form_batch(queue: WorkQueue, *, max_tokens: int, max_items: int) -> Batch | None:
    """Take the next step's items, in order, across requests; None if nothing waits.

    Items of one task are taken from the front until the next one would not fit; nobody is overtaken. A head costs its
    tokens once per step, however many of its items ride along. The first item is always taken, so work never stalls.

    Units:
        max_tokens: tokens the engine reads in one step, heads included.
    """
    taken: list[WorkItem] = []
    prefixes: set[int] = set()
    num_tokens = 0
    first = queue.peek()
    while (front := queue.peek()) is not None and first is not None:
        task, item = front
        cost = item.prompt.num_tokens + (0 if id(item.prompt.prefix) in prefixes else item.prompt.prefix.num_tokens)
        if taken and (task is not first[0] or num_tokens + cost > max_tokens or len(taken) >= max_items):
            break
        taken.append(queue.pop())
        prefixes.add(id(item.prompt.prefix))
        num_tokens += cost
    return Batch(first[0], tuple(taken)) if first is not None else None


def split_batch(batch: Batch) -> tuple[Batch, Batch]:
    """Return the two halves of a failed batch of at least two items, in order."""
    assert len(batch.items) > 1, "A single item is not split. This is a bug."
    middle = len(batch.items) // 2
    return Batch(batch.task, batch.items[:middle]), Batch(batch.task, batch.items[middle:])


class BatchTokenLimit:
    """Most tokens in one step.

    Args:
        most: What was set; never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.num_tokens = most
        self._num_fitted = 0

    def lower(self, num_tokens: int) -> None:
        """Learn that a step of so many tokens did not fit: from now on, half of it."""
        self.num_tokens = max(1, min(self.num_tokens, num_tokens // 2))
        self._num_fitted = 0

    def fits(self) -> None:
        """Learn that a step fitted."""
        self._num_fitted += 1
        if self._num_fitted >= BATCHES_BEFORE_RAISING:
            self.num_tokens = min(self.most, 2 * self.num_tokens)
            self._num_fitted = 0
