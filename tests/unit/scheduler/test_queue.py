"""Jobs go in whole, leave in order, and can be cancelled or expire at any moment."""

import pytest

from shortlist.errors import Overloaded
from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Prompt, Task, TextHead, TextPrompt

HEAD = TextHead("query", 3)


def prompts(*num_tokens: int) -> list[Prompt]:
    return [TextPrompt(HEAD, f"text {number}", tokens) for number, tokens in enumerate(num_tokens)]


def queue(*, items: int = 100, tokens: int = 1000) -> WorkQueue:
    return WorkQueue(max_items=items, max_tokens=tokens)


def test_items_leave_in_the_order_they_came() -> None:
    waiting = queue()
    waiting.put(1, Task.RERANK, prompts(5, 6))
    waiting.put(2, Task.EMBED, prompts(7))
    taken = [waiting.pop() for _ in range(3)]
    assert [(item.job_id, item.index) for item in taken] == [(1, 0), (1, 1), (2, 0)]
    assert (waiting.num_items, waiting.num_tokens) == (0, 0)
    assert waiting.peek() is None


def test_peek_takes_nothing() -> None:
    waiting = queue()
    waiting.put(1, Task.EMBED, prompts(5))
    front = waiting.peek()
    assert front is not None
    assert (front[0], front[1].job_id) == (Task.EMBED, 1)
    assert waiting.num_items == 1


@pytest.mark.parametrize("limits", [{"items": 2}, {"tokens": 10}])
def test_job_without_room_is_refused_whole(limits: dict[str, int]) -> None:
    waiting = queue(**limits)
    waiting.put(1, Task.RERANK, prompts(5))
    with pytest.raises(Overloaded):
        waiting.put(2, Task.RERANK, prompts(4, 4))
    assert (waiting.num_items, waiting.num_tokens) == (1, 5)


def test_empty_queue_takes_a_job_of_any_size() -> None:
    waiting = queue(items=1, tokens=1)
    waiting.put(1, Task.RERANK, prompts(50, 50))
    assert waiting.num_items == 2


def test_cancelled_job_leaves_nothing_behind() -> None:
    waiting = queue()
    waiting.put(1, Task.RERANK, prompts(5, 6, 7))
    waiting.put(2, Task.RERANK, prompts(8))
    waiting.pop()
    assert waiting.cancel(1) == 2
    assert waiting.cancel(1) == 0
    assert (waiting.num_items, waiting.num_tokens) == (1, 8)
    assert waiting.pop().job_id == 2


def test_expired_jobs_are_removed_and_others_are_not() -> None:
    waiting = queue()
    waiting.put(1, Task.RERANK, prompts(5), deadline_s=10.0)
    waiting.put(2, Task.RERANK, prompts(6), deadline_s=11.0)
    waiting.put(3, Task.RERANK, prompts(7))
    assert waiting.expire(9.9) == []
    assert waiting.expire(10.0) == [1]
    assert (waiting.num_items, waiting.num_tokens) == (2, 13)
