"""Checks the result of a call against the expected one, with its text in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.clients.calls.telling import DOCUMENTS, RIGHT, Item, Row

TOLERANCE: Final = 1e-5
"""Tolerance of vector values, which lose digits as JSON, in base64 and in the client's arithmetic."""

Vectors = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Truth:
    """The server's vectors of TEXTS, by number of dimensions (None: all)."""

    vectors: Mapping[int | None, Vectors]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a call: its text in the table, and the problem, if any."""

    shown: str
    wrong: str = ""


def verdict(row: Row, truth: Truth) -> Verdict:
    """Return the verdict on one call."""
    if row.kind == "refused":
        return _refused(row)
    if row.raised:
        return Verdict(f"**{_last(row.raised[0])}**", f"it raised {row.raised[0]}: {row.message}")
    return JUDGES[row.kind](row, truth)


def _ranking(row: Row, _: Truth) -> Verdict:
    return _ranked(row, bounds=(0.0, 1.0))


def _logits(row: Row, _: Truth) -> Verdict:
    return _ranked(row, bounds=(float("-inf"), float("inf")))


def _ranked(row: Row, *, bounds: tuple[float, float]) -> Verdict:
    items: Sequence[Item] = [tuple(item) for item in row.got]
    fault = next(_faults(items, row.expected, bounds), "")
    return _not(fault) if fault else Verdict(f"{len(items)} ranked")


def _faults(items: Sequence[Item], count: int, bounds: tuple[float, float]) -> Iterator[str]:
    """Yield the problems of a ranking; only the first one is reliable."""
    scores = [score for _, score, _ in items]
    places = [_place(item) for item in items]
    if len(items) != count:
        yield f"{len(items)} results instead of {count}"
    if None in places or len(set(places)) != len(places):
        yield f"results are not the documents: {items}"
    if places[0] != RIGHT:
        yield f"document {places[0]} comes first"
    if any(one < other for one, other in pairwise(scores)):
        yield f"scores do not descend: {scores}"
    if not all(bounds[0] <= score <= bounds[1] for score in scores):
        yield f"scores are out of bounds: {scores}"
    if scores[0] == scores[-1]:
        yield f"scores do not differ: {scores}"


def _place(item: Item) -> int | None:
    """Return the index of the document; None if position and text disagree or are unknown."""
    index, _, text = item
    of_text = DOCUMENTS.index(text) if text in DOCUMENTS else None
    if text is None:
        return index if index in range(len(DOCUMENTS)) else None
    return of_text if index in {None, of_text} else None


def _scores(row: Row, _: Truth) -> Verdict:
    scores: Sequence[float] = row.got
    if len(scores) != len(DOCUMENTS):
        return _not(f"{len(scores)} scores instead of {len(DOCUMENTS)}")
    if max(scores) != scores[RIGHT] or not all(-1 <= score <= 1 for score in scores):
        return _not(f"scores are not in the order of the request, or out of bounds: {scores}")
    return Verdict(f"{len(scores)} scores")


def _vectors(row: Row, truth: Truth) -> Verdict:
    expected = truth.vectors[row.expected][: len(row.got)]
    if not row.got or [len(vector) for vector in row.got] != [len(vector) for vector in expected]:
        return _not(f"shapes are {[len(vector) for vector in row.got]}")
    numbers = [pair for vectors in zip(row.got, expected, strict=True) for pair in zip(*vectors, strict=True)]
    if not all(abs(got - wanted) <= TOLERANCE for got, wanted in numbers):
        return _not(f"vectors differ from the expected ones: {row.got}")
    return Verdict(f"{len(row.got)} x {len(row.got[0])}")


def _value(row: Row, _: Truth) -> Verdict:
    return Verdict(_short(row.got)) if row.got == row.expected else _not(f"{row.got!r} instead of {row.expected!r}")


def _refused(row: Row) -> Verdict:
    name, says = row.expected
    if not row.raised:
        return _not(f"nothing was raised, it returned {row.got}")
    own, *bases = [_last(raised) for raised in row.raised]
    if own != name and (name == "Exception" or name not in bases):
        return _not(f"{row.raised[0]} instead of {name}: {row.message}")
    if says not in row.message:
        return _not(f"{says!r} is not in {row.message!r}")
    return Verdict(f"`{own}`")


def _not(reason: str) -> Verdict:
    return Verdict("**no**", reason)


def _last(qualified: str) -> str:
    return qualified.rpartition(".")[2]


def _short(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


JUDGES: Final[Mapping[str, Callable[[Row, Truth], Verdict]]] = {
    "ranking": _ranking,
    "logits": _logits,
    "scores": _scores,
    "vectors": _vectors,
    "value": _value,
}
