"""Codec for shared cache entries: entry to bytes and back. Pure.

Stored bytes may be truncated, corrupted or foreign. Decoding accepts them only if version, length, the checksum over operation,
key and content, the numbers (finite) and the document stats are valid. Anything else is a miss.
"""

from __future__ import annotations

import struct
import zlib

from shortlist.scheduler.cache import Entry
from shortlist.types import DocumentStats, Operation, Span

VERSION = 3
"""Format version; raise it with every change of the layout. Another version is a miss."""

_HEADER = struct.Struct("<BBIIIIII")
"""Version, flags; tokens of the entry, of the document and in total; windows; start and end of the best."""
_CHECKSUM = struct.Struct("<I")

_HAS_TOTAL, _IS_TRUNCATED, _HAS_BEST = 1, 2, 4
_FLAGS = _HAS_TOTAL | _IS_TRUNCATED | _HAS_BEST


def encode(key: bytes, entry: Entry) -> bytes:
    """Return the bytes of the entry for `key`."""
    stats, best = entry.stats, entry.stats.best or Span(0, 0)
    flags = (
        _HAS_TOTAL * (stats.num_tokens_total is not None)
        | _IS_TRUNCATED * stats.is_truncated
        | _HAS_BEST * (stats.best is not None)
    )
    header = _HEADER.pack(
        VERSION,
        flags,
        entry.num_tokens,
        stats.num_tokens,
        stats.num_tokens_total or 0,
        stats.num_windows,
        best.start,
        best.end,
    )
    content = header + entry.operation.value_type.encode(entry.value)
    return content + _CHECKSUM.pack(_checksum(entry.operation, key, content))


def decode(operation: Operation, key: bytes, data: bytes) -> Entry | None:
    """Return the entry of this operation that was encoded for this key, or None for any other bytes."""
    content, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
    if len(content) < _HEADER.size or checksum != _CHECKSUM.pack(_checksum(operation, key, content)):
        return None
    version, flags, num_tokens, num_document, num_total, num_windows, start, end = _HEADER.unpack_from(content)
    value = operation.value_type.decode(content[_HEADER.size :])
    if version != VERSION or flags & ~_FLAGS or not num_windows or start > end or value is None:
        return None
    stats = DocumentStats(
        num_tokens=num_document,
        num_tokens_total=num_total if flags & _HAS_TOTAL else None,
        is_truncated=bool(flags & _IS_TRUNCATED),
        num_windows=num_windows,
        best=Span(start, end) if flags & _HAS_BEST else None,
    )
    return Entry(operation, value, num_tokens, stats)


def _checksum(operation: Operation, key: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key, zlib.crc32(operation.name.encode())))
