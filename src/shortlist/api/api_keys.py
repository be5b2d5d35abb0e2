"""API keys: those of the settings, and those of a file that may change while the server runs.

Keys are stored and compared as digests, in constant time. A changed file takes effect within a second. An unreadable file
changes nothing and logs one warning.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from shortlist.config import ServerSettings
from shortlist.errors import BadSetting
from shortlist.telemetry import logger

CHECK_EVERY_S: Final = 1.0
"""Minimum time between checks of the file."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""A larger file is not a key file; reading it would delay requests."""

NAME_CHARS: Final = 12
"""Characters of a key's digest in the caller id: enough to distinguish callers, too few to find the key."""

FileStamp = tuple[int, int, int]
"""Identifies a version of a file: modification time, size, inode."""


class ApiKeys:
    """The valid API keys, and the caller id of each.

    Args:
        given: Keys from the settings.
        file: One key per line; empty lines and lines that begin with # are ignored.
        clock: Monotonic seconds.

    Raises:
        BadSetting: the file cannot be read, or has no key.
    """

    def __init__(
        self, given: Iterable[str] = (), file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._given = [_digest(key.encode()) for key in given]
        self._file = file
        self._clock = clock
        self._from_file: list[bytes] = []
        self._stamp: FileStamp | None = None
        self._check_at_s = clock() + CHECK_EVERY_S
        self._is_warned = False
        if file is not None:
            self._stamp, self._from_file = _read(file)

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        """Return the keys of the settings."""
        return cls([key.get_secret_value() for key in settings.api_key], settings.api_key_file)

    @property
    def are_needed(self) -> bool:
        """Whether keys are configured; without any, the server is open."""
        return bool(self._given or self._file)

    def owner(self, sent: Sequence[bytes]) -> str | None:
        """Return the caller id if one of these keys is valid: the beginning of its digest."""
        self._refresh()
        found = None
        for digest in map(_digest, sent):
            # All pairs are compared, so that the time does not depend on the keys.
            matches = [hmac.compare_digest(digest, valid) for valid in (*self._given, *self._from_file)]
            if any(matches):
                found = digest.hex()[:NAME_CHARS]
        return found

    def _refresh(self) -> None:
        """Reload the key file if it changed; checks at most once per `CHECK_EVERY_S`."""
        now_s = self._clock()
        if self._file is None or now_s < self._check_at_s:
            return
        self._check_at_s = now_s + CHECK_EVERY_S
        try:
            if _stamp(self._file) != self._stamp:
                self._stamp, self._from_file = _read(self._file)
                logger.info("api_key_file was read again", extra={"keys": len(self._from_file)})
            self._is_warned = False
        except (BadSetting, OSError):
            self._warn()

    def _warn(self) -> None:
        if not self._is_warned:
            logger.warning("api_key_file cannot be read or holds no key; the keys that it held stay valid")
        self._is_warned = True


def _stamp(file: Path) -> FileStamp:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path) -> tuple[FileStamp, list[bytes]]:
    try:
        stamp = _stamp(file)
        if not file.is_file():  # reading a pipe could block
            raise BadSetting(f"{file} (--api-key-file) is not a file.")
        if stamp[1] > MAX_FILE_BYTES:
            raise BadSetting(f"The file {file} (--api-key-file) is too large to be a list of keys.")
        lines = [line.strip() for line in file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()]
    except OSError as error:
        raise BadSetting(f"The file {file} (--api-key-file) cannot be read: {error.strerror}.") from None
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not keys:
        raise BadSetting(f"The file {file} (--api-key-file) holds no key; write one on every line.")
    return stamp, [_digest(key) for key in keys]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
