"""Tests loads and requests: exact numbers of tokens, and texts that depend on the seed."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from benchmarks import loads
from benchmarks.loads import DEFAULT_LOADS, BenchLoad, RequestWriter
from shortlist.errors import BadSetting


def test_loads_are_parsed() -> None:
    assert BenchLoad.parse("10x100") == BenchLoad("10x100", 10, 100)
    assert BenchLoad.parse("mixed") == BenchLoad("mixed", loads.MIXED_DOCUMENTS, None)


@pytest.mark.parametrize("text", ["", "10", "x100", "0x5", "5x0", "10X100", "10x100x2", "-1x5", "Mixed", "1.5x3"])
def test_invalid_loads_are_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="DOCUMENTSxTOKENS"):
        BenchLoad.parse(text)


@pytest.mark.parametrize("name", [*DEFAULT_LOADS, "3x1", "2x2"])
def test_documents_have_exact_lengths(writer: RequestWriter, name: str) -> None:
    load = BenchLoad.parse(name)
    request = writer.request(load, "seed")
    lengths = [writer.num_tokens(document) for document in request.documents]
    assert len(lengths) == load.num_documents
    if load.doc_tokens is not None:
        assert set(lengths) == {load.doc_tokens}
    else:
        assert all(loads.MIXED_SHORTEST <= tokens <= loads.MIXED_LONGEST for tokens in lengths)
    shortest, longest = loads.QUERY_TOKENS
    assert shortest <= writer.num_tokens(request.query) <= longest


@pytest.mark.parametrize("num_tokens", [1, 2, 5, 17, 64, 333, 2000])
def test_any_document_length_is_possible(writer: RequestWriter, tokenizer_path: Path, num_tokens: int) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    for seed in range(10):
        request = writer.request(BenchLoad("", 1, num_tokens), str(seed))
        assert len(tokenizer.encode(request.documents[0], add_special_tokens=False).ids) == num_tokens


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_tokens=st.integers(1, 700), num_documents=st.integers(1, 4), seed=st.text(max_size=5))
def test_any_request_is_exact_and_repeatable(writer: RequestWriter, num_tokens: int, num_documents: int, seed: str) -> None:
    load = BenchLoad.parse(f"{num_documents}x{num_tokens}")
    request = writer.request(load, seed)
    assert [writer.num_tokens(document) for document in request.documents] == [num_tokens] * num_documents
    assert writer.request(load, seed) == request


def test_request_depends_only_on_the_seed(writer: RequestWriter) -> None:
    load = BenchLoad.parse("5x60")
    one, again, other = (writer.request(load, seed) for seed in ("0-5x60-1", "0-5x60-1", "0-5x60-2"))
    assert one == again
    assert one.query != other.query
    assert not set(one.documents) & set(other.documents)


def test_limits_in_a_tokenizer_file_do_not_truncate(tokenizer_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=64)
    limited = RequestWriter(tokenizer, ("A sentence that repeats itself says the same again.",))
    assert limited.num_tokens(limited.request(BenchLoad("", 1, 100), "seed").documents[0]) == 100


def test_documents_of_a_request_begin_differently(writer: RequestWriter) -> None:
    documents = writer.request(BenchLoad.parse("30x200"), "seed").documents
    assert len({document[:40] for document in documents}) == len(documents)


def test_mixed_lengths_spread_around_their_median() -> None:
    rng = Random(1)
    drawn = [length for _ in range(200) for length in BenchLoad.parse("mixed").lengths(rng)]
    assert loads.MIXED_MEDIAN * 0.9 < median(drawn) < loads.MIXED_MEDIAN * 1.1
    assert min(drawn) >= loads.MIXED_SHORTEST
    assert max(drawn) <= loads.MIXED_LONGEST
    assert sum(length > 2 * loads.MIXED_MEDIAN for length in drawn) > len(drawn) / 10
