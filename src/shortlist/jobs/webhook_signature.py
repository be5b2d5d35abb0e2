"""Signs webhooks as Standard Webhooks does, so that every library for them can verify ours. Pure.

Source: the Standard Webhooks specification 1.0.0, "Verifying webhook authenticity".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of all secrets
SECRET_BYTES: Final = 32
"""Random bytes of a secret. Source: the specification asks for 24 to 64."""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One message, as it is sent in one attempt.

    Attributes:
        id: The same for every attempt, so that a receiver can tell repetitions. It contains no full stop.
        timestamp_s: Unix time of this attempt in whole seconds.
        body: JSON, exactly as it is sent.
    """

    id: str
    timestamp_s: int
    body: bytes


def new_secret() -> str:
    """Return a new signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(message: WebhookMessage, signing_secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a message, with one signature per secret: while secrets rotate, both are valid."""
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(message.timestamp_s),
        "webhook-signature": " ".join(_signature(message, secret) for secret in signing_secrets),
    }


def _signature(message: WebhookMessage, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b".".join((message.id.encode(), str(message.timestamp_s).encode(), message.body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
