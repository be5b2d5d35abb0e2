"""Reads and writes transcripts: requests with the answers that the server gave, one text file per server and subject.

A transcript is text, so that a diff shows what changed for clients:

    server: both

    === top_n
    POST /v1/rerank
    X-Request-Priority: batch
    {"query":"red fox","documents":["a cat","the red fox"],"top_n":1}
    --- 200 application/json x-served-model=fake x-cache-hits=0
    {"id":"rerank-golden", ...}

A body stands byte for byte on one line, except for clocks, the version, and messages for people. These are replaced with
placeholders; the messages stand in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx2
import orjson

from shortlist import __version__

RECORDED: Final = Path(__file__).with_name("recorded")
MESSAGES: Final = RECORDED / "messages.txt"
REQUEST_ID: Final = "golden"

STABLE_HEADERS: Final = (
    "location",
    "allow",
    "connection",
    "retry-after",
    "www-authenticate",
    "x-served-model",
    "x-cache-hits",
)
"""The headers of answers that are recorded, if they are there; the others are times or belong to the transport."""

_CLOCKS: Final = re.compile(rb'"(created|unix)":[0-9.]+')
_MESSAGE: Final = b'"<message>"'


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        name: What the request is about; unique in its transcript.
        method: The HTTP method.
        path: The path, with its query string.
        headers: The headers that the request sends, in order.
        body: The request's body; None for none.
        answer: The status line and the body, if it has one; empty before the first recording.
        messages: The messages for people in that answer.
    """

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    answer: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """The exchanges with one server, in order."""

    server: str
    exchanges: Sequence[Exchange] = field(default_factory=tuple)

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Return the transcript in a file."""
        first, _, rest = path.read_text(encoding="utf-8").partition("\n=== ")
        server = first.strip().removeprefix("server: ")
        return cls(server, tuple(_parsed(part) for part in rest.split("\n=== ")))

    def written(self) -> str:
        """Return the transcript as the text of its file."""
        return "\n".join([f"server: {self.server}", *(_lines(each) for each in self.exchanges)]) + "\n"


def recorded(exchange: Exchange, response: httpx2.Response) -> Exchange:
    """Return the exchange with this answer."""
    headers = [f"{name}={response.headers[name]}" for name in STABLE_HEADERS if name in response.headers]
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS:  # an estimate in seconds, which depends on the clock
        headers = [re.sub(r"^(retry-after)=[1-9]\d*$", r"\1=<seconds>", each) for each in headers]
    status = " ".join([str(response.status_code), response.headers.get("content-type", "-"), *headers])
    body, messages = _masked(response.content)
    return replace(exchange, answer=(status, body) if body else (status,), messages=tuple(messages))


def _masked(content: bytes) -> tuple[str, Iterator[str]]:
    """Return the body with placeholders, and the messages that they replace."""
    body = _CLOCKS.sub(rb'"\1":"<clock>"', content).replace(f'"version":"{__version__}"'.encode(), b'"version":"<version>"')
    try:
        messages = list(dict.fromkeys(_messages(orjson.loads(content))))
    except orjson.JSONDecodeError:
        messages = []
    for message in messages:
        body = body.replace(orjson.dumps(message), _MESSAGE)
    return body.decode(), iter(messages)


def _messages(body: object) -> Iterator[str]:
    """Yield the messages for people: those of an error, and those of the documents that failed."""
    if not isinstance(body, dict):
        return
    inner = body.get("error")
    holders = [body, inner, *(body.get("failed_documents") or ())]
    for holder in holders:
        if isinstance(holder, dict):
            yield from (holder[key] for key in ("message", "detail") if isinstance(holder.get(key), str))
    if isinstance(inner, str):
        yield inner


def _parsed(text: str) -> Exchange:
    request, _, answer = text.strip("\n").partition("\n--- ")
    name, line, *rest = request.split("\n")
    method, _, path = line.partition(" ")
    bodies = [each for each in rest if not re.match(r"[A-Za-z][A-Za-z-]*: ", each)]
    headers = dict(each.split(": ", 1) for each in rest if each not in bodies)
    body = "\n".join(bodies).encode() if bodies else None
    return Exchange(name, method, path, headers, body, answer=tuple(answer.split("\n", 1)) if answer else ())


def _lines(each: Exchange) -> str:
    headers = [f"{name}: {value}" for name, value in each.headers.items()]
    body = [] if each.body is None else [each.body.decode()]
    status, *answer = each.answer
    return "\n".join(["", f"=== {each.name}", f"{each.method} {each.path}", *headers, *body, f"--- {status}", *answer])
