"""The corpus is prose, the same every time, and more than any request needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shortlist.bench import texts
from shortlist.bench.texts import sentences
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


def test_python_without_docstrings_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_docstrings", lambda module: iter([""]))
    with pytest.raises(BadSetting, match="-OO"):
        texts.sentences.__wrapped__()
