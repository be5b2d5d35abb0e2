"""Jobs go in whole, leave in a fair order, and can be cancelled or expire at any moment."""

from shortlist.scheduler.queue import COST_FACTORS, Flow, WorkQueue
from shortlist.types import EMBED, RERANK, Priority, Prompt, TextPrefix, TextPrompt

PREFIX = TextPrefix("query", 3)


def prompts(*num_tokens: int) -> list[Prompt]:
    return [TextPrompt(PREFIX, f"text {number}", tokens) for number, tokens in enumerate(num_tokens)]


ANN, BOB = Flow("ann", Priority.INTERACTIVE), Flow("bob", Priority.INTERACTIVE)
ANN_LATER = Flow("ann", Priority.BATCH)


def turns(waiting: WorkQueue) -> list[int]:
    """Remove all items; return their job ids in order."""
    return [waiting.pop().job_id for _ in range(waiting.num_items)]


def test_items_leave_in_the_order_they_came() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(5, 6))
    waiting.put(2, EMBED, prompts(7))
    taken = [waiting.pop() for _ in range(3)]
    assert [(item.job_id, item.index) for item in taken] == [(1, 0), (1, 1), (2, 0)]
    assert (waiting.num_items, waiting.num_tokens) == (0, 0)
    assert waiting.peek() is None


def test_peek_takes_nothing() -> None:
    waiting = WorkQueue()
    waiting.put(1, EMBED, prompts(5))
    front = waiting.peek()
    assert front is not None
    assert (front[0], front[1].job_id) == (EMBED, 1)
    assert waiting.num_items == 1


def test_cancelled_job_leaves_nothing_behind() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(5, 6, 7))
    waiting.put(2, RERANK, prompts(8))
    waiting.pop()
    assert waiting.cancel(1) == 2
    assert waiting.cancel(1) == 0
    assert (waiting.num_items, waiting.num_tokens) == (1, 8)
    assert waiting.pop().job_id == 2


def test_expired_jobs_are_removed_and_others_are_not() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(5), deadline_s=10.0)
    waiting.put(2, RERANK, prompts(6), deadline_s=11.0)
    waiting.put(3, RERANK, prompts(7))
    assert waiting.expire(9.9) == []
    assert waiting.expire(10.0) == [1]
    assert (waiting.num_items, waiting.num_tokens) == (2, 13)


def test_smaller_job_of_two_callers_is_scheduled_first() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(50, 50), flow=ANN)
    waiting.put(2, RERANK, prompts(60), flow=BOB)
    assert turns(waiting) == [2, 1, 1]


def test_one_callers_jobs_go_in_the_order_they_came() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(90), flow=ANN)
    waiting.put(2, RERANK, prompts(1), flow=ANN)
    assert turns(waiting) == [1, 2]


def test_new_caller_does_not_wait_for_a_busy_callers_backlog() -> None:
    waiting = WorkQueue()
    for number in range(10):
        waiting.put(number, RERANK, prompts(10), flow=ANN)
    waiting.put(99, RERANK, prompts(10), flow=BOB)
    assert turns(waiting).index(99) == 1


def test_small_job_is_scheduled_between_items_of_a_large_job() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(*[10] * 10), flow=ANN)
    assert [waiting.pop().job_id for _ in range(3)] == [1, 1, 1]
    waiting.put(2, RERANK, prompts(10), flow=BOB)
    assert turns(waiting) == [2, *[1] * 7]


def test_large_job_is_not_overtaken_for_ever() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(100), flow=ANN)
    taken = []
    for number in range(2, 50):  # one small job after the other, each put before the last one is done
        waiting.put(number, RERANK, prompts(10), flow=BOB)
        taken.append(waiting.pop().job_id)
    assert taken.index(1) <= 10


def test_batch_jobs_give_way_and_still_get_a_share() -> None:
    waiting = WorkQueue()
    for number in range(4):
        waiting.put(number, RERANK, prompts(10), flow=ANN_LATER)
    for number in range(100, 140):
        waiting.put(number, RERANK, prompts(10), flow=BOB)
    order = turns(waiting)
    assert order.index(0) == COST_FACTORS[Priority.BATCH] - 1  # equal ranks go in the order they came
    assert order.index(3) < 40


def test_own_batch_jobs_do_not_hold_up_ones_interactive_ones() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(100), flow=ANN_LATER)
    waiting.put(2, RERANK, prompts(100), flow=ANN)
    assert turns(waiting) == [2, 1]


def test_idle_caller_gains_no_credit() -> None:
    waiting = WorkQueue()
    for number in range(5):
        waiting.put(number, RERANK, prompts(10), flow=ANN)
        waiting.pop()
    waiting.put(10, RERANK, prompts(10), flow=ANN)
    for number in range(20, 25):
        waiting.put(number, RERANK, prompts(10), flow=BOB)
    assert turns(waiting).index(10) == 0


def test_empty_flow_is_dropped() -> None:
    waiting = WorkQueue()
    waiting.put(1, RERANK, prompts(10), flow=ANN)
    waiting.put(2, RERANK, prompts(10), flow=BOB, deadline_s=1.0)
    waiting.put(3, RERANK, prompts(10), flow=ANN_LATER)
    assert waiting.flows == {ANN, BOB, ANN_LATER}
    waiting.cancel(1)
    waiting.expire(2.0)
    assert waiting.flows == {ANN_LATER}
    waiting.pop()
    assert waiting.flows == frozenset()
