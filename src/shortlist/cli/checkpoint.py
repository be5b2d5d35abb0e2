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
        """Return the name of one group."""
        words = [self.model, self.instruction, self.top_n, group.query, [text.text for text in group.texts]]
        return hashlib.blake2b(orjson.dumps(words), digest_size=8).hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is there only once it is complete.

    Raises:
        InvalidInput: it is there already.
        BadSetting: it cannot be written.
    """
    if path.exists():
        raise InvalidInput(f"{path} (--out) is there already: remove it, or name another file.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise not_written(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> BadSetting:
    """Return the error for a file that cannot be written."""
    return BadSetting(f"{path} (--out) cannot be written: {error.strerror or type(error).__name__}.")


@contextmanager
def checkpoint(path: Path) -> Iterator[tuple[BinaryIO, list[str]]]:
    """Open a file of groups to append to; yield it with the digests of those that it has, a torn last one cut off.

    Raises:
        InvalidInput: it is something else, or another process writes to it.
        BadSetting: it cannot be written.
    """
    try:
        with path.open("a+b") as file:
            _lock(path, file)
            yield file, _repaired(path, file)
    except OSError as error:
        raise not_written(path, error) from None


def remaining(groups: Iterable[InputGroup], path: Path, done: list[str], digest: Digest) -> Iterator[InputGroup]:
    """Yield the groups that a file does not have yet, once it is clear that it has the others.

    Raises:
        InvalidInput: what it has is of other groups, or was asked otherwise.
    """
    changed = "the input, --model, --instruction or --top-n has changed since; remove the file, or name another"
    num_seen = 0
    for group in groups:
        num_seen += 1
        if group.position >= len(done):
            yield group
        elif digest.of(group) != done[group.position]:
            raise InvalidInput(
                f"{path} (--out), line {group.position + 1}, is not of line {group.line} of the input: {changed}."
            )
    if num_seen < len(done):
        raise InvalidInput(f"{path} (--out) has {len(done)} groups, and the input has {num_seen}: {changed}.")


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidInput(f"Another process is writing to {path} (--out).") from None


def _repaired(path: Path, file: BinaryIO) -> list[str]:
    file.seek(0)
    digests, run_to_exit = [], 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        digests.append(_digest_in(path, number, line))
        run_to_exit += len(line)
    file.truncate(run_to_exit)
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
