"""Batches fill in order up to the token limit; failed ones are halved; out-of-memory ones lower the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.scheduler import batcher
from shortlist.scheduler.batcher import BATCHES_BEFORE_RAISING, BatchTokenLimit
from shortlist.scheduler.queue import Flow, WorkQueue
from shortlist.types import (
    EMBED,
    RERANK,
    Batch,
    Operation,
    Priority,
    Prompt,
    TextPrefix,
    TextPrompt,
    WorkItem,
)


def job(prefix_tokens: int, *num_tokens: int) -> list[Prompt]:
    prefix = TextPrefix("query", prefix_tokens)
    return [TextPrompt(prefix, "text", tokens) for tokens in num_tokens]


def filled(*jobs: tuple[Operation, list[Prompt]]) -> WorkQueue:
    queue = WorkQueue()
    for number, (task, prompts) in enumerate(jobs):
        queue.put(number, task, prompts)
    return queue


def form_batch(queue: WorkQueue, max_tokens: int = 100, max_items: int = 10) -> list[tuple[int, int]] | None:
    batch = batcher.form_batch(queue, max_tokens=max_tokens, max_items=max_items)
    return None if batch is None else [(item.job_id, item.index) for item in batch.items]


def test_nothing_waits_nothing_formed() -> None:
    assert form_batch(filled()) is None


def test_requests_share_a_step() -> None:
    queue = filled((RERANK, job(10, 20)), (RERANK, job(10, 20, 20)))
    assert form_batch(queue) == [(0, 0), (1, 0), (1, 1)]


def test_prefix_counts_once_per_batch() -> None:
    queue = filled((RERANK, job(40, 20, 20, 20)))
    assert form_batch(queue) == [(0, 0), (0, 1), (0, 2)]  # 40 + 3 * 20 = 100


def test_prefix_counts_again_in_the_next_batch() -> None:
    queue = filled((RERANK, job(40, 30, 30, 30, 30)))
    assert form_batch(queue) == [(0, 0), (0, 1)]
    assert form_batch(queue) == [(0, 2), (0, 3)]
    assert form_batch(queue) is None


def test_items_of_batch_priority_are_only_taken_into_small_batches() -> None:
    queue = WorkQueue()
    queue.put(0, RERANK, job(10, *[10] * 9), flow=Flow("a", Priority.BATCH))
    batch = batcher.form_batch(queue, max_tokens=100, max_items=10, max_batch_priority_tokens=45)
    assert batch is not None
    assert batch.num_tokens == 40
    queue.put(1, RERANK, job(10, *[10] * 4), flow=Flow("b", Priority.INTERACTIVE))
    batch = batcher.form_batch(queue, max_tokens=100, max_items=10, max_batch_priority_tokens=45)
    assert batch is not None
    assert [item.job_id for item in batch.items] == [1, 1, 1, 1]  # 50 tokens: the others do not fit


def test_first_item_of_batch_priority_is_taken_however_long() -> None:
    queue = WorkQueue()
    queue.put(0, RERANK, job(10, 80, 10), flow=Flow("a", Priority.BATCH))
    batch = batcher.form_batch(queue, max_tokens=100, max_items=10, max_batch_priority_tokens=45)
    assert batch is not None
    assert [item.index for item in batch.items] == [0]


def test_items_keep_their_order() -> None:
    queue = filled((RERANK, job(0, 60)), (RERANK, job(0, 60)), (RERANK, job(0, 10)))
    assert form_batch(queue) == [(0, 0)]
    assert form_batch(queue) == [(1, 0), (2, 0)]


def test_item_above_the_token_limit_is_a_batch_of_its_own() -> None:
    queue = filled((RERANK, job(50, 90, 10)))
    assert form_batch(queue) == [(0, 0)]
    assert form_batch(queue) == [(0, 1)]


def test_step_is_bounded_in_items() -> None:
    queue = filled((RERANK, job(0, 1, 1, 1)))
    assert form_batch(queue, max_items=2) == [(0, 0), (0, 1)]


def test_tasks_do_not_mix() -> None:
    queue = filled((RERANK, job(0, 1)), (EMBED, job(0, 1)), (RERANK, job(0, 1)))
    tasks = []
    while (batch := batcher.form_batch(queue, max_tokens=100, max_items=10)) is not None:
        tasks.append(batch.operation)
    assert tasks == [RERANK, EMBED, RERANK]


@pytest.mark.parametrize("num_items", [2, 3, 8])
def test_split_keeps_every_item_in_order(num_items: int) -> None:
    items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(job(1, *[1] * num_items)))
    first, second = batcher.split_batch(Batch(EMBED, items))
    assert first.items + second.items == items
    assert first.operation is second.operation is EMBED
    assert abs(len(first.items) - len(second.items)) <= 1


def fit(limit: BatchTokenLimit, num_batches: int) -> None:
    for _ in range(num_batches):
        limit.fits()


def test_nothing_changes_while_everything_fits() -> None:
    limit = BatchTokenLimit(1000)
    fit(limit, 10 * BATCHES_BEFORE_RAISING)
    assert limit.num_tokens == 1000


def test_out_of_memory_batch_halves_the_token_limit() -> None:
    limit = BatchTokenLimit(1000)
    limit.lower(600)
    assert limit.num_tokens == 300


def test_smaller_failure_never_raises_it() -> None:
    limit = BatchTokenLimit(100)
    limit.lower(50)
    limit.lower(90)
    assert limit.num_tokens == 25


def test_token_limit_is_raised_in_steps() -> None:
    limit = BatchTokenLimit(1000)
    limit.lower(600)
    fit(limit, BATCHES_BEFORE_RAISING - 1)
    assert limit.num_tokens == 300
    fit(limit, 1)
    assert limit.num_tokens == 600
    fit(limit, BATCHES_BEFORE_RAISING)
    assert limit.num_tokens == 1000


def test_another_failure_resets_the_wait() -> None:
    limit = BatchTokenLimit(1000)
    limit.lower(600)
    fit(limit, BATCHES_BEFORE_RAISING - 1)
    limit.lower(300)
    fit(limit, BATCHES_BEFORE_RAISING - 1)
    assert limit.num_tokens == 150


@given(st.integers(1, 10_000), st.lists(st.one_of(st.none(), st.integers(1, 20_000)), max_size=200))
def test_token_limit_stays_between_one_and_the_setting(most: int, events: list[int | None]) -> None:
    limit = BatchTokenLimit(most)
    for tokens in events:
        limit.fits() if tokens is None else limit.lower(tokens)
        assert 1 <= limit.num_tokens <= most
