"""Only as much of a text is tokenized as can be read, and the result is that of the whole text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer

from shortlist.errors import EngineError, InputTooLong
from shortlist.hub import demo_model
from shortlist.text import reading
from shortlist.text.reading import MAX_WINDOWS, at_most, read_lengths
from shortlist.text.text_encoder import TextEncoder
from shortlist.text.text_rules import TextRules
from shortlist.text.window import MAX_CHARS, Window, read_windows
from shortlist.types import OverflowPolicy
from tests.support.examples import examples

WORDS = st.text(st.sampled_from("ab é中文,.\n\U0001f642 "), max_size=60)


@pytest.fixture(scope="module")
def path() -> Path:
    return demo_model.find() / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(path))
    found.no_truncation()
    found.no_padding()
    return found


class Encode:
    """Encodes, and remembers the longest text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.longest = tokenizer, 0

    def __call__(self, texts: Sequence[str]) -> Sequence[Encoding]:
        self.longest = max(self.longest, *map(len, texts))
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=False)


@given(part=WORDS, times=st.sampled_from([1, 3, 50, 400]), limit=st.integers(1, 40))
@settings(max_examples=examples(150, 1000), deadline=None)
def test_extent_is_that_of_the_whole_text(tokenizer: Tokenizer, part: str, times: int, limit: int) -> None:
    text = part * times
    [whole] = Encode(tokenizer)([text])
    [found] = read_lengths(Encode(tokenizer), [text], limit)
    if len(whole) <= limit:
        assert (found.end, found.num_tokens, found.is_cut) == (len(text), len(whole), False)
    else:
        assert (found.end, found.num_tokens, found.is_cut) == (whole.offsets[limit - 1][1], limit, True)


@pytest.mark.parametrize("piece", ["x z ", "中", " ", "a", "\U0001f642"])
def test_long_text_is_read_in_short_pieces(tokenizer: Tokenizer, piece: str) -> None:
    encode = Encode(tokenizer)
    [found] = read_lengths(encode, [piece * 4_000_000], 254)
    assert encode.longest <= 2 * reading.PIECE_CHARS
    assert found.is_cut
    assert found.end <= MAX_CHARS


def test_text_with_few_tokens_is_read_beyond_the_first_piece(tokenizer: Tokenizer) -> None:
    text = " " * 100_000 + "red fox " * 10
    [found] = read_lengths(Encode(tokenizer), [text], 4)
    assert (text[: found.end].split(), found.num_tokens) == (["red", "fox"] * 2, 4)


class PanicException(BaseException):
    """As pyo3 raises it."""


def test_text_on_which_the_tokenizer_panics_fails_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(TextRules(tokenizer=path.read_bytes(), reads_pairs=False), 256)
    encode = encoder._encode_batch

    def panic(texts: Sequence[str]) -> Sequence[Encoding]:
        if "panic" in texts:
            raise PanicException
        return encode(texts)

    monkeypatch.setattr(encoder, "_encode_batch", panic)
    found = encoder.encode_pairs("q", ["a", "panic", "b"])
    assert [type(each.error) for each in found] == [type(None), EngineError, type(None)]
    assert [len(each.prompts) for each in found] == [1, 0, 1]


def test_number_of_windows_is_limited(path: Path, tokenizer: Tokenizer) -> None:
    def encode(text: str) -> Encoding:
        return tokenizer.encode(text, add_special_tokens=False)

    assert len(at_most(read_windows(encode, "a b " * 50, 4), "documents[0]")) < MAX_WINDOWS
    num_read = 0

    def windows() -> Iterator[Window]:
        nonlocal num_read
        for window in read_windows(encode, "a b " * 5000, 2):
            num_read += 1
            yield window

    with pytest.raises(InputTooLong, match=r"documents\[3\] has more than 256 windows"):
        at_most(windows(), "documents[3]")
    assert num_read == MAX_WINDOWS + 1
    with pytest.raises(InputTooLong, match="windows"):
        TextEncoder(TextRules(tokenizer=path.read_bytes(), reads_pairs=False), 16).encode_pairs(
            "q", ["a b " * 9000], on_overflow=OverflowPolicy.CHUNK
        )
