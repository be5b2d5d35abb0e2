"""Dispatches task requests at fixed paths directly to their handler. Pure ASGI.

Starlette's route matching and FastAPI's dependencies were a seventh of the cost of a cached request. Task paths are fixed, and
their handler reads the body itself. FastAPI keeps these routes for /docs, for paths with parameters and for other methods.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class FastRoutes:
    """ASGI middleware. Sets `scope["route"]`, as the router does.

    Args:
        app: The inner application, for all other requests.
        routes: Routes by path; POST requests go directly to their endpoints, which take only the request.

    Raises:
        ServiceError: to the outer middleware.
    """

    def __init__(self, app: ASGIApp, *, routes: Mapping[str, APIRoute]) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive))
        await response(scope, receive, send)
