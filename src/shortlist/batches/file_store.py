"""The contract of file stores: where the bytes of files are. Their records are in Redis.

A name is made by the server. Nothing that a client sends becomes part of a path.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

NAME: Final = re.compile(r"file-[0-9a-f]{32}")
"""The names that `new_name` makes; stores leave all others alone."""

PIECE_BYTES: Final = 1 << 20
"""Bytes that are read or written at once."""


def new_name() -> str:
    """Return a name that no file has, and that cannot be guessed."""
    return f"file-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a store.

    Attributes:
        name: Its name.
        age_s: Seconds since it was written.
    """

    name: str
    age_s: float


class FileStore(Protocol):
    """Keeps files. A file is written once, whole or not at all, and never changes.

    Raises:
        FilesUnavailable: of every method: the store cannot be reached, or is full.
    """

    async def put(self, name: str, pieces: AsyncIterable[bytes]) -> int:
        """Store a file; return its size in bytes once it would survive a power cut.

        An error of `pieces`, and a cancellation, leave no file.
        """
        ...

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of a file from `start` to `end`.

        Raises:
            NotFound: there is no such file.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def list_files(self) -> AsyncIterator[StoredFile]:
        """Yield all files, and what is left of writes that did not end."""
        ...


async def whole(pieces: AsyncIterable[bytes]) -> bytes:
    """Return all pieces as one."""
    return b"".join([piece async for piece in pieces])


async def in_blocks(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the same bytes in blocks of at least `PIECE_BYTES`, but the last one."""
    block = bytearray()
    async for piece in pieces:
        block += piece
        if len(block) >= PIECE_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
