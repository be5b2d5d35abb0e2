"""What is asked of models goes straight to its handler; everything else is the router's business."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shortlist.api.dialects.table import ENTRIES
from shortlist.api.fast_routes import FastRoutes
from shortlist.api.routes import fast_routes, handle_task, task_router
from shortlist.errors import InvalidInput
from tests.support.wire import Wire, http_scope, part

router = APIRouter()


@router.post("/task")
async def task(request: Request) -> Response:
    return Response(b"did " + await request.body())


@router.post("/refused")
async def refused(request: Request) -> Response:
    raise InvalidInput(f"no {len(await request.body())} bytes")


ROUTES = {route.path: route for route in router.routes if isinstance(route, APIRoute)}


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"router")(scope, receive, send)


async def answered(scope: Scope) -> bytes:
    wire = Wire(part(b"it"))
    await FastRoutes(_inside, routes=ROUTES)(scope, wire.receive, wire.send)
    return wire.body


async def test_fast_route_bypasses_the_router_and_sets_the_route() -> None:
    scope = http_scope(path="/task")
    assert await answered(scope) == b"did it"
    assert scope["route"].path == "/task"


@pytest.mark.parametrize(("method", "path"), [("GET", "/task"), ("POST", "/other"), ("POST", "/task/"), ("POST", "/")])
async def test_everything_else_is_the_routers(method: str, path: str) -> None:
    assert await answered(http_scope(method=method, path=path)) == b"router"


async def test_errors_are_left_to_whatever_is_outside() -> None:
    with pytest.raises(InvalidInput, match="no 2 bytes"):
        await answered(http_scope(path="/refused"))


async def test_lifespan_and_websockets_pass() -> None:
    seen: list[str] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    wire = Wire()
    for kind in ("lifespan", "websocket"):
        await FastRoutes(inside, routes=ROUTES)({"type": kind, "path": "/task"}, wire.receive, wire.send)
    assert seen == ["lifespan", "websocket"]


def test_every_fixed_path_of_a_dialect_is_a_task() -> None:
    routes = fast_routes(task_router())
    assert routes.keys() == {path for path in ENTRIES if "{" not in path}
    assert all(route.endpoint is handle_task and route.methods == {"POST"} for route in routes.values())
