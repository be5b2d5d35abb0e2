"""The labelled set is what the page says, and the measure is right where the answer is known."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality
from benchmarks.quality import Query, Scores, bm25, fused, ndcg, ranks, read_set
from tests.support.apps import runtime
from tests.support.process import serve

QUERIES = read_set()


def scores(*numbers: float) -> Scores:
    return np.array(numbers, dtype=np.float64)


def test_set_has_queries_of_both_languages_with_answers_and_hard_negatives() -> None:
    assert len(QUERIES) >= 60
    assert sum(query.is_chinese for query in QUERIES) >= 30 <= sum(not query.is_chinese for query in QUERIES)
    for query in QUERIES:
        assert 1 <= sum(query.gains) <= 3
        same = [text for text, gain in zip(query.passages, query.gains, strict=True) if not gain]
        assert sum(quality.is_chinese(text) == query.is_chinese for text in same) >= 5
    passages = [text for passages in {query.passages for query in QUERIES} for text in passages]
    assert len(passages) == len(set(passages))


def test_page_states_the_size_of_the_set() -> None:
    page = " ".join(Path("docs/quality.md").read_text(encoding="utf-8").split())
    chinese, topics = sum(query.is_chinese for query in QUERIES), {query.passages for query in QUERIES}
    stated = re.search(r"has (\d+) queries, (\d+) English and (\d+) Chinese, and (\d+) passages in (\d+) topics", page)
    assert stated is not None
    expected = (len(QUERIES), len(QUERIES) - chinese, chinese, sum(map(len, topics)), len(topics))
    assert tuple(map(int, stated.groups())) == expected
    assert sum(query.is_crossing for query in QUERIES) == 10


def test_every_label_names_a_passage() -> None:
    import yaml

    for topic in yaml.safe_load(quality.SET.read_text(encoding="utf-8")):
        assert all(set(each["relevant"]) <= set(topic["passages"]) for each in topic["queries"])


@pytest.mark.parametrize(
    ("given", "gains", "expected"),
    [
        (scores(3, 2, 1), [1, 0, 0], 1.0),
        (scores(1, 2, 3), [1, 0, 0], 0.5),  # 1 / log2(4)
        (scores(3, 1, 2), [1, 1, 0], (1 + 0.5) / (1 + 1 / np.log2(3))),
        (scores(*range(12, 0, -1)), [0] * 10 + [1, 0], 0.0),
        (scores(1, 1), [1, 0], (1 + 1 / np.log2(3)) / 2),  # the mean over both orders
    ],
)
def test_ndcg_is_that_of_the_definition(given: Scores, gains: list[int], expected: float) -> None:
    assert ndcg(given, gains) == pytest.approx(expected)


def test_bm25_prefers_rare_shared_terms_in_both_languages() -> None:
    passages = ("the cat sat on the mat", "the dog of a friend", "怎样烤面包", "银行卡怎样挂失")
    queries = [Query("the dog", passages, (0, 1, 0, 0)), Query("面包怎样烤", passages, (0, 0, 1, 0))]
    english, chinese = bm25(queries)
    assert int(np.argmax(english)) == 1
    assert english[2] == english[3] == 0
    assert int(np.argmax(chinese)) == 2
    assert chinese[3] > 0


def test_fusion_needs_both_rankings() -> None:
    assert list(ranks(scores(5, 7, 5))) == [2.5, 1, 2.5]
    assert int(np.argmax(fused(scores(3, 2, 1), scores(0, 3, 2)))) == 1


def test_a_server_is_measured_beside_bm25(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    with serve(runtime()) as server:
        monkeypatch.setattr(sys, "argv", ["quality", f"words={server.url}", "--markdown", str(page)])
        quality.main()
    shown = capsys.readouterr().out
    names = re.findall(r"^\| (\S.*?) +\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert names == ["system", "---", "BM25", "words", "words + BM25"]
    assert f"all ({len(QUERIES)})" in shown
