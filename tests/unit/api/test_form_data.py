"""An upload is read as it arrives, in whatever pieces, and never held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

pytest.importorskip("python_multipart")
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from shortlist.api.form_data import MAX_FIELD_BYTES, MAX_FIELDS, UploadForm
from shortlist.api.request_body import ClientDisconnected
from shortlist.errors import BodyTooLarge, BodyTooSlow, InvalidInput, UnsupportedMedia
from tests.support.wire import HANG_UP, part

BOUNDARY: Final = "----0123456789"
KIND: Final = f"multipart/form-data; boundary={BOUNDARY}"


def field(name: str, value: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + value + b"\r\n"


def body_of(*fields: bytes) -> bytes:
    return b"".join(fields) + f"--{BOUNDARY}--\r\n".encode()


def channel(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        return HANG_UP

    return receive


def pieces(body: bytes, size: int) -> list[Message]:
    starts = range(0, len(body), size)
    return [part(body[start : start + size], more=start + size < len(body)) for start in starts]


def form(body: bytes, *, size: int = 1000, kind: str = KIND, max_bytes: int = 10_000) -> UploadForm:
    return UploadForm(channel(*pieces(body, size)), kind, max_bytes=max_bytes, piece_timeout_s=5)


async def content(found: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in found])


@given(st.binary(max_size=500), st.integers(1, 400), st.booleans())
async def test_file_and_fields_come_back_in_any_pieces_and_order(data: bytes, size: int, file_is_first: bool) -> None:
    fields = [field("purpose", b"batch"), field("file", data, "a b.jsonl")]
    found = form(body_of(*(reversed(fields) if file_is_first else fields)), size=size)
    assert await content(found.file()) == data
    assert (found.fields, found.filename) == ({"purpose": "batch"}, "a b.jsonl")


async def test_file_is_not_held() -> None:
    body = body_of(field("file", b"x" * 9000, "a"))
    found, num_pieces = form(body, size=100), 0
    async for piece in found.file():
        num_pieces += 1
        assert len(piece) <= 100
    assert num_pieces >= 90


@pytest.mark.parametrize(
    "kind", ["application/json", "", "multipart/form-data", "multipart/mixed; boundary=a", "text/plain; boundary=a"]
)
def test_other_bodies_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMedia):
        form(b"{}", kind=kind)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        body_of(),
        body_of(field("purpose", b"batch")),
        body_of(field("file", b"x", "a"), field("file", b"y", "b")),
        body_of(field("file", b"x", "a"))[:-10],
        field("file", b"x", "a"),
        body_of(field("purpose", b"x" * (MAX_FIELD_BYTES + 1)), field("file", b"x", "a")),
        body_of(*(field(f"f{number}", b"") for number in range(MAX_FIELDS + 1)), field("file", b"x", "a")),
        f"--{BOUNDARY}\r\n{'x' * 10_000}: y\r\n\r\n".encode(),
        f"--{BOUNDARY}\r\nno header\r\n\r\n".encode(),
    ],
    ids=[
        "empty",
        "text",
        "no field",
        "no file",
        "two files",
        "cut",
        "no end",
        "long field",
        "many fields",
        "long header",
        "no colon",
    ],
)
async def test_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        await content(form(body or b"\r\n").file())


async def test_file_beyond_the_limit_is_refused_before_it_has_arrived() -> None:
    body = body_of(field("file", b"x" * 1000, "a"))
    whole = [*pieces(body, 100)[:6]]
    found = UploadForm(channel(*whole), KIND, max_bytes=300, piece_timeout_s=60)
    with pytest.raises(BodyTooLarge, match="max_file_bytes"):
        await content(found.file())


async def test_upload_that_stalls_is_given_up() -> None:
    found = UploadForm(channel(part(b"--", more=True)), KIND, max_bytes=300, piece_timeout_s=0.05)
    with pytest.raises(BodyTooSlow):
        await content(found.file())


async def test_client_that_leaves_ends_the_upload() -> None:
    found = UploadForm(channel(part(b"--", more=True), HANG_UP), KIND, max_bytes=300, piece_timeout_s=5)
    with pytest.raises(ClientDisconnected):
        await content(found.file())


async def test_long_name_is_cut() -> None:
    found = form(body_of(field("file", b"x", "n" * 2000)))
    await content(found.file())
    assert found.filename == "n" * 255
