"""Measures how well systems rank: nDCG@10 on the bilingual set in `benchmarks/quality.yaml`.

    .venv/bin/python -m benchmarks.quality [NAME=MODEL ...] [NAME=URL ...] [--set FILE] [--markdown docs/quality.md#quality]

A MODEL is what `shortlist rerank --model` takes, a URL that of a running server with /v1/rerank: Shortlist's, with `/m/MODEL`
behind it for one of several models, or any other. Without systems, the demo models are measured. BM25 always is, and so is its
fusion with every system. A query's candidates are all passages of its topic, in both languages.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import numpy.typing as npt
import yaml

from shortlist.bench import markdown
from shortlist.bench.machine import describe
from shortlist.bench.tables import machine_line

SET: Final = Path(__file__).with_suffix(".yaml")
DEFAULT_SYSTEMS: Final = ("demo=demo",)
DEPTH: Final = 10

K1, B = 1.2, 0.75
"""Parameters of BM25. Source: the defaults of Lucene."""

FUSION_K: Final = 60
"""Constant of reciprocal rank fusion. Source: Cormack, Clarke and Büttcher, SIGIR 2009."""

RESAMPLES: Final = 2000

Scores = npt.NDArray[np.float64]
"""One number per candidate, larger for better ones."""


@dataclass(frozen=True, slots=True)
class Query:
    """A labelled query.

    Attributes:
        text: The query.
        passages: The candidates.
        gains: For each candidate, 1 if it answers the query, or else 0.
    """

    text: str
    passages: tuple[str, ...]
    gains: tuple[int, ...]

    @property
    def is_chinese(self) -> bool:
        """Whether it is Chinese; all others are English."""
        return is_chinese(self.text)

    @property
    def is_crossing(self) -> bool:
        """Whether all answers are in the other language."""
        answers = (text for text, gain in zip(self.passages, self.gains, strict=True) if gain)
        return all(is_chinese(text) != self.is_chinese for text in answers)


SUBSETS: Final[Mapping[str, Callable[[Query], bool]]] = {
    "all": lambda query: True,  # noqa: ARG005
    "English": lambda query: not query.is_chinese,
    "Chinese": lambda query: query.is_chinese,
    "across": lambda query: query.is_crossing,
}
"""Columns, and which queries they average."""


def is_chinese(text: str) -> bool:
    """Return whether a text has Chinese characters."""
    return re.search(r"[\u4e00-\u9fff]", text) is not None


def read_set(path: Path = SET) -> list[Query]:
    """Return the labelled queries."""
    return [
        Query(
            each["query"], tuple(topic["passages"].values()), tuple(int(key in each["relevant"]) for key in topic["passages"])
        )
        for topic in yaml.safe_load(path.read_text(encoding="utf-8"))
        for each in topic["queries"]
    ]


# -- the measure --


def ndcg(scores: Scores, gains: Sequence[int], depth: int = DEPTH) -> float:
    """Return the nDCG at `depth`. Candidates of equal scores share their gains, so that their order does not matter.

    Source: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
    scores", ECIR 2008.
    """
    discounts = 1.0 / np.log2(np.arange(2, len(gains) + 2))
    discounts[depth:] = 0.0
    _, place, count = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = (np.bincount(place, weights=gains) / count)[np.sort(place)]
    return float(shared @ discounts / (np.sort(gains)[::-1] @ discounts))


def interval(found: Scores) -> float:
    """Return half the width of the 95 % interval of the mean over other queries of this kind, by the bootstrap."""
    drawn = np.random.default_rng(0).choice(found, (RESAMPLES, len(found)))
    low, high = np.percentile(drawn.mean(axis=1), (2.5, 97.5))
    return float(high - low) / 2


# -- the systems --


def terms(text: str) -> list[str]:
    """Return the terms of BM25: words and numbers in lower case, and pairs of neighbouring Chinese characters."""
    found = re.findall(r"[a-z0-9]+", text.lower())
    for run in re.findall(r"[\u4e00-\u9fff]+", text):
        found += [run[i : i + 2] for i in range(max(len(run) - 1, 1))]
    return found


def bm25(queries: Sequence[Query]) -> list[Scores]:
    """Return the scores of BM25, with the statistics of the whole set."""
    counts = {text: Counter(terms(text)) for query in queries for text in query.passages}
    mean_length = sum(each.total() for each in counts.values()) / len(counts)
    containing = Counter(term for each in counts.values() for term in each)

    def score(term: str, document: Counter[str]) -> float:
        rarity = math.log(1 + (len(counts) - containing[term] + 0.5) / (containing[term] + 0.5))
        return rarity * document[term] / (document[term] + K1 * (1 - B + B * document.total() / mean_length))

    return [
        np.array([sum(score(term, counts[text]) for term in terms(query.text)) for text in query.passages]) for query in queries
    ]


def fused(one: Scores, other: Scores) -> Scores:
    """Return the reciprocal rank fusion of two rankings; candidates of equal scores share their mean rank."""
    return sum((1.0 / (FUSION_K + ranks(each)) for each in (one, other)), np.zeros(len(one)))


def ranks(scores: Scores) -> Scores:
    """Return the rank of every candidate, from 1."""
    _, place, count = np.unique(-scores, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def ask(system: str, queries: Sequence[Query]) -> list[Scores]:
    """Return the scores of a model or a server, through `shortlist rerank`."""
    flag = "--url" if system.startswith(("http://", "https://")) else "--model"
    with TemporaryDirectory() as folder:
        groups, ranked = Path(folder, "groups.jsonl"), Path(folder, "ranked.jsonl")
        lines = (json.dumps({"query": query.text, "documents": query.passages}) for query in queries)
        groups.write_text("\n".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "shortlist", "rerank", str(groups), "--out", str(ranked), flag, system]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"{system} did not rank the set.")
        return [scores_of(json.loads(line)["results"]) for line in ranked.read_text(encoding="utf-8").splitlines()]


def scores_of(results: Sequence[Mapping[str, float]]) -> Scores:
    """Return the scores in the order of the candidates."""
    return np.array([each["relevance_score"] for each in sorted(results, key=lambda each: each["index"])])


# -- the report --


def rows(queries: Sequence[Query], measured: Mapping[str, Sequence[Scores]]) -> Iterator[list[str]]:
    """Yield a row per system: its name, the mean nDCG of every subset, and the interval of the first."""
    for name, scores in measured.items():
        found = np.array([ndcg(each, query.gains) for each, query in zip(scores, queries, strict=True)])
        chosen = [np.array([belongs(query) for query in queries]) for belongs in SUBSETS.values()]
        yield [name, *(f"{found[each].mean():.3f}" for each in chosen), f"± {interval(found):.3f}"]


def report(queries: Sequence[Query], measured: Mapping[str, Sequence[Scores]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield f"Machine: {machine_line(describe())}; `{' '.join(['python -m benchmarks.quality', *sys.argv[1:]])}`."
    sizes = {name: sum(map(belongs, queries)) for name, belongs in SUBSETS.items()}
    columns = ["system", *(f"{name} ({size})" for name, size in sizes.items()), "95 % interval of all"]
    yield from markdown.table(columns, rows(queries, measured), words={"system"})


def main() -> None:
    """Run the benchmark and print the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("systems", nargs="*", metavar="NAME=MODEL|URL", default=DEFAULT_SYSTEMS)
    options.add_argument("--set", type=Path, default=SET, help="another set in the form of the project's own")
    options.add_argument("--markdown", type=Path, help="a document; #NAME selects the markers of that name")
    arguments = options.parse_args()
    queries = read_set(arguments.set)
    lexical = bm25(queries)
    measured: dict[str, Sequence[Scores]] = {"BM25": lexical}
    for text in arguments.systems:
        name, _, system = text.partition("=")
        if not system:
            options.error(f"{text!r} must be NAME=MODEL or NAME=URL.")
        measured[name] = ask(system, queries)
        measured[f"{name} + BM25"] = list(map(fused, measured[name], lexical))
    lines = list(report(queries, measured))
    print("\n".join(lines))
    if arguments.markdown is not None:
        markdown.put(markdown.enclosed(lines, arguments.markdown), arguments.markdown)


if __name__ == "__main__":
    main()
