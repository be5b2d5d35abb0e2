"""A hit is always the same computation, and memory stays below the limit."""

import gc
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.scheduler.cache import ENTRY_OVERHEAD_BYTES, Entry, ScoreCache, cache_keys
from shortlist.types import EMBED, RERANK, DocumentStats, Span


def entry(value: float = 1.0) -> Entry:
    return Entry(RERANK, value, 3, DocumentStats(3, 3))


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_put_entries_are_returned() -> None:
    cache = ScoreCache(10_000)
    cache.put_many({key(1): entry(0.25)})
    assert cache.get_many([key(1), key(2)]) == {key(1): entry(0.25)}


def test_least_recently_used_is_evicted_first() -> None:
    cache = ScoreCache(2 * ENTRY_OVERHEAD_BYTES)
    cache.put_many({key(1): entry(), key(2): entry()})
    cache.get_many([key(1)])
    cache.put_many({key(3): entry()})
    assert set(cache.get_many(key(number) for number in (1, 2, 3))) == {key(1), key(3)}


def test_vectors_count_their_bytes() -> None:
    vector = np.ones(1024, np.float32)
    cache = ScoreCache(2 * (ENTRY_OVERHEAD_BYTES + vector.nbytes) - 1)
    cache.put_many({key(number): Entry(EMBED, vector, 3, DocumentStats(3, 3)) for number in (1, 2)})
    assert len(cache) == 1


def test_putting_twice_counts_once() -> None:
    cache = ScoreCache(10_000)
    for _ in range(5):
        cache.put_many({key(1): entry()})
    assert cache.num_bytes == ENTRY_OVERHEAD_BYTES


def test_zero_bytes_cache_nothing() -> None:
    cache = ScoreCache(0)
    cache.put_many({key(1): entry()})
    assert len(cache) == cache.num_bytes == 0


def test_stated_bytes_cover_the_real_ones() -> None:
    cache = ScoreCache(1 << 30)
    gc.collect()
    tracemalloc.start()
    cache.put_many(
        {
            os.urandom(32): Entry(
                RERANK,
                float(number),
                number + 1000,
                DocumentStats(number + 1000, number + 2000, best=Span(number, number + 1000)),
            )
            for number in range(20_000)
        }
    )
    real_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 * cache.num_bytes <= real_bytes <= cache.num_bytes


@given(st.lists(st.text(), min_size=1), st.text(), st.lists(st.text(), min_size=1), st.text())
def test_different_inputs_never_share_a_key(shared: list[str], text: str, other_shared: list[str], other: str) -> None:
    is_same = (shared, text) == (other_shared, other)
    assert (cache_keys(shared, [text]) == cache_keys(other_shared, [other])) is is_same


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((["ab"], "c"), (["a"], "bc")),
        ((["a", "b"], "c"), (["ab"], "c")),
        (([""], "a"), (["a"], "")),
        ((["a"], "b"), (["a", ""], "b")),
    ],
)
def test_concatenation_does_not_collide(one: tuple[list[str], str], two: tuple[list[str], str]) -> None:
    assert cache_keys(one[0], [one[1]]) != cache_keys(two[0], [two[1]])


def test_keys_come_in_the_order_of_the_texts() -> None:
    both = cache_keys(["engine"], ["a", "b"])
    assert both == cache_keys(["engine"], ["a"]) + cache_keys(["engine"], ["b"])
