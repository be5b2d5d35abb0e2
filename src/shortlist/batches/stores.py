"""The stores of files, by their location."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from shortlist.batches.disk_store import DiskFileStore
from shortlist.batches.file_store import FileStore
from shortlist.batches.s3_store import S3FileStore
from shortlist.errors import BadSetting
from shortlist.installation import install_hint

S3_SCHEME: Final = "s3://"

UPLOADS_NEED: Final = "python_multipart"
"""What `api.form_data` reads uploads with; reported at the start, not at the first upload."""


def open_store(location: str) -> FileStore:
    """Return the store at a location: a folder, or `s3://BUCKET/PREFIX`.

    Raises:
        BadSetting: the folder cannot be written, the location is not one, or a library is not installed.
    """
    if find_spec(UPLOADS_NEED) is None:
        raise BadSetting(
            f"The setting job_files (--job-files) needs {UPLOADS_NEED}, which is not installed: {install_hint('jobs')}"
        )
    return S3FileStore(location) if location.startswith(S3_SCHEME) else DiskFileStore(Path(location))
