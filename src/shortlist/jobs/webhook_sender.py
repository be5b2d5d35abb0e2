"""Sends one webhook: to a checked address, without redirects, within a time and a size.

What becomes of a failed one, `webhook_outbox` decides.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import httpx2

from shortlist import __version__
from shortlist.client.errors import retry_after_s
from shortlist.errors import InvalidInput
from shortlist.jobs.webhook_signature import WebhookMessage, signed_headers
from shortlist.jobs.webhook_targets import Address, WebhookTargets, address_of, host_of

TIMEOUT_S: Final = 15.0
"""For one attempt: name, connection and answer. Source: the Standard Webhooks specification recommends 15 to 30."""

MAX_ANSWER_BYTES: Final = 65_536
"""Of an answer's body, which is not used. It is read so that the receiver does not see an error."""

MAX_ADDRESSES: Final = 4
"""Addresses of one name that are tried."""


class _AddressRefused(OSError):
    """No address of the host is allowed."""


REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (InvalidInput, "the host is not allowed"),
    (_AddressRefused, "the host's address is not allowed"),
    (socket.gaierror, "the host has no address"),
    (TimeoutError, "no answer in time"),
    (httpx2.TimeoutException, "no answer in time"),
    (httpx2.ConnectError, "no connection"),
    (Exception, "the connection failed"),
)
"""What people are told of an error, by its type."""


class WebhookOutcome(StrEnum):
    """What became of an attempt; the values are metric labels."""

    DELIVERED = "delivered"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one attempt.

    Attributes:
        outcome: GONE if the receiver wants no more webhooks (410); every other failure may be tried again.
        reason: For people: a status or what failed. Nothing of the receiver's text.
        retry_after_s: The receiver's `Retry-After` in seconds.
    """

    outcome: WebhookOutcome
    reason: str
    retry_after_s: float | None = None


class WebhookSender:
    """Sends webhooks to allowed targets.

    Connections are not kept: one that was opened for a name must not serve another name at the same address.

    Args:
        targets: The allow-list.
        timeout_s: For one attempt.
        tls: Verifies receivers; None verifies them by the system's authorities.
    """

    def __init__(self, targets: WebhookTargets, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None) -> None:
        self._targets = targets
        self._timeout_s = timeout_s
        self._http = httpx2.AsyncClient(
            verify=True if tls is None else tls,
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment would resolve names by itself
            limits=httpx2.Limits(max_keepalive_connections=0),
            timeout=timeout_s,
        )

    async def send(self, url: str, message: WebhookMessage, signing_secrets: Sequence[str]) -> Attempt:
        """Send a message once, and return what became of it."""
        headers = {
            "content-type": "application/json",
            "user-agent": f"shortlist/{__version__}",
            "accept-encoding": "identity",
            **signed_headers(message, signing_secrets),
        }
        try:
            parsed = self._targets.check(url)  # the allow-list may have changed since the job was accepted
            async with asyncio.timeout(self._timeout_s):
                return await self._send_to_first(await self._allowed_addresses(parsed), parsed, message.body, headers)
        except (InvalidInput, OSError, httpx2.HTTPError) as error:
            return Attempt(WebhookOutcome.FAILED, next(reason for kind, reason in REASONS if isinstance(error, kind)))

    async def close(self) -> None:
        """Close the client."""
        await self._http.aclose()

    async def _allowed_addresses(self, url: httpx2.URL) -> list[Address]:
        """Return the addresses of a URL's host that webhooks may be sent to, those that this machine prefers first."""
        found = await asyncio.get_running_loop().getaddrinfo(host_of(url), url.port or 0, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(address_of(str(each[4][0])) for each in found)
        allowed = [each for each in addresses if each is not None and self._targets.may_connect(each, scheme=url.scheme)]
        if not allowed:
            raise _AddressRefused
        return allowed[:MAX_ADDRESSES]

    async def _send_to_first(
        self, addresses: Sequence[Address], url: httpx2.URL, body: bytes, headers: dict[str, str]
    ) -> Attempt:
        """Send to the first address that accepts a connection."""
        for address in addresses[:-1]:
            try:
                return await self._send_to(address, url, body, headers)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._send_to(addresses[-1], url, body, headers)

    async def _send_to(self, address: Address, url: httpx2.URL, body: bytes, headers: dict[str, str]) -> Attempt:
        """Send to an address; the receiver and its certificate are those of the name."""
        request = self._http.build_request(
            "POST",
            url.copy_with(host=str(address)),
            content=body,
            headers={**headers, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": host_of(url)},
        )
        response = await self._http.send(request, stream=True)
        try:
            await _skip_body(response)
        finally:
            await response.aclose()
        return _attempt(response)


async def _skip_body(response: httpx2.Response) -> None:
    num_bytes = 0
    async for part in response.aiter_raw():
        num_bytes += len(part)
        if num_bytes > MAX_ANSWER_BYTES:
            return


def _attempt(response: httpx2.Response) -> Attempt:
    reason = f"status {response.status_code}"
    if response.is_success:
        return Attempt(WebhookOutcome.DELIVERED, reason)
    if response.status_code == httpx2.codes.GONE:
        return Attempt(WebhookOutcome.GONE, reason)
    return Attempt(WebhookOutcome.FAILED, reason, retry_after_s(response.headers, now=dt.datetime.now(dt.UTC)))
