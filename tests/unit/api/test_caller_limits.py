"""A caller over its limit gets 429 with Retry-After before a byte of the body is read."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from shortlist.api.caller_limits import CallerLimits
from shortlist.api.quota import Quota
from shortlist.errors import Overloaded
from tests.support.wire import Wire, http_scope, part, with_state


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def limited(app: object = answers, *, per_minute: int | None = None, running: int | None = None) -> CallerLimits:
    return CallerLimits(app, quota=Quota(max_per_minute=per_minute, max_running=running), public_prefixes=("/ui",))  # type: ignore[arg-type]


async def call(limits: CallerLimits, *, caller: str = "a", method: str = "POST", path: str = "/v1/rerank") -> Wire:
    wire = Wire(part(b"{}"))
    await limits(with_state(http_scope(method=method, path=path), caller=caller), wire.receive, wire.send)
    return wire


async def test_one_too_many_is_refused_before_its_body_is_read() -> None:
    limits = limited(per_minute=1)
    await call(limits)
    wire = Wire(part(b"{}"))
    with pytest.raises(Overloaded):
        await limits(with_state(http_scope(), caller="a"), wire.receive, wire.send)
    assert (wire.num_received, wire.sent) == (0, [])
    assert (await call(limits, caller="b")).statuses == [200]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("GET", "/health"), ("GET", "/metrics"), ("POST", "/ui/gradio_api/queue/join"), ("GET", "/ui/")],
)
async def test_requests_without_work_are_not_counted(method: str, path: str) -> None:
    limits = limited(per_minute=1, running=1)
    await call(limits)
    for _ in range(10):
        assert (await call(limits, method=method, path=path)).statuses == [200]


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/embeddings", "/v1/explain", "/some/new/task"])
async def test_every_task_is_counted_the_new_ones_too(path: str) -> None:
    limits = limited(per_minute=1)
    await call(limits, path=path)
    with pytest.raises(Overloaded):
        await call(limits, path=path)


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError(), Overloaded("busy", retry_after_s=1)])
async def test_request_is_counted_out_however_it_ends(error: BaseException) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    limits = limited(fails, running=1)
    for _ in range(3):
        with pytest.raises(type(error)):
            await call(limits)
    assert limits._quota._accounts["a"].num_running == 0


async def test_requests_at_once_are_counted_while_they_run() -> None:
    done = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await done.wait()
        await answers(scope, receive, send)

    limits = limited(waits, running=2)
    running = [asyncio.create_task(call(limits)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await call(limits)
    done.set()
    assert [wire.statuses for wire in await asyncio.gather(*running)] == [[200], [200]]
    assert (await call(limits)).statuses == [200]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_conversations_pass(kind: str) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    wire = Wire()
    await limited(app, per_minute=1)({"type": kind, "path": "/"}, wire.receive, wire.send)
    assert len(seen) == 1


async def test_without_limits_no_caller_is_counted() -> None:
    limits = limited()
    for _ in range(100):
        await call(limits)
    assert len(limits._quota) == 0
