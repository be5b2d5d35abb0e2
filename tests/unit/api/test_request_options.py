"""Who asks, how urgently and until when, as headers say it."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from shortlist.api.request_options import apply_headers, with_instruction
from shortlist.errors import InvalidInput
from shortlist.types import EmbedTask, Priority, RequestOptions, RerankTask
from tests.support.wire import with_state


def request(caller: str | None = None, **headers: str) -> Request:
    encoded = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "headers": encoded}
    return Request(scope if caller is None else with_state(scope, caller=caller))


def task(**options: object) -> RerankTask:
    return RerankTask(query="q", documents=("a",), options=RequestOptions(**options))  # type: ignore[arg-type]


def test_silence_means_the_servers_own_terms() -> None:
    assert apply_headers(task(), request()).options == RequestOptions()


def test_caller_is_taken_from_the_scope() -> None:
    assert apply_headers(task(), request(caller="ann")).options.caller == "ann"


def test_task_keeps_its_options() -> None:
    asked = task(is_partial=True)
    served = apply_headers(asked, request(x_request_priority="batch"))
    assert (served.query, served.documents, served.options.is_partial) == ("q", ("a",), True)


def test_embedding_has_terms_as_well() -> None:
    served = apply_headers(EmbedTask(texts=("a",)), request(x_request_timeout_ms="250"))
    assert served.options.timeout_s == 0.25


def test_instruction_counts_unless_the_dialect_has_said_one() -> None:
    asked = RerankTask(query="q", documents=("a",))
    assert with_instruction(asked, "find").instruction == "find"
    assert with_instruction(asked, "").instruction is None
    own = RerankTask(query="q", documents=("a",), instruction="own")
    assert with_instruction(own, "find").instruction == "own"


@pytest.mark.parametrize(
    ("in_body", "in_header", "counts"), [(None, "1500", 1.5), (2.0, None, 2.0), (2.0, "1500", 1.5), (1.0, "1500", 1.0)]
)
def test_shorter_timeout_counts(in_body: float | None, in_header: str | None, counts: float) -> None:
    headers = {} if in_header is None else {"x_request_timeout_ms": in_header}
    assert apply_headers(task(timeout_s=in_body), request(**headers)).options.timeout_s == counts


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "soon", "1e3", "٣", "9" * 13])
def test_timeout_that_cannot_be_read_is_refused(text: str) -> None:
    encoded = {"type": "http", "headers": [(b"x-request-timeout-ms", text.encode())]}
    with pytest.raises(InvalidInput) as refusal:
        apply_headers(task(), Request(encoded))
    assert refusal.value.param == "X-Request-Timeout-Ms"
    assert not text or text not in refusal.value.message.replace("above 0", "")


@pytest.mark.parametrize("text", ["batch", "BATCH", " Batch "])
def test_priority_is_read_as_people_write_it(text: str) -> None:
    assert apply_headers(task(), request(x_request_priority=text)).options.priority is Priority.BATCH


def test_unknown_priority_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="interactive or batch") as refusal:
        apply_headers(task(), request(x_request_priority="urgent"))
    assert refusal.value.param == "X-Request-Priority"
    assert "urgent" not in refusal.value.message
