"""Sends the requests of a transcript to its server, and writes what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2

from tests.goldens.servers import serving
from tests.goldens.transcript import MESSAGES, RECORDED, REQUEST_ID, Exchange, Transcript, recorded


def transcripts() -> list[Path]:
    """Return the files of all transcripts."""
    return sorted(RECORDED.glob("*.http"))


async def replayed(transcript: Transcript) -> Transcript:
    """Return the transcript with the answers that the server gives now."""
    async with serving(transcript.server) as client:
        return replace(transcript, exchanges=tuple([await _asked(client, each) for each in transcript.exchanges]))


async def _asked(client: httpx2.AsyncClient, exchange: Exchange) -> Exchange:
    own = {"content-type": "application/json"} if exchange.body is not None else {}
    headers = {"x-request-id": REQUEST_ID, **own, **exchange.headers}
    response = await client.request(exchange.method, exchange.path, content=exchange.body, headers=headers)
    return recorded(exchange, response)


def messages(found: Iterable[tuple[str, Transcript]]) -> str:
    """Return the text of the file that holds all messages for people."""
    return "".join(_messages(found))


def _messages(found: Iterable[tuple[str, Transcript]]) -> Iterator[str]:
    for name, transcript in found:
        for each in transcript.exchanges:
            yield from (f"{name} | {each.name} | {message}\n" for message in each.messages)


async def record() -> None:
    """Replay every transcript, and write the answers into its file."""
    found = [(path, await replayed(Transcript.read(path))) for path in transcripts()]
    for path, transcript in found:
        path.write_text(transcript.written(), encoding="utf-8")
    MESSAGES.write_text(messages((path.stem, transcript) for path, transcript in found), encoding="utf-8")
