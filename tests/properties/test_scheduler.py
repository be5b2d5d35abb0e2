"""The pure scheduler as a state machine: whatever happens in whatever order, nothing is lost, doubled or over budget."""

from __future__ import annotations

from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shortlist.errors import Overloaded
from shortlist.scheduler import batcher
from shortlist.scheduler.admission import Admission, AdmissionLimits, Permit
from shortlist.scheduler.queue import WorkQueue
from shortlist.types import Task, TextHead, TextPrompt

MAX_ITEMS, MAX_TOKENS, BATCH_TOKENS, BATCH_ITEMS = 12, 120, 40, 6


class SchedulerMachine(RuleBasedStateMachine):
    """Jobs are put, taken, cancelled and expire, in any order; `waiting` says what must still be there."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue(max_items=MAX_ITEMS, max_tokens=MAX_TOKENS)
        self.waiting: dict[int, list[int]] = {}
        self.sizes: dict[int, list[int]] = {}
        self.deadlines: dict[int, float | None] = {}
        self.num_submitted = self.num_done = self.num_gone = 0
        self.now_s = 0.0
        self.next_id = 0

    @rule(
        sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
        head=st.integers(0, 20),
        patience_s=st.none() | st.floats(0.0, 5.0),
        task=st.sampled_from(Task),
    )
    def put(self, sizes: list[int], head: int, patience_s: float | None, task: Task) -> None:
        prompts: list[Any] = [TextPrompt(shared, "", size) for shared in [TextHead("", head)] for size in sizes]
        has_room = self._num_waiting + len(sizes) <= MAX_ITEMS and self._tokens_waiting + sum(sizes) <= MAX_TOKENS
        job_id, self.next_id = self.next_id, self.next_id + 1
        deadline_s = None if patience_s is None else self.now_s + patience_s
        try:
            self.queue.put(job_id, task, prompts, deadline_s=deadline_s)
        except Overloaded:
            assert not has_room
            return
        assert has_room or not self.waiting
        self.num_submitted += len(sizes)
        self.waiting[job_id], self.sizes[job_id] = list(range(len(sizes))), sizes
        self.deadlines[job_id] = deadline_s

    @rule()
    def take(self) -> None:
        front = next(iter(self.waiting), None)
        batch = batcher.form(self.queue, max_tokens=BATCH_TOKENS, max_items=BATCH_ITEMS)
        if batch is None:
            assert front is None, "work waits, and nobody does it"
            return
        assert batch.items[0].job_id == front, "somebody was overtaken"
        assert len(batch.items) == 1 or batch.num_tokens <= BATCH_TOKENS
        assert len(batch.items) <= BATCH_ITEMS
        for item in batch.items:
            assert self.waiting[item.job_id].pop(0) == item.index, "out of order, or taken twice"
            self.num_done += 1
            if not self.waiting[item.job_id]:
                del self.waiting[item.job_id]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.queue.cancel(job_id) == len(self.waiting[job_id])
        self._gone(job_id)

    @rule(passed_s=st.floats(0.0, 3.0))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        late = [job for job in self.waiting if (deadline := self.deadlines[job]) is not None and deadline <= self.now_s]
        assert self.queue.expire(self.now_s) == late
        for job_id in late:
            self._gone(job_id)

    @invariant()
    def everything_is_accounted_for(self) -> None:
        assert self.queue.num_items == self._num_waiting
        assert self.queue.num_tokens == self._tokens_waiting
        assert self.num_submitted == self.num_done + self.num_gone + self._num_waiting

    @property
    def _num_waiting(self) -> int:
        return sum(map(len, self.waiting.values()))

    @property
    def _tokens_waiting(self) -> int:
        return sum(self.sizes[job_id][index] for job_id, rest in self.waiting.items() for index in rest)

    def _gone(self, job_id: int) -> None:
        self.num_gone += len(self.waiting.pop(job_id))


class AdmissionMachine(RuleBasedStateMachine):
    """Permits are taken, settled and given back in any order; what is counted is what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Admission(AdmissionLimits(max_concurrent_requests=4, max_queue_tokens=100, max_queue_delay_s=1.0))
        self.held: list[tuple[Permit, int]] = []

    @rule(num_tokens=st.integers(0, 150), timeout_s=st.none() | st.floats(0.01, 2.0))
    def admit(self, num_tokens: int, timeout_s: float | None) -> None:
        try:
            permit = self.policy.admit(num_tokens, timeout_s=timeout_s)
        except Overloaded as refusal:
            assert self.held, "an idle server refused"
            assert refusal.retry_after_s > 0  # noqa: PT017 - whether it refuses is what varies
            return
        self.held.append((permit, num_tokens))

    @precondition(lambda self: self.held)
    @rule(num_tokens=st.integers(0, 150))
    def settle(self, num_tokens: int) -> None:
        permit, _ = self.held.pop(0)
        permit.settle(num_tokens)
        self.held.append((permit, num_tokens))

    @precondition(lambda self: self.held)
    @rule()
    def give_back(self) -> None:
        permit, _ = self.held.pop()
        with permit:
            pass

    @rule(num_tokens=st.integers(1, 1000), seconds=st.floats(0.0, 1.0))
    def observe(self, num_tokens: int, seconds: float) -> None:
        self.policy.observe(num_tokens, seconds)

    @invariant()
    def counts_are_what_is_held(self) -> None:
        assert self.policy.num_requests == len(self.held) <= 4
        assert self.policy.num_tokens == sum(num_tokens for _, num_tokens in self.held)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = hypothesis_settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAdmission = AdmissionMachine.TestCase
TestAdmission.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)
