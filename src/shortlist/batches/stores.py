"""The stores of files, by their location."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shortlist.batches.disk_store import DiskFileStore
from shortlist.batches.file_store import FileStore
from shortlist.batches.s3_store import S3FileStore

S3_SCHEME: Final = "s3://"


def open_store(location: str) -> FileStore:
    """Return the store at a location: a folder, or `s3://BUCKET/PREFIX`.

    Raises:
        BadSetting: the folder cannot be written, or the location or its library is missing.
    """
    return S3FileStore(location) if location.startswith(S3_SCHEME) else DiskFileStore(Path(location))
