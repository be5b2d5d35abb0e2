"""A step is filled in order under its budget, and a failed one is halved."""

import pytest

from shortlist.scheduler import batcher
from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Batch, Prompt, Task, TextHead, TextPrompt, WorkItem


def job(head_tokens: int, *num_tokens: int) -> list[Prompt]:
    head = TextHead("query", head_tokens)
    return [TextPrompt(head, "text", tokens) for tokens in num_tokens]


def filled(*jobs: tuple[Task, list[Prompt]]) -> WorkQueue:
    queue = WorkQueue()
    for number, (task, prompts) in enumerate(jobs):
        queue.put(number, task, prompts)
    return queue


def form(queue: WorkQueue, max_tokens: int = 100, max_items: int = 10) -> list[tuple[int, int]] | None:
    batch = batcher.form(queue, max_tokens=max_tokens, max_items=max_items)
    return None if batch is None else [(item.job_id, item.index) for item in batch.items]


def test_nothing_waits_nothing_formed() -> None:
    assert form(filled()) is None


def test_requests_share_a_step() -> None:
    queue = filled((Task.RERANK, job(10, 20)), (Task.RERANK, job(10, 20, 20)))
    assert form(queue) == [(0, 0), (1, 0), (1, 1)]


def test_head_costs_once_per_step() -> None:
    queue = filled((Task.RERANK, job(40, 20, 20, 20)))
    assert form(queue) == [(0, 0), (0, 1), (0, 2)]  # 40 + 3 * 20 = 100


def test_head_costs_again_in_the_next_step() -> None:
    queue = filled((Task.RERANK, job(40, 30, 30, 30, 30)))
    assert form(queue) == [(0, 0), (0, 1)]
    assert form(queue) == [(0, 2), (0, 3)]
    assert form(queue) is None


def test_nobody_is_overtaken() -> None:
    queue = filled((Task.RERANK, job(0, 60)), (Task.RERANK, job(0, 60)), (Task.RERANK, job(0, 10)))
    assert form(queue) == [(0, 0)]
    assert form(queue) == [(1, 0), (2, 0)]


def test_item_larger_than_the_budget_goes_alone() -> None:
    queue = filled((Task.RERANK, job(50, 90, 10)))
    assert form(queue) == [(0, 0)]
    assert form(queue) == [(0, 1)]


def test_step_is_bounded_in_items() -> None:
    queue = filled((Task.RERANK, job(0, 1, 1, 1)))
    assert form(queue, max_items=2) == [(0, 0), (0, 1)]


def test_tasks_do_not_mix() -> None:
    queue = filled((Task.RERANK, job(0, 1)), (Task.EMBED, job(0, 1)), (Task.RERANK, job(0, 1)))
    tasks = []
    while (batch := batcher.form(queue, max_tokens=100, max_items=10)) is not None:
        tasks.append(batch.task)
    assert tasks == [Task.RERANK, Task.EMBED, Task.RERANK]


@pytest.mark.parametrize("num_items", [2, 3, 8])
def test_split_keeps_every_item_in_order(num_items: int) -> None:
    items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(job(1, *[1] * num_items)))
    first, second = batcher.split(Batch(Task.EMBED, items))
    assert first.items + second.items == items
    assert first.task is second.task is Task.EMBED
    assert abs(len(first.items) - len(second.items)) <= 1
