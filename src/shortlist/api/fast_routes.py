"""The short way to what is asked of models. Pure ASGI.

Looking through every route, and what FastAPI prepares for handlers that take dependencies, was a seventh of what a request
cost whose answer is remembered. What is asked of models needs neither: its paths are fixed, and its handler reads the body
itself. FastAPI keeps these routes for its documentation, for paths with names in them, and for other methods.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class FastRoutes:
    """ASGI middleware. Sets `scope["route"]`, as the router does.

    Args:
        app: What handles everything else.
        routes: The routes of POST requests that go straight to their endpoints, which take the request alone; by path.

    Raises:
        ServiceError: to whatever is outside.
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
