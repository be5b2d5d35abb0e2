"""Requests of workers: those for a job count to its owner, who was charged when it was accepted. Pure ASGI."""

from __future__ import annotations

import contextlib
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.request_state import state_of
from shortlist.errors import JobsUnavailable
from shortlist.jobs.job_service import JobService
from shortlist.jobs.job_worker import LEASE_HEADER

HEADER: Final = LEASE_HEADER.encode()


class JobLeases:
    """ASGI middleware; inside `Auth`, whose caller it replaces, and outside of `CallerLimits`.

    The header proves itself: only the worker that holds a job now knows its lease's token.

    Args:
        app: The inner application.
        jobs: The jobs.
    """

    def __init__(self, app: ASGIApp, *, jobs: JobService) -> None:
        self.app = app
        self._jobs = jobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as its owner's if it is a worker's."""
        lease = dict(scope["headers"]).get(HEADER) if scope["type"] == "http" else None
        if lease is not None:
            with contextlib.suppress(JobsUnavailable):  # then it counts as any other request
                job_id, _, token = lease.decode("latin-1").partition(":")
                owner = await self._jobs.store.owner_of(job_id, token)
                if owner is not None:
                    state = state_of(scope)
                    state.caller, state.is_job = owner, True
        await self.app(scope, receive, send)
