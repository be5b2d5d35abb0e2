"""Files in a folder: readable by the server's user only, written under another name and renamed when they are on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from shortlist.batches.file_store import NAME, PIECE_BYTES, StoredFile, in_blocks
from shortlist.errors import BadSetting, FilesUnavailable, NotFound
from shortlist.telemetry import logger

UNFINISHED: Final = ".unfinished"
"""Suffix of a file that is being written, behind its name and something random."""


REST: Final = re.compile(rf"{NAME.pattern}-[0-9a-f]{{16}}{re.escape(UNFINISHED)}")
"""The name of a file that was not finished."""


class DiskFileStore:
    """Implements `FileStore` in a folder, which all servers share.

    Args:
        folder: The folder; made if it is missing, for this user only.

    Raises:
        BadSetting: it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = folder / f"{secrets.token_hex(8)}{UNFINISHED}"
            _create(probe).close()
            probe.unlink()
        except OSError as error:
            raise BadSetting(f"The folder {folder} (--job-files) cannot be written: {error.strerror}.") from None

    async def put(self, name: str, pieces: AsyncIterable[bytes]) -> int:
        """Store a file; see `FileStore`."""
        path, num_bytes = self._path(name), 0
        unfinished = path.with_name(f"{name}-{secrets.token_hex(8)}{UNFINISHED}")
        with _translated():
            file = await asyncio.to_thread(_create, unfinished)
        with contextlib.ExitStack() as undo:
            undo.callback(unfinished.unlink, missing_ok=True)
            undo.callback(file.close)  # waits for a write that still runs in its thread
            async for block in in_blocks(pieces):
                with _translated():
                    await asyncio.to_thread(file.write, block)
                num_bytes += len(block)
            with _translated():
                await asyncio.to_thread(_commit, file, unfinished, path)
            undo.pop_all()
        return num_bytes

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of a file; see `FileStore`."""
        with _translated():
            file = await asyncio.to_thread(_open, self._path(name), start)
        with file:
            position = start
            while end is None or position < end:
                size = PIECE_BYTES if end is None else min(PIECE_BYTES, end - position)
                with _translated():
                    piece = await asyncio.to_thread(file.read, size)
                if not piece:
                    return
                position += len(piece)
                yield piece

    async def delete(self, name: str) -> None:
        """Remove a file; see `FileStore`."""
        with _translated():
            await asyncio.to_thread(self._path(name, any_name=True).unlink, missing_ok=True)

    async def list_files(self) -> AsyncIterator[StoredFile]:
        """Yield all files; see `FileStore`."""
        with _translated():
            found = await asyncio.to_thread(self._scan)
        for each in found:
            yield each

    def _scan(self) -> list[StoredFile]:
        now_s = time.time()  # noqa: TID251 - files carry the time of the wall
        found = []
        for entry in os.scandir(self._folder):
            if NAME.fullmatch(entry.name) or REST.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    found.append(StoredFile(entry.name, now_s - entry.stat().st_mtime))
        return found

    def _path(self, name: str, *, any_name: bool = False) -> Path:
        is_ours = NAME.fullmatch(name) or (any_name and REST.fullmatch(name))
        assert is_ours, "Names come from `new_name`. This is a bug."
        return self._folder / name


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.warning("files: the folder cannot be used", extra={"error": error.strerror})
        raise FilesUnavailable("Files cannot be stored or read now; try again later.") from None


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _commit(file: BinaryIO, unfinished: Path, path: Path) -> None:
    """Put a written file in its place, so that it is there after a power cut."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open(path: Path, start: int) -> BinaryIO:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound("There is no such file.") from None
    file.seek(start)
    return file
