"""Forms the batches that the engine computes. Pure policy.

The batcher fills a batch from the queue and halves a batch that failed. It halves the token limit after an out-of-memory
batch and doubles it again after 64 good ones.
"""

from __future__ import annotations

from typing import Final

from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Batch, Priority, WorkItem

BATCHES_BEFORE_RAISING: Final = 64
"""Good batches before the token limit is raised: a failure costs a batch, and the memory may be free again."""


def form_batch(
    queue: WorkQueue, *, max_tokens: int, max_items: int, max_batch_priority_tokens: int | None = None
) -> Batch | None:
    """Take the items of the next batch from the queue, in order, across requests; None if the queue is empty.

    The batch takes items of one operation from the front until the next one does not fit. No item overtakes another. A shared
    prefix costs its tokens once per batch. The first item is always taken, so work never stalls. Items of batch priority are
    taken only into a small batch: interactive requests that arrive meanwhile have to wait for it.

    Units:
        max_tokens: tokens of one batch, shared prefixes included.
        max_batch_priority_tokens: the same, when an item of batch priority is taken; None is `max_tokens`.
    """
    low = max_tokens if max_batch_priority_tokens is None else min(max_tokens, max_batch_priority_tokens)
    taken: list[WorkItem] = []
    prefixes: set[int] = set()
    num_tokens = 0
    first = queue.peek()
    while (front := queue.peek()) is not None and first is not None:
        operation, item = front
        cost = item.prompt.num_own_tokens + (0 if id(item.prompt.prefix) in prefixes else item.prompt.prefix.num_tokens)
        limit = low if queue.priority is Priority.BATCH else max_tokens
        if taken and (operation is not first[0] or num_tokens + cost > limit or len(taken) >= max_items):
            break
        taken.append(queue.pop())
        prefixes.add(id(item.prompt.prefix))
        num_tokens += cost
    return Batch(first[0], tuple(taken)) if first is not None else None


def split_batch(batch: Batch) -> tuple[Batch, Batch]:
    """Return the two halves of a failed batch of at least two items, in order."""
    assert len(batch.items) > 1, "A single item is not split. This is a bug."
    middle = len(batch.items) // 2
    return Batch(batch.operation, batch.items[:middle]), Batch(batch.operation, batch.items[middle:])


class BatchTokenLimit:
    """The token limit of a batch.

    Args:
        most: The configured limit; never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.num_tokens = most
        self._num_fitted = 0

    def lower(self, num_tokens: int) -> None:
        """Record an out-of-memory batch of `num_tokens`: halve the token limit."""
        self.num_tokens = max(1, min(self.num_tokens, num_tokens // 2))
        self._num_fitted = 0

    def fits(self) -> None:
        """Record a batch that fitted: after 64 of them, double the token limit."""
        self._num_fitted += 1
        if self._num_fitted >= BATCHES_BEFORE_RAISING:
            self.num_tokens = min(self.most, 2 * self.num_tokens)
            self._num_fitted = 0
