"""What is known of a request when it is over: names and counts, never a text."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from shortlist.api.dialects.common import DIALECT, CommonRerankRequest
from shortlist.api.dialects.table import DIALECTS
from shortlist.api.record import Record
from shortlist.api.task_handlers import HANDLERS
from shortlist.errors import DeadlineExceeded, Draining, Overloaded, ServiceError, Shortage
from shortlist.types import Failed, PromptTemplate, RerankOutcome, Timing, Usage
from tests.support.wire import with_state

OUTCOME = RerankOutcome(
    model="demo",
    results=[],
    failed=[Failed(0, ServiceError("wrong"))],
    document_stats=[None],
    template=PromptTemplate(name="t", preset="p", instruction=None),
    usage=Usage(num_tokens=56, num_cached=2),
    timing=Timing(tokenize_s=0.0012, queue_s=0.0004, compute_s=0.02791),
)


def test_request_of_which_nothing_is_known_has_a_route_all_the_same() -> None:
    record = Record.of({"type": "http"})
    assert record == Record(route="other", dialect="", task="", model="", refusal="", error="")
    assert record.fields({"type": "http"}) == {"route": "other"}


def test_record_of_an_answered_request_has_tokens_and_times() -> None:
    scope = with_state(
        {"route": SimpleNamespace(path="/v1/rerank")},
        dialect=DIALECT,
        request_model=CommonRerankRequest,
        num_items=3,
        outcome=OUTCOME,
    )
    assert Record.of(scope).fields(scope) == {
        "route": "/v1/rerank",
        "dialect": "superset",
        "task": "rerank",
        "model": "demo",
        "items": 3,
        "tokens": 56,
        "cached": 2,
        "failed": 1,
        "tokenize_ms": 1.2,
        "queue_ms": 0.4,
        "compute_ms": 27.9,
    }


@pytest.mark.parametrize("shortage", list(Shortage))
def test_record_of_a_refusal_has_the_limit_reached(shortage: Shortage) -> None:
    error = Overloaded("busy", retry_after_s=1, shortage=shortage)
    assert (Record.of(with_state({}, error=error)).refusal, Record.of(with_state({}, error=error)).error) == (
        shortage.value,
        "Overloaded",
    )


@pytest.mark.parametrize(
    ("error", "refusal"),
    [(Draining("later"), "draining"), (DeadlineExceeded("late"), ""), (Overloaded("elsewhere", retry_after_s=1), "")],
)
def test_only_own_refusals_are_recorded_as_refusals(error: ServiceError, refusal: str) -> None:
    assert Record.of(with_state({}, error=error)).refusal == refusal


def test_every_shape_of_every_dialect_has_a_task() -> None:
    tasks = {
        Record.of(with_state({}, request_model=request_model)).task
        for dialect in DIALECTS
        for request_model in dialect.request_models
    }
    assert tasks == {handler.name for handler in HANDLERS.values()}
