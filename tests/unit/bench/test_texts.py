"""The corpus is prose, the same every time, and more than any request needs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.bench import texts
from shortlist.bench.texts import PHRASE_WORDS, QUERY_WORDS, LoadRequest, Traffic, phrases, sentences
from shortlist.errors import BadSetting


def test_there_are_many_sentences_and_none_twice() -> None:
    found = sentences()
    assert len(found) >= texts.MIN_SENTENCES
    assert len(set(found)) == len(found)


def test_sentences_are_prose_on_one_line() -> None:
    for sentence in sentences():
        assert "\n" not in sentence
        assert ">>>" not in sentence
        assert sentence[-1] in ".!?"
        assert len(sentence.split()) >= texts.MIN_WORDS


def test_another_process_reads_the_same() -> None:
    code = "import hashlib; from shortlist.bench.texts import sentences; print(hashlib.sha256(repr(sentences()).encode()).hexdigest())"
    here = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "src", "PYTHONHASHSEED": "7"},
    )
    assert here.stdout == there.stdout


def test_python_without_docstrings_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_docstrings", lambda module: iter([""]))
    with pytest.raises(BadSetting, match="-OO"):
        texts.sentences.__wrapped__()


def some(traffic: Traffic, count: int) -> list[LoadRequest]:
    return [traffic.next() for _ in range(count)]


def test_phrases_are_many_and_of_one_length() -> None:
    assert len(phrases()) > 5000
    assert len(set(phrases())) == len(phrases())
    assert {len(phrase.split()) for phrase in phrases()} == {PHRASE_WORDS}


@settings(deadline=None)
@given(num_documents=st.integers(1, 8), num_words=st.integers(1, 60), seed=st.text(max_size=4))
def test_any_request_has_its_size(num_documents: int, num_words: int, seed: str) -> None:
    request = Traffic(seed, num_documents=num_documents, num_words=num_words).next()
    assert len(request.documents) == num_documents
    assert {len(document.split()) for document in request.documents} == {num_words}
    assert len(request.query.split()) == QUERY_WORDS


def test_nothing_is_asked_twice() -> None:
    asked = some(Traffic("seed", num_documents=5, num_words=20), 2000)
    assert len({request.query for request in asked}) == 2000
    assert len({document for request in asked for document in request.documents}) == 10_000


def test_the_same_seed_asks_the_same_and_another_something_else() -> None:
    one, again, other = (some(Traffic(seed, num_documents=2, num_words=10), 20) for seed in ("a", "a", "b"))
    assert one == again
    assert not {request.query for request in one} & {request.query for request in other}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_as_many_as_were_asked_for_were_seen_before(share: float) -> None:
    asked = some(Traffic("seed", num_documents=1, num_words=8, seen_share=share), 3000)
    num_seen = len(asked) - len(set(asked))
    assert num_seen / len(asked) == pytest.approx(share, abs=0.04)


def test_copies_are_of_many_requests() -> None:
    asked = Counter(some(Traffic("seed", num_documents=1, num_words=8, seen_share=0.5), 1000))
    assert sum(count > 1 for count in asked.values()) > 100
    assert max(asked.values()) < 100


def test_everything_was_seen_but_the_first_if_everything_shall_be() -> None:
    assert len(set(some(Traffic("seed", num_documents=1, num_words=8, seen_share=1.0), 50))) == 1


def test_pool_of_repeated_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_REMEMBERED", 10)
    traffic = Traffic("seed", num_documents=1, num_words=8, seen_share=0.01)
    some(traffic, 500)
    assert len(traffic._remembered) == 10
    first_ten = some(Traffic("seed", num_documents=1, num_words=8, seen_share=0.01), 10)
    assert set(traffic._remembered) != set(first_ten)  # newer ones took their places


def test_a_stock_of_ones_own_is_written_from() -> None:
    request = Traffic("seed", num_documents=1, num_words=6, stock=["a b c d"]).next()
    assert request.documents == ("a b c d a b",)
