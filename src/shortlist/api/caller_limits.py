"""Limits per caller: counts a request before its body is read. Pure ASGI."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.quota import Quota
from shortlist.api.request_state import state_of


class CallerLimits:
    """ASGI middleware; inside `Auth`, which sets the caller.

    Counts every POST except the page's own, whose work arrives as separate requests of its user, and those of workers for jobs,
    which were counted when they were accepted.

    Args:
        app: The inner application.
        quota: The limits per caller.
        public_prefixes: Path prefixes that are not counted.

    Raises:
        Overloaded: to the outer middleware.
    """

    def __init__(self, app: ASGIApp, *, quota: Quota, public_prefixes: Sequence[str]) -> None:
        self.app = app
        self._quota = quota
        self._public_prefixes = tuple(public_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it while it runs, or raise."""
        is_work = scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith(self._public_prefixes)
        if not is_work or not self._quota.is_limited or state_of(scope).is_job:
            await self.app(scope, receive, send)
            return
        caller = state_of(scope).caller
        self._quota.enter(caller, time.monotonic())
        try:
            await self.app(scope, receive, send)
        finally:
            self._quota.leave(caller)
