"""The way in: a body is read whole and under limits, a hang-up cancels, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.api.memory_budget import MemoryBudget
from shortlist.api.request_body import RequestBody
from shortlist.errors import BodyTooLarge, BodyTooSlow, InvalidInput, UnsupportedMedia
from tests.support.wire import HANG_UP, Wire, http_scope, part

LIMIT = 10
PATIENCE_S = 5.0


class Handler:
    """An application that reads what it is given, waits until it may go on, and answers."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.started = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.was_cancelled = False
        self.was_cleaned_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "http.request"
        assert not message["more_body"]
        self.bodies.append(message["body"])
        self.started.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            await asyncio.sleep(0)  # cleaning up may take a while of its own
            self.was_cleaned_up = True
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


def intake(app: ASGIApp, *, body_timeout_s: float = PATIENCE_S, max_body_bytes: int = LIMIT) -> RequestBody:
    return RequestBody(
        app,
        budget=MemoryBudget(1 << 30),
        max_body_bytes=max_body_bytes,
        body_timeout_s=body_timeout_s,
    )


async def quick(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind() -> AsyncIterator[None]:
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nothing announces that a message was taken
            await asyncio.sleep(0)


# -- the body -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"0123456789")],
        [part(b"01234", more=True), part(b"56789")],
        [*(part(bytes([byte]), more=True) for byte in b"0123456789"), part(b"")],
        [{"type": "http.request", "body": b"0123456789"}],
        [{"type": "http.request", "more_body": True}, part(b"0123456789")],
    ],
    ids=["whole", "halves", "byte by byte", "more_body absent", "body absent"],
)
async def test_body_arrives_whole_however_it_was_cut(messages: list[Message]) -> None:
    wire = Wire(*messages)
    await intake(quick)(http_scope(), wire.receive, wire.send)
    assert wire.body == b"0123456789"


async def test_empty_body_is_a_body() -> None:
    wire = Wire({"type": "http.request"})
    await intake(quick)(http_scope(), wire.receive, wire.send)
    assert (wire.statuses, wire.body) == ([200], b"")


@pytest.mark.parametrize("announced", [[], [(b"content-length", b"10")], [(b"content-length", b"nonsense")]])
async def test_body_of_exactly_the_limit_is_taken(announced: list[tuple[bytes, bytes]]) -> None:
    wire = Wire(part(b"x" * LIMIT))
    await intake(quick)(http_scope(*announced), wire.receive, wire.send)
    assert len(wire.body) == LIMIT


async def test_one_byte_more_than_the_limit_is_refused() -> None:
    wire = Wire(part(b"x" * (LIMIT + 1)))
    with pytest.raises(BodyTooLarge, match=r"10 bytes \(max_body_bytes\)"):
        await intake(quick)(http_scope(), wire.receive, wire.send)
    assert wire.sent == []


async def test_body_announced_too_large_is_refused_before_a_byte_is_read() -> None:
    wire = Wire(part(b"x"))
    with pytest.raises(BodyTooLarge):
        await intake(quick)(http_scope((b"content-length", b"11")), wire.receive, wire.send)
    assert wire.num_received == 0


async def test_body_that_grows_too_large_is_read_no_further_than_the_part_that_broke_the_limit() -> None:
    wire = Wire(*(part(b"xxxx", more=True) for _ in range(100)))
    with pytest.raises(BodyTooLarge):
        await intake(quick)(http_scope(), wire.receive, wire.send)
    assert wire.num_received == 3


async def test_body_that_lies_about_its_length_is_measured() -> None:
    wire = Wire(part(b"x" * 11))
    with pytest.raises(BodyTooLarge):
        await intake(quick)(http_scope((b"content-length", b"1")), wire.receive, wire.send)


@pytest.mark.parametrize("sent", [[], [part(b"x", more=True)]], ids=["nothing sent", "half sent"])
async def test_body_that_does_not_arrive_in_time_is_refused(sent: list[Message]) -> None:
    wire = Wire(*sent)
    with pytest.raises(BodyTooSlow, match=r"within 0\.02 s"):
        await intake(quick, body_timeout_s=0.02)(http_scope(), wire.receive, wire.send)


async def test_time_for_the_body_is_not_time_for_the_handler() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.06)
        await quick(scope, receive, send)

    wire = Wire(part(b"x"))
    await intake(slow, body_timeout_s=0.02)(http_scope(), wire.receive, wire.send)
    assert wire.statuses == [200]


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"ZSTD", b"deflate, gzip"])
async def test_compressed_body_is_refused_before_a_byte_is_read(coding: bytes) -> None:
    wire = Wire(part(b"x"))
    with pytest.raises(UnsupportedMedia):
        await intake(quick)(http_scope((b"content-encoding", coding)), wire.receive, wire.send)
    assert wire.num_received == 0


async def test_identity_content_encoding_is_accepted() -> None:
    wire = Wire(part(b"x"))
    await intake(quick)(http_scope((b"content-encoding", b"Identity")), wire.receive, wire.send)
    assert wire.statuses == [200]


# -- the handler --------------------------------------------------------------------------------------------------------


async def test_handler_is_given_one_message_and_then_nothing() -> None:
    later: asyncio.Task[Message] | None = None

    async def asks_again(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal later
        assert await receive() == part(b"x")
        later = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait([later], timeout=0.02)
        assert not done, "the handler was told something that only Intake may hear"
        later.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    wire = Wire(part(b"x"))
    await intake(asks_again)(http_scope(), wire.receive, wire.send)
    assert wire.statuses == [200]
    assert later is not None
    await asyncio.wait([later])


@pytest.mark.parametrize("error", [InvalidInput("wrong"), ZeroDivisionError("a bug")])
async def test_handlers_error_reaches_the_outside(error: Exception) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    wire = Wire(part(b"x"))
    with pytest.raises(type(error)) as raised:
        await intake(fails)(http_scope(), wire.receive, wire.send)
    assert raised.value is error


async def test_answer_that_was_given_is_not_taken_back_by_a_hang_up_after_it() -> None:
    wire = Wire(part(b"x"))
    await intake(quick)(http_scope(), wire.receive, wire.send)
    wire.hang_up()
    assert wire.statuses == [200]


# -- hanging up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [[], [part(b"{", more=True)]], ids=["before the body", "within the body"])
async def test_hang_up_before_the_body_is_whole_reaches_no_handler(sent: list[Message]) -> None:
    handler = Handler()
    wire = Wire(*sent, HANG_UP)
    await intake(handler)(http_scope(), wire.receive, wire.send)
    assert handler.bodies == []
    assert wire.sent == []


async def test_hang_up_cancels_the_handler_and_waits_until_it_has_cleaned_up() -> None:
    handler = Handler()
    wire = Wire(part(b"x"))
    request = asyncio.create_task(intake(handler)(http_scope(), wire.receive, wire.send))
    await handler.started.wait()
    wire.hang_up()
    await asyncio.wait_for(request, PATIENCE_S)
    assert handler.was_cancelled
    assert handler.was_cleaned_up
    assert wire.sent == []


async def test_more_body_after_the_body_is_no_hang_up() -> None:
    handler = Handler()
    wire = Wire(part(b"x"), part(b"y"), {"type": "http.request"})
    request = asyncio.create_task(intake(handler)(http_scope(), wire.receive, wire.send))
    await handler.started.wait()
    await eventually(lambda: wire.num_received == 3)
    handler.may_answer.set()
    await asyncio.wait_for(request, PATIENCE_S)
    assert (handler.was_cancelled, wire.statuses) == (False, [200])


async def test_error_after_a_disconnect_is_dropped() -> None:
    started = asyncio.Event()

    async def fails_late(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    wire = Wire(part(b"x"))
    request = asyncio.create_task(intake(fails_late)(http_scope(), wire.receive, wire.send))
    await started.wait()
    wire.hang_up()
    await asyncio.wait_for(request, PATIENCE_S)


@pytest.mark.parametrize("moment", ["reading", "handling"])
async def test_server_that_cancels_gets_its_cancellation_and_the_handler_is_cleaned_up(moment: str) -> None:
    handler = Handler()
    wire = Wire(*([part(b"x")] if moment == "handling" else []))
    request = asyncio.create_task(intake(handler)(http_scope(), wire.receive, wire.send))
    if moment == "handling":
        await handler.started.wait()
    else:
        await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert handler.was_cleaned_up is (moment == "handling")


# -- what is none of its business ---------------------------------------------------------------------------------------


Untouched = Callable[[Scope], Awaitable[None]]


@pytest.fixture
def untouched() -> Untouched:
    """Checks that the application is given the very channel that came in."""

    async def check(scope: Scope) -> None:
        seen: list[tuple[Scope, Receive, Send]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append((scope, receive, send))

        wire = Wire()
        receive, send = wire.receive, wire.send
        await intake(app)(scope, receive, send)
        assert seen == [(scope, receive, send)]
        assert wire.num_received == 0

    return check


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
async def test_request_without_a_body_passes(untouched: Untouched, method: str) -> None:
    await untouched(http_scope((b"content-length", b"11"), method=method))


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_conversations_pass(untouched: Untouched, kind: str) -> None:
    await untouched({"type": kind, "path": "/v1/rerank", "headers": []})


@pytest.mark.parametrize("path", ["/v1/rerank", "/ui/gradio_api/queue/join", "/"])
async def test_every_path_has_the_limit(path: str) -> None:
    wire = Wire(part(b"x" * (LIMIT + 1)))
    with pytest.raises(BodyTooLarge):
        await intake(quick)(http_scope(path=path), wire.receive, wire.send)


async def test_many_hang_ups_leave_nothing_behind() -> None:
    handlers = [Handler() for _ in range(50)]
    wires = [Wire(part(b"x")) for _ in handlers]
    requests = [
        asyncio.create_task(intake(handler)(http_scope(), wire.receive, wire.send))
        for handler, wire in zip(handlers, wires, strict=True)
    ]
    for number, (handler, wire) in enumerate(zip(handlers, wires, strict=True)):
        await handler.started.wait()
        if number % 2:
            wire.hang_up()
        else:
            handler.may_answer.set()
    await asyncio.wait_for(asyncio.gather(*requests), PATIENCE_S)
    assert [handler.was_cancelled for handler in handlers] == [bool(number % 2) for number in range(50)]
    assert all(handler.was_cleaned_up for handler in handlers)
