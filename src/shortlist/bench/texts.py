"""Natural English text that is on every machine: the docstrings of Python's standard library, sentence by sentence."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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

_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Request:
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
            yield text if isinstance(text, str) else ""  # a class may have a slot of that name


def _is_prose(text: str) -> bool:
    letters = sum(char.isalpha() or char == " " for char in text)
    return text.endswith((".", "!", "?")) and len(text.split()) >= MIN_WORDS and letters >= MIN_LETTERS * len(text)
