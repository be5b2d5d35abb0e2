"""What goes together. Pure policy: fill one step from the queue, and halve a step that failed."""

from __future__ import annotations

from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Batch, WorkItem


def form(queue: WorkQueue, *, max_tokens: int, max_items: int) -> Batch | None:
    """Take the next step's items, in order, across requests; None if nothing waits.

    Items of one task are taken from the front until the next one would not fit; nobody is overtaken. A head costs its
    tokens once per step, however many of its items ride along. The first item is always taken, so work never stalls.

    Units:
        max_tokens: tokens the engine reads in one step, heads included.
    """
    taken: list[WorkItem] = []
    heads: set[int] = set()
    num_tokens = 0
    first = queue.peek()
    while (front := queue.peek()) is not None and first is not None:
        task, item = front
        cost = item.prompt.num_tokens + (0 if id(item.prompt.head) in heads else item.prompt.head.num_tokens)
        if taken and (task is not first[0] or num_tokens + cost > max_tokens or len(taken) >= max_items):
            break
        taken.append(queue.pop())
        heads.add(id(item.prompt.head))
        num_tokens += cost
    return Batch(first[0], tuple(taken)) if first is not None else None


def split(batch: Batch) -> tuple[Batch, Batch]:
    """Return the two halves of a failed batch of at least two items, in order."""
    assert len(batch.items) > 1, "A single item is not split. This is a bug."
    middle = len(batch.items) // 2
    return Batch(batch.task, batch.items[:middle]), Batch(batch.task, batch.items[middle:])
