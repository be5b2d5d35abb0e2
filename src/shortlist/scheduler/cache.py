"""The score cache. Pure policy: exact, byte-bounded, least recently used.

A key is a SHA-256 over length-prefixed parts, so different inputs never share one; a hit is always the same computation.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shortlist.types import DocumentStats, Operation, Value

ENTRY_OVERHEAD_BYTES = 520
"""Key, entry, number and table slot of one entry, rounded up from `tracemalloc` (see the cache's test)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cached computation: its operation, its value, its tokens, and the document stats of its text."""

    operation: Operation
    value: Value
    num_tokens: int
    stats: DocumentStats

    @property
    def num_bytes(self) -> int:
        """Its memory in bytes."""
        return ENTRY_OVERHEAD_BYTES + self.operation.value_type.num_bytes(self.value)


def cache_keys(shared: Iterable[str], texts: Sequence[str]) -> list[bytes]:
    """Return one key per text.

    Args:
        shared: Everything else that decides the value: engine, encoder, operation, query, instruction, limits.
        texts: The text of each item.
    """
    prefix = hashlib.sha256()
    for part in shared:
        data = part.encode()
        prefix.update(len(data).to_bytes(8, "little"))
        prefix.update(data)
    # The digest has a fixed length, so a text cannot collide with a shared part.
    begun = hashlib.sha256(prefix.digest())

    def key(text: str) -> bytes:
        digest = begun.copy()  # a quarter cheaper than hashing the prefix again
        digest.update(text.encode())
        return digest.digest()

    return [key(text) for text in texts]


class ScoreCache:
    """Evicts the least recently used entries above `max_bytes`. `max_bytes=0` caches nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get_many(self, cache_keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return the cached entries of these keys, and mark them as used."""
        found = {key: entry for key in cache_keys if (entry := self._entries.get(key)) is not None}
        for key in found:
            self._entries.move_to_end(key)
        return found

    def put_many(self, entries: Mapping[bytes, Entry]) -> None:
        """Cache entries; evict the least recently used ones."""
        for key, entry in entries.items():
            self._put(key, entry)
        while self.num_bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.num_bytes -= oldest.num_bytes

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self.num_bytes = 0

    def _put(self, key: bytes, entry: Entry) -> None:
        previous = self._entries.pop(key, None)
        self.num_bytes += entry.num_bytes - (previous.num_bytes if previous is not None else 0)
        self._entries[key] = entry
