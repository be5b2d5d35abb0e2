"""Checksums of model files: computes each SHA-256 and compares it with the expected one.

Every file that can change a number is read once, here. Expected checksums come from a hub's cache, a `SHA256SUMS` file, or
hashes in this package.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import SMALL_FILES, WEIGHT_FILES

SUMS_FILE = "SHA256SUMS"
"""Written by `sha256sum *.safetensors > SHA256SUMS`."""

_READ = (*SMALL_FILES, *WEIGHT_FILES)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Source: the manual of GNU coreutils, "cksum output modes": hash, space, a space or an asterisk, name.
_SUM_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<path>.+)")


@dataclass(frozen=True, slots=True)
class Sum:
    """The expected SHA-256 of a file.

    Attributes:
        sha256: In lower-case hex.
        source: Where the checksum comes from, for messages.
        remedy: What to do on a mismatch.
    """

    sha256: str
    source: str
    remedy: str


Sums = Sequence[tuple[str, Sum]]
"""Expected checksums by path; a file may have several sources."""


@dataclass(frozen=True, slots=True)
class Content:
    """Identity of a model's files.

    Attributes:
        digest: Digest of the bytes of its weights and settings, in hex.
        checksum_source: Where the expected checksums come from; None if there are none.
    """

    digest: str
    checksum_source: str | None


def read_content(
    folder: Path, listing: Iterable[str], *, name: str, known: Mapping[str, Sum] | None = None, with_weights: bool = True
) -> Content:
    """Read every file that can change a score, once and in parallel, and verify the known checksums.

    Args:
        folder: The model's folder.
        listing: Its files, as paths inside it.
        name: The model's name in messages.
        known: Checksums in this package.
        with_weights: Whether to verify weights; if not, they may be missing.

    Raises:
        ModelRefused: a checksum differs, or a file is missing or unreadable.
    """
    wanted = _READ if with_weights else SMALL_FILES
    paths = sorted(path for path in listing if _matches(path, wanted) or PurePosixPath(path).name == SUMS_FILE)
    said = [*_sums_by_name(folder, paths), *_sums_beside(folder, paths, name), *(known or {}).items()]
    sums = [(path, expected) for path, expected in said if _matches(path, wanted)]
    _refuse_missing(folder, sums, name)
    _refuse_unlisted(sums, paths, name)
    found = _hash_all(folder, paths, name)
    for path, expected in sums:
        if found.get(path, expected.sha256) != expected.sha256:
            raise ModelRefused(f"{name}: {path} is not the file it should be, going by {expected.source}: {expected.remedy}")
    lines = "".join(f"{sha256}  {path}\n" for path, sha256 in found.items())
    return Content(hashlib.sha256(lines.encode()).hexdigest(), _checksum_source(sums, paths))


def _hash_all(folder: Path, paths: list[str], name: str) -> dict[str, str]:
    def sha256(path: str) -> str:
        try:
            with (folder / path).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelRefused(f"{name}: {path} cannot be read: {error.strerror}") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(sha256, paths), strict=True))


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def _refuse_missing(folder: Path, sums: Sums, name: str) -> None:
    for path, expected in sums:
        if _matches(path, WEIGHT_FILES) and not (folder / path).is_file():
            raise ModelRefused(f"{name}: {path} is missing, going by {expected.source}: {expected.remedy}")


def _refuse_unlisted(sums: Sums, paths: list[str], name: str) -> None:
    """Refuse weights that SHA256SUMS omits: the file would prove nothing."""
    lists = [path for path in paths if PurePosixPath(path).name == SUMS_FILE]
    listed = {path for path, _ in sums}
    unlisted = next((path for path in paths if _matches(path, WEIGHT_FILES) and path not in listed), None)
    if lists and unlisted is not None:
        raise ModelRefused(f"{name}: {unlisted} is not in {lists[0]}: add its hash, remove the file, or remove the list")


def _checksum_source(sums: Sums, paths: list[str]) -> str | None:
    """Return the source of the checksums, if every weight file has one."""
    weights = [path for path in paths if _matches(path, WEIGHT_FILES)]
    sources = {path: expected.source for path, expected in sums}
    if not weights or not all(path in sources for path in weights):
        return None
    return ", ".join(sorted({sources[path] for path in weights}))


# -- expected checksums -------------------------------------------------------------------------------------------------


def _sums_by_name(folder: Path, paths: Iterable[str]) -> Iterator[tuple[str, Sum]]:
    """Yield checksums from Hugging Face's cache: a file links to a blob that is named by its hash.

    Only the first link is followed: a blob may itself be a link into a store with another kind of hashes. Small files in git
    have shorter names and are skipped.

    Source: huggingface_hub 2.4, `file_download._create_symlink` for the layout and `REGEX_SHA256` for which names are hashes.
    """
    for path in paths:
        link = folder / path
        blob = PurePosixPath(link.readlink().as_posix()) if link.is_symlink() else None
        if blob is not None and blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
            remedy = f"delete {link.resolve()} and start again to download it again"
            yield path, Sum(blob.name, "its name in the hub's cache", remedy)


def _sums_beside(folder: Path, paths: Iterable[str], name: str) -> Iterator[tuple[str, Sum]]:
    """Yield checksums from `SHA256SUMS` files."""
    for path in paths:
        if PurePosixPath(path).name == SUMS_FILE:
            yield from _read_sums(folder, PurePosixPath(path), name)


def _read_sums(folder: Path, path: PurePosixPath, name: str) -> Iterator[tuple[str, Sum]]:
    remedy = f"copy the file again from where it came, or run sha256sum again if you changed it on purpose ({folder / path})"
    for number, line in enumerate(_read_lines(folder / path, name), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise ModelRefused(f"{name}: line {number} of {path} is not a SHA-256 and a file's name, as sha256sum writes them")
        listed = (path.parent / match["path"]).as_posix()
        yield listed, Sum(match["sha256"].lower(), str(path), remedy)


def _read_lines(path: Path, name: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{name}: {path} cannot be read as text") from error
