"""Request texts: natural English from Python's docstrings, with new text in every request.

The source is the docstrings of Python's standard library. The servers' tokenizers are unknown, so lengths are in words.
Requests combine short phrases, so that no two are equal and no cache helps, unless repeats are configured.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from types import ModuleType
from typing import Final

from shortlist.errors import BadSetting

MODULES: Final = (
    "argparse", "ast", "asyncio.streams", "bisect", "calendar", "codecs", "collections", "configparser", "contextlib",
    "csv", "dataclasses", "difflib", "dis", "email.message", "email.policy", "enum", "filecmp", "fractions", "functools",
    "gettext", "heapq", "html.parser", "http.client", "http.cookies", "inspect", "ipaddress", "json", "locale", "logging",
    "logging.handlers", "mailbox", "optparse", "pathlib", "pprint", "random", "shlex", "shutil", "smtplib", "statistics",
    "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "traceback", "unittest.case", "unittest.mock",
    "urllib.request", "uuid", "weakref", "xml.dom.minidom", "zipfile",
)  # fmt: skip
"""Written in Python, so their docstrings do not depend on how the interpreter was built."""

MIN_SENTENCES: Final = 1000
MIN_WORDS: Final = 5
MIN_LETTERS: Final = 0.9
"""Share of letters and spaces below which a line is more likely a signature or a table than a sentence."""

PHRASE_WORDS: Final = 4
"""Words per phrase: few, so that a query of three phrases has trillions of variants."""

QUERY_WORDS: Final = 12
MAX_REMEMBERED: Final = 1000
"""Number of repeatable requests: few enough to fit into any cache worth measuring."""

_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One query with its documents, in order."""

    query: str
    documents: tuple[str, ...]


@cache
def sentences() -> tuple[str, ...]:
    """Return every sentence once, in the same order on every machine with this version of Python.

    Raises:
        BadSetting: this Python was started without docstrings (-OO).
    """
    found = tuple(dict.fromkeys(each for name in MODULES for each in _sentences(importlib.import_module(name))))
    if len(found) < MIN_SENTENCES:
        raise BadSetting("The texts of the benchmark are Python's own docstrings, and this Python runs without them (-OO).")
    return found


@cache
def phrases() -> tuple[str, ...]:
    """Return phrases of exactly `PHRASE_WORDS` words, each once."""
    found = (
        " ".join(words[start : start + PHRASE_WORDS])
        for words in map(str.split, sentences())
        for start in range(0, len(words) - PHRASE_WORDS + 1, PHRASE_WORDS)
    )
    return tuple(dict.fromkeys(found))


class Traffic:
    """Generates requests; the same seed gives the same requests.

    Args:
        seed: Decides every draw.
        num_documents: Documents in a request.
        num_words: Words in a document.
        seen_share: Share of requests that are copies of earlier ones.
        stock: Phrases to write with.
    """

    def __init__(
        self, seed: str, *, num_documents: int, num_words: int, seen_share: float = 0.0, stock: Sequence[str] | None = None
    ) -> None:
        self._draw = Random(seed)  # noqa: S311 - no secret
        self._num_documents = num_documents
        self._num_words = num_words
        self._seen_share = seen_share
        self._stock = stock or phrases()
        self._remembered: list[LoadRequest] = []

    def next(self) -> LoadRequest:
        """Return the next request."""
        if not self._seen_share:
            return self._written()
        if self._remembered and self._draw.random() < self._seen_share:
            return self._draw.choice(self._remembered)
        request = self._written()
        if len(self._remembered) < MAX_REMEMBERED:
            self._remembered.append(request)
        else:
            self._remembered[self._draw.randrange(MAX_REMEMBERED)] = request
        return request

    def _written(self) -> LoadRequest:
        return LoadRequest(self._text(QUERY_WORDS), tuple(self._text(self._num_words) for _ in range(self._num_documents)))

    def _text(self, num_words: int) -> str:
        whole, rest = divmod(num_words, PHRASE_WORDS)
        parts = self._draw.choices(self._stock, k=whole)
        if rest:
            parts.append(" ".join(self._draw.choice(self._stock).split()[:rest]))
        return " ".join(parts)


def _sentences(module: ModuleType) -> Iterator[str]:
    for text in _docstrings(module):
        for paragraph in inspect.cleandoc(text).split("\n\n"):
            for sentence in _END.split(" ".join(paragraph.split())):
                if _is_prose(sentence):
                    yield sentence


def _docstrings(module: ModuleType) -> Iterator[str]:
    """Yield the documentation of a module, its functions and classes, and their methods."""
    found: list[object] = [module]
    for _, value in inspect.getmembers(module, lambda value: getattr(value, "__module__", None) == module.__name__):
        found += [value, *vars(value).values()] if inspect.isclass(value) else [value]
    for value in found:
        if inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, property):
            text: object = value.__doc__
            yield text if isinstance(text, str) else ""  # a class may have a `__doc__` slot


def _is_prose(text: str) -> bool:
    letters = sum(char.isalpha() or char == " " for char in text)
    return text.endswith((".", "!", "?")) and len(text.split()) >= MIN_WORDS and letters >= MIN_LETTERS * len(text)
