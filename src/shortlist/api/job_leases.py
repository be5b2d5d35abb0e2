"""Requests of workers: those for a job count to its owner, who was charged when it was accepted. Pure ASGI.

With API keys, only a key with the role `worker` may send a lease: tokens rest in Redis, and alone they open nothing.
"""

from __future__ import annotations

import contextlib
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.api_keys import ApiKeys, Role
from shortlist.api.request_state import state_of
from shortlist.errors import Forbidden, JobsUnavailable
from shortlist.jobs.job_service import JobService
from shortlist.jobs.job_worker import LEASE_HEADER

HEADER: Final = LEASE_HEADER.encode()


class JobLeases:
    """ASGI middleware; inside `Auth`, whose caller it replaces, and outside of `CallerLimits`.

    Args:
        app: The inner application.
        jobs: The jobs.
        keys: The valid keys.

    Raises:
        Forbidden: to the outer middleware; the key has another role.
    """

    def __init__(self, app: ASGIApp, *, jobs: JobService, keys: ApiKeys) -> None:
        self.app = app
        self._jobs = jobs
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as its owner's if it is a worker's."""
        lease = dict(scope["headers"]).get(HEADER) if scope["type"] == "http" else None
        if lease is not None:
            state = state_of(scope)
            if self._keys.are_needed and state.role is not Role.WORKER:
                raise Forbidden(f"Only an API key with the role `worker` may send {LEASE_HEADER}.")
            with contextlib.suppress(JobsUnavailable):  # then it counts as any other request
                job_id, _, token = lease.decode("latin-1").partition(":")
                owner = await self._jobs.store.owner_of(job_id, token)
                if owner is not None:
                    state.caller, state.is_job = owner, True
        await self.app(scope, receive, send)
