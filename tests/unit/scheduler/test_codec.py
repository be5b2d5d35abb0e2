"""Decoding returns the encoded entry bit for bit, or None."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shortlist.scheduler.cache import Entry
from shortlist.scheduler.codec import VERSION, decode, encode
from shortlist.types import EMBED, RERANK, DocumentStats, Operation, Span, Value

NAME = b"n" * 32
COUNT = st.integers(0, 2**32 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SPAN = st.tuples(COUNT, COUNT).map(lambda pair: Span(*sorted(pair)))
READING = st.builds(
    DocumentStats,
    num_tokens=COUNT,
    num_tokens_total=st.none() | COUNT,
    is_truncated=st.booleans(),
    num_windows=st.integers(1, 2**32 - 1),
    best=st.none() | SPAN,
)
VECTOR = arrays(np.float32, st.integers(1, 64), elements=st.floats(allow_nan=False, allow_infinity=False, width=32))
ENTRY = st.builds(Entry, st.just(RERANK), FINITE, COUNT, READING) | st.builds(Entry, st.just(EMBED), VECTOR, COUNT, READING)


def bits(value: Value) -> bytes:
    return struct.pack("<d", value) if isinstance(value, float) else value.tobytes()


def is_same(one: Entry | None, other: Entry) -> bool:
    return (
        one is not None
        and type(one.value) is type(other.value)
        and bits(one.value) == bits(other.value)
        and (one.num_tokens, one.stats) == (other.num_tokens, other.stats)
    )


def entry(value: Value = -1.5, **stats: object) -> Entry:
    return Entry(
        RERANK if isinstance(value, float) else EMBED,
        value,
        7,
        DocumentStats(**{"num_tokens": 5, "num_tokens_total": 9, **stats}),  # type: ignore[arg-type]
    )


@given(ENTRY, st.binary(max_size=40))
def test_entry_is_decoded_bit_for_bit(packed: Entry, name: bytes) -> None:
    assert is_same(decode(packed.operation, name, encode(name, packed)), packed)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1])
def test_score_keeps_its_last_bit(value: float) -> None:
    back = decode(RERANK, NAME, encode(NAME, entry(value)))
    assert back is not None
    assert isinstance(back.value, float)
    assert struct.pack("<d", back.value) == struct.pack("<d", value)


def test_vector_is_float32_and_can_be_written_to() -> None:
    back = decode(EMBED, NAME, encode(NAME, entry(np.array([0.25, -1.0], np.float32))))
    assert back is not None
    assert isinstance(back.value, np.ndarray)
    assert back.value.dtype == np.float32
    back.value[0] = 1.0


@given(ENTRY, st.data())
def test_cut_or_lengthened_bytes_are_nothing(packed: Entry, data: st.DataObject) -> None:
    whole = encode(NAME, packed)
    assert decode(packed.operation, NAME, whole[: data.draw(st.integers(0, len(whole) - 1))]) is None
    assert decode(packed.operation, NAME, whole + data.draw(st.binary(min_size=1, max_size=9))) is None


@given(ENTRY, st.data())
def test_one_changed_bit_is_nothing(packed: Entry, data: st.DataObject) -> None:
    changed = bytearray(encode(NAME, packed))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(packed.operation, NAME, bytes(changed)) is None


@given(st.binary(max_size=200))
def test_entry_without_a_valid_signature_is_a_miss(data: bytes) -> None:
    assert decode(RERANK, NAME, data) is None


@given(ENTRY)
def test_entry_under_another_name_is_nothing(packed: Entry) -> None:
    """A value that was stored for another key is a miss."""
    assert decode(packed.operation, b"m" * 32, encode(NAME, packed)) is None


def signed(content: bytes, operation: Operation = RERANK) -> bytes:
    """Return content with a checksum that fits: for invalid values in a valid layout."""
    return content + struct.pack("<I", zlib.crc32(content, zlib.crc32(NAME, zlib.crc32(operation.name.encode()))))


def test_forged_entries_of_these_tests_are_valid_with_the_secret() -> None:
    whole = encode(NAME, entry())
    assert signed(whole[:-4]) == whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_nothing(value: float) -> None:
    content = encode(NAME, entry())[:-12]
    assert decode(RERANK, NAME, signed(content + struct.pack("<d", value))) is None
    vector = encode(NAME, entry(np.ones(2, np.float32)))[:-8]
    assert decode(EMBED, NAME, signed(vector + struct.pack("<f", value), EMBED)) is None


OFFSETS = {"version": 0, "flags": 1, "num_windows": 14, "start": 18, "end": 22}
"""Offsets of the header fields."""


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("version", VERSION + 1),
        ("version", 0),
        ("flags", 8),
        ("flags", 255),
        ("num_windows", 0),
        ("start", 99),
    ],
)
def test_invalid_header_is_a_miss(field: str, number: int) -> None:
    content = bytearray(encode(NAME, entry(best=Span(1, 2)))[:-4])
    content[OFFSETS[field]] = number
    assert decode(RERANK, NAME, signed(bytes(content))) is None


@pytest.mark.parametrize("num_bytes", [0, 1, 3, 5, 7, 9])
def test_value_of_another_length_is_nothing(num_bytes: int) -> None:
    content = encode(NAME, entry())[:-12]
    assert decode(RERANK, NAME, signed(content + bytes(num_bytes))) is None
    if num_bytes % 4:
        assert decode(EMBED, NAME, signed(content + bytes(num_bytes), EMBED)) is None


def test_score_is_no_vector_of_another_width() -> None:
    assert decode(RERANK, NAME, encode(NAME, entry(np.ones(3, np.float32)))) is None


def test_entry_of_another_operation_is_a_miss() -> None:
    for one, other in ((RERANK, EMBED), (EMBED, RERANK)):
        value: Value = -1.5 if one is RERANK else np.asarray([1.0, 2.0], dtype=np.float32)  # both have eight bytes
        assert decode(other, NAME, encode(NAME, entry(value))) is None
        assert decode(one, NAME, encode(NAME, entry(value))) is not None
