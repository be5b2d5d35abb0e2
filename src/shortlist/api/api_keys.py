"""API keys: those of the settings, and those of a file that may change while the server runs.

Each is a key, or `OWNER:ROLE:KEY`. Several keys may have one owner; what belongs to an owner outlives its keys. A
key without an owner is its own, and has the role `write`.

Keys are stored and compared as digests, in constant time. A changed file takes effect within a second. An unreadable file
changes nothing and logs one warning.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
"""Digits of a key's digest that are its owner if its line has none: enough to distinguish owners, too few to find the key."""

OWNED_KEY: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):(read|write|worker):(.*)")
"""A line with owner, role and key. The role distinguishes it from a key that has colons."""

FileStamp = tuple[int, int, int]
"""Identifies a version of a file: modification time, size, inode."""


class Role(StrEnum):
    """What a key may do. `shortlist.api.auth` enforces it."""

    READ = "read"
    WRITE = "write"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A valid key.

    Attributes:
        digest: SHA-256 of the key.
        owner: The caller id of requests with it.
        role: What it may do.
    """

    digest: bytes
    owner: str
    role: Role


class ApiKeys:
    """The valid API keys, with the owner and the role of each.

    Args:
        given: Keys from the settings.
        file: One key per line; empty lines and lines that begin with # are ignored.
        clock: Monotonic seconds.

    Raises:
        BadSetting: the file cannot be read, has no key, or a key is missing or given to two owners or roles.
    """

    def __init__(
        self, given: Iterable[str] = (), file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._given = _stated(given)
        self._file = file
        self._clock = clock
        self._from_file: list[ApiKey] = []
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

    def find(self, sent: Sequence[bytes]) -> ApiKey | None:
        """Return the key if one of these is valid. Of a key that is in the settings and in the file, the file's line counts."""
        self._refresh()
        found = None
        for digest in map(_digest, sent):
            # All pairs are compared, so that the time does not depend on the keys.
            matches = [key for key in (*self._given, *self._from_file) if hmac.compare_digest(digest, key.digest)]
            found = matches[-1] if matches else found
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
            logger.warning("api_key_file cannot be read, or is wrong; the keys that it held stay valid")
        self._is_warned = True


def sent_key(given: Iterable[str], role: Role) -> str | None:
    """Return a key of the settings as callers send it: the first one with this role; if none has it, the first one."""
    first = None
    for each in given:
        owned = OWNED_KEY.fullmatch(each.encode())
        key = owned[3].strip().decode() if owned else each
        if (owned[2].decode() if owned else Role.WRITE) == role:
            return key
        first = first or key
    return first


def _stated(given: Iterable[str]) -> list[ApiKey]:
    """Parse the keys of the settings."""
    keys: dict[bytes, ApiKey] = {}
    for each in given:
        key = _parse(each.encode())
        if key is None:
            raise BadSetting("A key of api_key (--api-key) has an owner and a role, and no key behind them.")
        if keys.setdefault(key.digest, key) != key:
            raise BadSetting("A key of api_key (--api-key) is there twice, with another owner or role.")
    return list(keys.values())


def _stamp(file: Path) -> FileStamp:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path) -> tuple[FileStamp, list[ApiKey]]:
    try:
        stamp = _stamp(file)
        if not file.is_file():  # reading a pipe could block
            raise BadSetting(f"{file} (--api-key-file) is not a file.")
        if stamp[1] > MAX_FILE_BYTES:
            raise BadSetting(f"The file {file} (--api-key-file) is too large to be a list of keys.")
        lines = [line.strip() for line in file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()]
    except OSError as error:
        raise BadSetting(f"The file {file} (--api-key-file) cannot be read: {error.strerror}.") from None
    keys: dict[bytes, ApiKey] = {}
    for number, line in enumerate(lines, 1):
        if line and not line.startswith(b"#"):
            key = _parse(line)
            if key is None:
                raise BadSetting(f"Line {number} of {file} (--api-key-file) has an owner and a role, and no key behind them.")
            if keys.setdefault(key.digest, key) != key:
                raise BadSetting(f"Line {number} of {file} (--api-key-file) repeats a key, with another owner or role.")
    if not keys:
        raise BadSetting(f"The file {file} (--api-key-file) holds no key; write one on every line.")
    return stamp, list(keys.values())


def _parse(line: bytes) -> ApiKey | None:
    """Return the key of a line, or None if it has an owner and a role only."""
    owned = OWNED_KEY.fullmatch(line)
    if owned is None:
        return _own_key(line)
    owner, role, key = owned.groups()
    return ApiKey(_digest(key.strip()), owner.decode(), Role(role.decode())) if key.strip() else None


def _own_key(key: bytes) -> ApiKey:
    digest = _digest(key)
    return ApiKey(digest, digest.hex()[:NAME_CHARS], Role.WRITE)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
