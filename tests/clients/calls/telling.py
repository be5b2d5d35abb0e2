"""Calls of a client's script, reported as one JSON line each.

Runs in the clients' environments, so it depends on Python only. `tests.clients.verdict` checks the results.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Final

QUERY: Final = "how do I read a json file in python"
DOCUMENTS: Final = ("bake bread at 220 C", "open the file and call json.load", "pythons are large snakes")
RIGHT: Final = 1
"""Index of the document that answers the query."""

TEXTS: Final = ("first text", "the second text is longer")
MODEL: Final = "demo"
UNKNOWN: Final = "nobody-serves-this"

Item = tuple[int | None, float, str | None]
"""One result of a client: position of the document, score, text; None for a value that the client does not return."""


@dataclass(frozen=True)
class Row:
    """The result of one call."""

    client: str
    version: str
    call: str
    kind: str
    expected: Any = None
    got: Any = None
    raised: Sequence[str] = ()
    message: str = ""

    @classmethod
    def parse(cls, line: str) -> Row:
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Servers:
    """The servers to call: an open one, one with an API key, a busy one."""

    open: str
    locked: str
    busy: str
    key: str


@dataclass(frozen=True)
class Teller:
    """Makes calls with one client, and reports each.

    Args:
        client: Name of the client.
        package: The package whose version is reported.
        servers: The servers to call.
    """

    client: str
    package: str
    servers: Servers = field(default_factory=lambda: Servers(**vars(_arguments())))

    def ranking(self, call: str, ask: Callable[[], Iterable[Item]], *, of: int = len(DOCUMENTS)) -> None:
        """A ranking: best first, scores in [0, 1], `of` results, and texts equal to the documents, if the client returns them."""
        self._tell(call, "ranking", lambda: [_item(*item) for item in ask()], of)

    def logits(self, call: str, ask: Callable[[], Iterable[Item]], *, of: int = len(DOCUMENTS)) -> None:
        """A ranking with unbounded scores."""
        self._tell(call, "logits", lambda: [_item(*item) for item in ask()], of)

    def scores(self, call: str, ask: Callable[[], Iterable[float]]) -> None:
        """One score per document, in the order of the request."""
        self._tell(call, "scores", lambda: [float(score) for score in ask()])

    def vectors(self, call: str, ask: Callable[[], Iterable[Iterable[float]]], *, dimensions: int | None = None) -> None:
        """The vectors of TEXTS or of the first ones, with this many dimensions."""
        self._tell(call, "vectors", lambda: [[float(number) for number in vector] for vector in ask()], dimensions)

    def value(self, call: str, ask: Callable[[], object], expected: object) -> None:
        """Another value, known in advance."""
        self._tell(call, "value", ask, expected)

    def refused(self, call: str, ask: Callable[[], object], error: str, says: str = "") -> None:
        """An error of this class or of a subclass, with `says` in its message."""
        self._tell(call, "refused", lambda: repr(ask())[:200], [error, says])

    def _tell(self, call: str, kind: str, ask: Callable[[], object], expected: object = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some clients have deprecation warnings
            try:
                outcome: dict[str, Any] = {"got": ask()}
            except Exception as error:  # noqa: BLE001 - the error is the result
                names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__[:-2]]
                outcome = {"raised": names, "message": str(error)[:300]}
        row = Row(self.client, version(self.package), call, kind, expected, **outcome)
        print(json.dumps(asdict(row)), flush=True)


def by_position(items: Iterable[tuple[int, float]]) -> list[Item]:
    """Items of a client that returns positions and scores."""
    return [(index, score, None) for index, score in items]


def by_text(items: Iterable[tuple[str, float]]) -> list[Item]:
    """Items of a client that returns documents, not positions."""
    return [(None, score, text) for text, score in items]


def signs(vector: Sequence[float]) -> list[int]:
    """Pack the signs of a vector, one bit each, the first one highest."""
    bits = "".join("1" if number > 0 else "0" for number in vector)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def _item(index: int | None, score: float, text: str | None) -> Item:
    return (index, float(score), text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("open", "locked", "busy", "key"):
        parser.add_argument(name)
    return parser.parse_args()
