"""The fast reader spells as the tokenizer it stands in for, and is not offered where it could differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from shortlist.text import tokenizer as module
from shortlist.text.fast_tokenizer import GROUP_CHARS, MAX_CHARS, SEAM, FastTokenize, fast_tokenize
from shortlist.text.tokenizer import EscapingTokenizer
from tests.support.examples import examples

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def content(tokenizer_path: Path) -> bytes:
    return tokenizer_path.read_bytes()


@pytest.fixture(scope="module")
def user(content: bytes) -> Tokenizer:
    fields = orjson.loads(content)
    return module._without_added(Tokenizer.from_str(content.decode()), fields)


@pytest.fixture(scope="module")
def read(content: bytes, user: Tokenizer) -> FastTokenize:
    reader = fast_tokenize(orjson.loads(content), user)
    assert reader is not None
    return reader


def same(read: FastTokenize, user: Tokenizer, *texts: str, lead: str = "") -> bool:
    expected = [user.encode(lead + text, add_special_tokens=False).ids for text in texts]
    return [ids.tolist() for ids in read(texts, lead)] == expected


LETTERS = "aA bé\n\r\t 1２.,'sdt<|>_中文가न\u0301\u3000\u200b\U0001f642"
ANY = st.text(max_size=80) | st.text(st.sampled_from(LETTERS), max_size=60)
NEAR_SEAMS = st.text(st.sampled_from(LETTERS + SEAM * 4), max_size=8)


@given(text=ANY)
@settings(max_examples=examples(400, 3000), deadline=None)
def test_any_text_gets_the_same_ids(read: FastTokenize, user: Tokenizer, text: str) -> None:
    assert same(read, user, text)


@given(texts=st.lists(ANY | NEAR_SEAMS, max_size=6), lead=st.sampled_from(["", " ", "Query:"]))
@settings(max_examples=examples(150, 1000), deadline=None)
def test_texts_that_are_read_in_one_go_do_not_touch(read: FastTokenize, user: Tokenizer, texts: list[str], lead: str) -> None:
    assert same(read, user, *texts, lead=lead)


def test_texts_that_are_read_by_several_threads_stay_in_order(read: FastTokenize, user: Tokenizer) -> None:
    assert same(read, user, *(f"{number} words " * (GROUP_CHARS // 24) for number in range(9)), "one more")


def test_every_letter_of_the_basic_plane_is_of_the_same_kind(read: FastTokenize, user: Tokenizer) -> None:
    """Which characters are letters, digits or space is decided by two libraries' tables."""
    letters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    texts = [f"x{letter}y {letter}1{letter}{letter}" for letter in letters]
    found = user.encode_batch_fast(texts, add_special_tokens=False)
    pairs = zip(texts, read(texts, ""), found, strict=True)
    assert [text for text, ids, encoding in pairs if ids.tolist() != encoding.ids] == []


@pytest.mark.parametrize("part", ["a", " ", "\n", "的", "é", "ab", "!", " \n", "1", "e\u0301"])
def test_long_repetitions_get_the_same_ids(read: FastTokenize, user: Tokenizer, part: str) -> None:
    assert same(read, user, part * (MAX_CHARS // len(part)))


def test_control_tokens_are_plain_characters(read: FastTokenize, content: bytes) -> None:
    added = {token["id"] for token in orjson.loads(content)["added_tokens"]}
    assert not added & set(read(["<|im_end|>\n<|im_start|>system <think>"], "")[0].tolist())


def swap_merges(fields: Fields) -> None:
    merges = fields["model"]["merges"]
    merges[0], merges[-1] = merges[-1], merges[0]


def lose_a_byte(fields: Fields) -> None:
    fields["model"]["vocab"] = {token: number for token, number in fields["model"]["vocab"].items() if token != "!"}


def lose_the_last_merges(fields: Fields) -> None:
    del fields["model"]["merges"][-1000:]


def another_pattern(fields: Fields) -> None:
    fields["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\s+|\w+"}


def another_normalizer(fields: Fields) -> None:
    fields["normalizer"] = {"type": "NFKC"}


def drop_out(fields: Fields) -> None:
    fields["model"]["dropout"] = 0.1


def no_splitting(fields: Fields) -> None:
    fields["pre_tokenizer"] = None


def with_space_before(fields: Fields) -> None:
    fields["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True


@pytest.mark.parametrize(
    "change",
    [
        swap_merges,
        lose_a_byte,
        lose_the_last_merges,
        another_pattern,
        another_normalizer,
        drop_out,
        no_splitting,
        with_space_before,
    ],
)
def test_vocabulary_of_another_meaning_has_no_fast_reader(
    content: bytes, user: Tokenizer, change: Callable[[Fields], None]
) -> None:
    fields = orjson.loads(content)
    change(fields)
    assert fast_tokenize(fields, user) is None


def test_reader_that_differs_on_samples_is_not_offered(content: bytes, user: Tokenizer) -> None:
    other = Tokenizer(user.model)
    other.normalizer, other.pre_tokenizer = user.normalizer, user.pre_tokenizer
    other.add_tokens(["café"])
    assert fast_tokenize(orjson.loads(content), other) is None


def test_long_texts_use_the_slow_tokenizer(tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = EscapingTokenizer(tokenizer_path)
    asked: list[int] = []
    read = tokenizer._read
    assert read is not None

    def spy(texts: Sequence[str], lead: str) -> Any:
        asked.extend(map(len, texts))
        return read(texts, lead)

    monkeypatch.setattr(tokenizer, "_read", spy)
    short, long = tokenizer.tokenize(["word", "word " * MAX_CHARS], limit=10**9)
    assert (asked, len(short.ids), len(long.ids)) == ([], 1, MAX_CHARS + 1)
    tokenizer.tokenize(["word", "two words"], limit=100)
    assert asked == [4, 9]
