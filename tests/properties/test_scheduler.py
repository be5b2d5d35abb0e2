"""The pure scheduler as a state machine: whatever happens in whatever order, nothing is lost, doubled or over budget."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shortlist.errors import Overloaded, RequestTooLarge
from shortlist.scheduler import batcher
from shortlist.scheduler.admission import Admission, AdmissionLimits, Permit
from shortlist.scheduler.queue import DEFAULT_FLOW, Flow, WorkQueue
from shortlist.types import EMBED, RERANK, Operation, Priority, TextPrefix, TextPrompt
from tests.support.examples import examples

BATCH_TOKENS, BATCH_ITEMS = 40, 6

FLOWS = [Flow(caller, priority) for caller in ("ann", "bob", "cem") for priority in Priority]


class SchedulerMachine(RuleBasedStateMachine):
    """Jobs are put, taken, cancelled and expire, in any order; `waiting` says what must still be there, oldest job first."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue()
        self.waiting: dict[int, list[int]] = {}
        self.sizes: dict[int, list[int]] = {}
        self.flows: dict[int, Flow] = {}
        self.deadlines: dict[int, float | None] = {}
        self.unserved: Counter[Flow] = Counter()
        self.patience: dict[int, int] = {}
        self.overtaken: dict[int, Counter[Flow]] = {}
        self.num_submitted = self.num_done = self.num_gone = 0
        self.now_s = 0.0
        self.next_id = 0

    @rule(
        sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
        prefix=st.integers(0, 20),
        flow=st.sampled_from(FLOWS),
        patience_s=st.none() | st.floats(0.0, 5.0),
        task=st.sampled_from([RERANK, EMBED]),
    )
    def put(self, sizes: list[int], prefix: int, flow: Flow, patience_s: float | None, task: Operation) -> None:
        prompts: list[Any] = [TextPrompt(shared, "", size) for shared in [TextPrefix("", prefix)] for size in sizes]
        job_id, self.next_id = self.next_id, self.next_id + 1
        deadline_s = None if patience_s is None else self.now_s + patience_s
        self.queue.put(job_id, task, prompts, flow=flow, deadline_s=deadline_s)
        self.num_submitted += len(sizes)
        self.waiting[job_id], self.sizes[job_id] = list(range(len(sizes))), sizes
        self.flows[job_id], self.deadlines[job_id] = flow, deadline_s
        self.unserved[flow] += sum(sizes)
        # What a flow still has coming is what each other flow may be given before the last of it is done.
        self.patience[job_id] = flow.cost_factor * self.unserved[flow]
        self.overtaken[job_id] = Counter()

    @rule()
    def take(self) -> None:
        batch = batcher.form_batch(self.queue, max_tokens=BATCH_TOKENS, max_items=BATCH_ITEMS)
        if batch is None:
            assert not self.waiting, "work waits, and the engine idles"
            return
        assert len(batch.items) == 1 or batch.num_tokens <= BATCH_TOKENS
        assert len(batch.items) <= BATCH_ITEMS
        for item in batch.items:
            self._taken(item.job_id, item.index)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.queue.cancel(job_id) == len(self.waiting[job_id])
        self.num_gone += len(self.waiting[job_id])
        self._gone(job_id)

    @rule(passed_s=st.floats(0.0, 3.0))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        late = [job for job in self.waiting if (deadline := self.deadlines[job]) is not None and deadline <= self.now_s]
        assert self.queue.expire(self.now_s) == late
        for job_id in late:
            self.num_gone += len(self.waiting[job_id])
            self._gone(job_id)

    @invariant()
    def everything_is_accounted_for(self) -> None:
        assert self.queue.num_items == sum(map(len, self.waiting.values()))
        assert self.queue.num_tokens == sum(self.sizes[job_id][at] for job_id, rest in self.waiting.items() for at in rest)
        assert self.num_submitted == self.num_done + self.num_gone + self.queue.num_items
        assert self.queue.flows == {self.flows[job_id] for job_id in self.waiting}, "a flow that went away is remembered"

    def _taken(self, job_id: int, index: int) -> None:
        flow, size = self.flows[job_id], self.sizes[job_id][index]
        assert job_id == next(job for job in self.waiting if self.flows[job] == flow), "a flow overtook itself"
        assert self.waiting[job_id].pop(0) == index, "out of order, or taken twice"
        self.num_done += 1
        self.unserved[flow] -= size
        for older in self.waiting:
            if older < job_id:
                self.overtaken[older][flow] += flow.cost_factor * size
                assert self.overtaken[older][flow] <= self.patience[older], "a job was overtaken by more than a fair share"
        if not self.waiting[job_id]:
            self._gone(job_id)

    def _gone(self, job_id: int) -> None:
        del self.waiting[job_id]
        flow = self.flows[job_id]
        if flow not in {self.flows[job] for job in self.waiting}:
            self.unserved[flow] = 0


class AdmissionMachine(RuleBasedStateMachine):
    """Permits are taken, settled and given back in any order; what is counted is what is held."""

    def __init__(self) -> None:
        super().__init__()
        limits = AdmissionLimits(max_concurrent_requests=4, max_queue_tokens=100, max_queue_bytes=1000, max_queue_delay_s=1.0)
        self.policy = Admission(limits)
        self.held: list[tuple[Permit, int, int]] = []

    @rule(
        num_tokens=st.integers(0, 150),
        num_bytes=st.integers(0, 1500),
        flow=st.sampled_from([DEFAULT_FLOW, *FLOWS]),
        timeout_s=st.none() | st.floats(0.01, 2.0),
    )
    def admit(self, num_tokens: int, num_bytes: int, flow: Flow, timeout_s: float | None) -> None:
        fits = self.policy.load.num_tokens + num_tokens <= 100 and self.policy.load.num_bytes + num_bytes <= 1000
        try:
            permit = self.policy.admit(num_tokens, num_bytes=num_bytes, flow=flow, timeout_s=timeout_s)
        except RequestTooLarge:
            assert num_tokens > 100 or num_bytes > 1000
            return
        except Overloaded as refusal:
            assert self.held, "an idle server refused"
            assert refusal.retry_after_s > 0  # noqa: PT017 - whether it refuses is what varies
            return
        assert fits
        self.held.append((permit, num_tokens, num_bytes))

    @precondition(lambda self: self.held)
    @rule(num_tokens=st.integers(0, 150))
    def settle(self, num_tokens: int) -> None:
        permit, before, num_bytes = self.held[0]
        fits = self.policy.load.num_tokens - before + num_tokens <= 100
        try:
            permit.settle(num_tokens)
        except RequestTooLarge:
            assert num_tokens > 100
            return
        except Overloaded:
            assert not fits
            assert num_tokens > before
            return
        assert fits or num_tokens <= before or len(self.held) == 1
        self.held[0] = permit, num_tokens, num_bytes

    @precondition(lambda self: self.held)
    @rule()
    def give_back(self) -> None:
        permit, *_ = self.held.pop()
        with permit:
            pass

    @rule(num_tokens=st.integers(1, 1000), seconds=st.floats(0.0, 1.0))
    def observe(self, num_tokens: int, seconds: float) -> None:
        self.policy.observe(num_tokens, seconds)

    @invariant()
    def counts_are_what_is_held(self) -> None:
        load = self.policy.load
        assert load.num_requests == len(self.held) <= 4
        assert load.num_tokens == sum(num_tokens for _, num_tokens, _ in self.held)
        assert load.num_bytes == sum(num_bytes for *_, num_bytes in self.held)
        assert self.policy.num_flows <= len(self.held)

    @invariant()
    def wait_is_never_more_than_everything(self) -> None:
        if speed := self.policy.tokens_per_s:
            waits = [self.policy.predicted_wait_s(flow, 10) for flow in FLOWS]
            assert all(0 <= wait <= self.policy.load.num_tokens / speed * (1 + 1e-9) for wait in waits)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = hypothesis_settings(max_examples=examples(80, 400), stateful_step_count=40, deadline=None)
TestAdmission = AdmissionMachine.TestCase
TestAdmission.settings = hypothesis_settings(max_examples=examples(50, 200), stateful_step_count=40, deadline=None)
