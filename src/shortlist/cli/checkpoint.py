"""The output files of `rerank --out`: a complete one, or one that an interrupted run continues.

The latter is append-only, one line per group. Every line holds a digest of the run's parameters, so that a run continues only
its own file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from shortlist.cli.input import InputGroup
from shortlist.errors import BadSetting, InvalidInput


@dataclass(frozen=True, slots=True)
class Digest:
    """Digest of a group's texts and options, which determine its ranking."""

    model: str | None
    instruction: str | None
    top_n: int | None

    def of(self, group: InputGroup) -> str:
        """Return the digest of one group."""
        fields = [self.model, self.instruction, self.top_n, group.query, [text.text for text in group.texts]]
        return hashlib.blake2b(orjson.dumps(fields), digest_size=8).hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears only when it is complete.

    Raises:
        InvalidInput: the file exists.
        BadSetting: the file cannot be written.
    """
    if path.exists():
        raise InvalidInput(f"{path} (--out) already exists: remove it, or name another file.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> BadSetting:
    """Return the error of a file that cannot be written."""
    return BadSetting(f"{path} (--out) cannot be written: {error.strerror or type(error).__name__}.")


@contextmanager
def checkpoint(path: Path) -> Iterator[tuple[BinaryIO, list[str]]]:
    """Open a file of groups for appending; yield it with its digests. An incomplete last line is cut off.

    Raises:
        InvalidInput: the file has another format, or another process writes to it.
        BadSetting: the file cannot be written.
    """
    try:
        with path.open("a+b") as file:
            _lock(path, file)
            yield file, _repair(path, file)
    except OSError as error:
        raise write_error(path, error) from None


def remaining(groups: Iterable[InputGroup], path: Path, done: list[str], digest: Digest) -> Iterator[InputGroup]:
    """Yield the groups that the file does not have yet, after checking those that it has.

    Raises:
        InvalidInput: the file has other groups, or was made with other options.
    """
    changed = "the input, --model, --instruction or --top-n has changed; remove the file, or name another"
    num_seen = 0
    for group in groups:
        num_seen += 1
        if group.position >= len(done):
            yield group
        elif digest.of(group) != done[group.position]:
            raise InvalidInput(
                f"{path} (--out), line {group.position + 1}, does not match line {group.line} of the input: {changed}."
            )
    if num_seen < len(done):
        raise InvalidInput(f"{path} (--out) has {len(done)} groups, and the input has {num_seen}: {changed}.")


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidInput(f"Another process is writing to {path} (--out).") from None


def _repair(path: Path, file: BinaryIO) -> list[str]:
    file.seek(0)
    digests, num_bytes = [], 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        digests.append(_digest_in(path, number, line))
        num_bytes += len(line)
    file.truncate(num_bytes)
    return digests


def _digest_in(path: Path, number: int, line: bytes) -> str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None
    digest = value.get("digest") if isinstance(value, dict) and value.get("group") == number - 1 else None
    if not isinstance(digest, str):
        what = f"is not group {number - 1} of an interrupted run"
        raise InvalidInput(f"{path} (--out), line {number}, {what}; remove the file, or name another.")
    return digest
