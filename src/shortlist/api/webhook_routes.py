"""The secret with which a caller's webhooks are signed."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from shortlist.api.api_keys import Role
from shortlist.api.job_routes import Jobs
from shortlist.api.request_state import state_of
from shortlist.errors import Forbidden
from shortlist.schemas.jobs import WebhookSecret

router = APIRouter(prefix="/v1/webhooks", tags=["jobs"])


@router.get("/secret")
async def webhook_secret(request: Request, jobs: Jobs) -> Response:
    """Return the secret that the caller's webhooks are signed with. Who has it can forge them: keys that only read have not."""
    if state_of(request.scope).role is Role.READ:
        raise Forbidden("This API key may only read jobs: its role is `read`.")
    return _answer(await jobs.webhooks.secret(state_of(request.scope).caller))


@router.post("/secret")
async def rotate_webhook_secret(request: Request, jobs: Jobs) -> Response:
    """Replace that secret. For a day, webhooks are signed with the previous one, too."""
    return _answer(await jobs.webhooks.rotate_secret(state_of(request.scope).caller))


def _answer(secret: str) -> Response:
    body: WebhookSecret = {"object": "webhook.secret", "secret": secret}
    return Response(orjson.dumps(body), headers={"cache-control": "no-store"}, media_type="application/json")
