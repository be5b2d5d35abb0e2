"""A user of the page as a client of the server: key, address, language.

All calls go through the server's whole HTTP stack in this process, so the page can do nothing that another client cannot.
Cancel is a disconnect, as over a socket.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.client import AsyncClient
from shortlist.client.errors import read_error
from shortlist.errors import InvalidInput
from shortlist.ui.i18n import Messages, messages_for

if TYPE_CHECKING:
    import gradio as gr

IN_PROCESS_URL: Final = "http://localhost"
LANGUAGE_COOKIE: Final = "shortlist-language"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One user, for one click.

    Attributes:
        transport: Transport to the server.
        messages: The user's language.
        url: The server's address in the user's browser.
        api_key: The key that the browser signed in with.
    """

    transport: httpx2.AsyncBaseTransport
    messages: Messages
    url: str = IN_PROCESS_URL
    api_key: str | None = None

    def client(self) -> AsyncClient:
        """Return a client with this user's key. It does not retry: the page shows that the server is busy."""
        return AsyncClient(IN_PROCESS_URL, api_key=self.api_key, transport=self.transport, max_retries=0)

    async def request(self, path: str, body: object = None) -> httpx2.Response:
        """Send a request with this user's key: POST with a body, GET without.

        Raises:
            ServiceError: the error the server answered with.
        """
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.api_key}"} if self.api_key else {})
        async with httpx2.AsyncClient(base_url=IN_PROCESS_URL, transport=self.transport, timeout=None) as http:
            if body is None:
                response = await http.get(path, headers=headers)
            else:
                response = await http.post(path, content=_encoded(body), headers=headers)
        if response.status_code != httpx2.codes.OK:
            raise read_error(response)
        return response


SessionFactory = Callable[["gr.Request"], Session]
"""Returns the session of a request to the page."""


def session_factory(app: ASGIApp) -> SessionFactory:
    """Return a function that calls the app in this process with a request's credentials, through all middlewares."""
    in_process_app = disconnect_on_cancel(app)

    def session_for(request: gr.Request) -> Session:
        headers = request.headers
        return Session(
            transport=httpx2.ASGITransport(app=in_process_app, raise_app_exceptions=False, client=_address(request)),
            messages=messages_for(headers.get("accept-language"), chosen=_language_cookie(headers.get("cookie"))),
            url=_url(headers.get("origin"), str(request.base_url)),
            api_key=_api_key(str(headers.get("authorization", ""))),
        )

    return session_for


def disconnect_on_cancel(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that a cancelled in-process call disconnects, and waits until the app has finished.

    Without this, the cancellation would be raised inside the app, which handles that only at shutdown.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        is_cancelled, is_body_read = asyncio.Event(), False

        async def receive_or_disconnect() -> Message:
            nonlocal is_body_read
            if is_body_read:
                await is_cancelled.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            is_body_read = not message.get("more_body", False)
            return message

        running = asyncio.ensure_future(app(scope, receive_or_disconnect, send))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            is_cancelled.set()
            await asyncio.wait({running})
            raise

    return call


def _encoded(body: object) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise InvalidInput("The request must be valid Unicode.") from error


def _address(request: gr.Request) -> tuple[str, int]:
    """Return the user's address, by which limits count where there are no keys."""
    client = request.client
    return (str(client.host), int(client.port)) if client is not None else ("127.0.0.1", 0)


def _url(origin: str | None, base_url: str) -> str:
    """Return the server's address in the browser, without a trailing slash; the origin differs behind an untrusted proxy."""
    if origin is None or not origin.startswith("http"):
        return base_url.rstrip("/")
    return f"{origin}{urlsplit(base_url).path}".rstrip("/")


def _api_key(authorization: str) -> str | None:
    """Return the browser's key: the password of HTTP basic authentication, with any user name."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return _valid_key(credentials.strip())
    try:
        return _valid_key(base64.b64decode(credentials, validate=True).decode().partition(":")[2])
    except (binascii.Error, UnicodeDecodeError):
        return None


def _valid_key(key: str) -> str | None:
    """Return a key; None if empty or not printable ASCII."""
    return key if key and key.isascii() and key.isprintable() else None


def _language_cookie(cookie: str | None) -> str | None:
    """Return the chosen language; None without a valid cookie."""
    try:
        jar = SimpleCookie(cookie or "")
    except CookieError:
        return None
    return jar[LANGUAGE_COOKIE].value if LANGUAGE_COOKIE in jar else None
