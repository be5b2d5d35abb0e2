"""Files in a bucket of S3, or of a server that speaks its protocol. Credentials and endpoint are the `AWS_*` variables."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from shortlist.batches.file_store import NAME, PIECE_BYTES, StoredFile, in_blocks
from shortlist.errors import BadSetting, FilesUnavailable, NotFound
from shortlist.installation import install_hint
from shortlist.telemetry import logger

if TYPE_CHECKING:
    from obstore import GetOptions

MAX_PARTS_AT_ONCE: Final = 2
"""Parts of a file that are on their way at once; each is in memory."""

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
READ_TIMEOUT: Final = timedelta(seconds=30)
CALL_TIMEOUT: Final = timedelta(hours=1)
RETRY_TIMEOUT: Final = timedelta(seconds=30)


class S3FileStore:
    """Implements `FileStore` in a bucket.

    Args:
        location: `s3://BUCKET/PREFIX`.

    Raises:
        BadSetting: the library is not installed, or the location is not one.
    """

    def __init__(self, location: str) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise BadSetting(
                f"The setting job_files (--job-files) needs {error.name}, which is not installed: {install_hint('jobs')}"
            ) from None
        try:
            self._bucket = S3Store.from_url(
                location,
                client_options={
                    "allow_http": True,  # of an endpoint that says so: the default is HTTPS
                    "timeout": CALL_TIMEOUT,
                    "read_timeout": READ_TIMEOUT,
                    "connect_timeout": CONNECT_TIMEOUT,
                },
                retry_config={"max_retries": 3, "retry_timeout": RETRY_TIMEOUT},
            )
        except (BaseError, ValueError):
            raise BadSetting("The setting job_files (--job-files) is not a bucket: write s3://BUCKET/PREFIX.") from None
        self._library = obstore

    async def put(self, name: str, pieces: AsyncIterable[bytes]) -> int:
        """Store a file; see `FileStore`. The library cancels an upload that does not end; a killed server cannot."""
        blocks = in_blocks(pieces)
        first = await anext(blocks, b"")
        num_bytes = len(first)

        async def counted() -> AsyncIterator[bytes]:
            nonlocal num_bytes
            yield first
            async for block in blocks:
                num_bytes += len(block)
                yield block

        source = counted() if len(first) >= PIECE_BYTES else first  # an upload in parts has at least one
        with _translated():
            await self._library.put_async(self._bucket, _checked(name), source, max_concurrency=MAX_PARTS_AT_ONCE)
        return num_bytes

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of a file; see `FileStore`."""
        with _translated():
            options: GetOptions = {}
            if end is not None:
                options["range"] = (start, end)
            elif start:
                options["range"] = {"offset": start}
            found = await self._library.get_async(self._bucket, _checked(name), options=options)
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    async def delete(self, name: str) -> None:
        """Remove a file; see `FileStore`."""
        with _translated(), contextlib.suppress(NotFound):
            await self._library.delete_async(self._bucket, _checked(name))

    async def list_files(self) -> AsyncIterator[StoredFile]:
        """Yield all files; see `FileStore`."""
        now = datetime.now(UTC)
        with _translated():
            async for found in self._library.list(self._bucket):
                for each in found:
                    if NAME.fullmatch(each["path"]):
                        yield StoredFile(each["path"], (now - each["last_modified"]).total_seconds())


def _checked(name: str) -> str:
    assert NAME.fullmatch(name), "Names come from `new_name`. This is a bug."
    return name


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise NotFound("There is no such file.") from None
    except BaseError as error:
        logger.warning("files: the bucket cannot be used", extra={"error": type(error).__name__})
        raise FilesUnavailable("Files cannot be stored or read now; try again later.") from None
