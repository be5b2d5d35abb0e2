"""Input of `rerank` and `embed`: lines of a file or of standard input, as texts or as groups of a query and documents.

An error names the line and what would be right, and never quotes it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeVar

import orjson

from shortlist.cli.exit_codes import print_message
from shortlist.errors import InvalidInput, ServiceError

T = TypeVar("T")

Form = Literal["auto", "text", "jsonl"]
"""Format of the lines: plain text, JSON objects, or detected from the file's name and the first line."""

STDIN: Final = 0
JSONL_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
TEXT_FORM: Final = 'a JSON object with `text`, as {"text": "..."}'
GROUP_FORM: Final = 'a JSON object with `query` and `documents`, as {"query": "...", "documents": ["...", "..."]}'

BLANK: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Text:
    """One text and the index of its line, from 0."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGroup:
    """One query and its documents.

    Attributes:
        position: Position among the groups, from 0.
        line: Line number from 1, as in editors; None if its documents are lines.
        id: The `id` in the input, or None.
        texts: The documents.
    """

    position: int
    line: int | None
    query: str
    texts: tuple[Text, ...]
    id: str | int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A source of lines.

    Attributes:
        path: The file; None for standard input.
        form: The format of the lines.
    """

    path: Path | None
    form: Form = "auto"

    @classmethod
    def of(cls, file: Path | None, form: Form = "auto") -> Input:
        """Return the input of a command: a file, or standard input for `-` or None."""
        return cls(None if file is None or str(file) == "-" else file, form)

    @property
    def name(self) -> str:
        """Name in messages."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def can_be_read_twice(self) -> bool:
        """Whether it is a regular file: then its lines can be checked and counted before the run."""
        return self.path is not None and self.path.is_file()

    def texts(self, *, skips_blank: bool) -> Iterator[Text]:
        """Yield the texts, one per line.

        Args:
            skips_blank: Whether blank lines are skipped (and still counted), or are an error.

        Raises:
            InvalidInput: the file cannot be read, or a line is invalid.
        """
        with self._lines() as lines:
            is_json: bool | None = None
            for number, line in lines:
                if not line.strip(BLANK):
                    if not skips_blank:
                        raise self._error(number, "it is blank; every line must be a text: vector n belongs to line n")
                    continue
                if is_json is None:
                    is_json = self._is_json(line)
                yield Text(number - 1, self._text_of(number, line) if is_json else self._decoded(number, line))

    def groups(self) -> Iterator[InputGroup]:
        """Yield the groups, one per line; blank lines are skipped.

        Raises:
            InvalidInput: the file cannot be read, or a line is not a group.
        """
        with self._lines() as lines:
            filled = ((number, line) for number, line in lines if line.strip(BLANK))
            for position, (number, line) in enumerate(filled):
                yield self._group_of(position, number, line)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[tuple[int, bytes]]]:
        """Open the input as numbered lines, without a UTF-8 byte order mark."""
        if self.path is None and os.isatty(STDIN):
            print_message("Reading lines from the terminal; Ctrl-D ends the input.")
        try:
            with self._open() as file:
                first = file.readline().removeprefix(b"\xef\xbb\xbf")
                yield enumerate(chain([first] if first else [], file), 1)
        except OSError as error:
            raise InvalidInput(f"{self.name} cannot be read: {error.strerror or type(error).__name__}.") from None

    def _open(self) -> BinaryIO:
        # Standard input is reopened, so that a thread may be left waiting for it when the command ends.
        return open(STDIN, "rb", closefd=False) if self.path is None else self.path.open("rb")

    def _is_json(self, line: bytes) -> bool:
        if self.form != "auto":
            return self.form == "jsonl"
        if self.path is not None and self.path.suffix in JSONL_SUFFIXES:
            return True
        value = _parsed(line)
        return isinstance(value, dict) and bool({"text", "documents"} & value.keys())

    def _decoded(self, number: int, line: bytes) -> str:
        try:
            return line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise self._error(number, "it is not UTF-8; convert the file to UTF-8") from None

    def _text_of(self, number: int, line: bytes) -> str:
        value = self._object_of(number, line, TEXT_FORM)
        text = value.get("text")
        if isinstance(text, str) and text.strip():
            return text
        if "documents" in value:
            raise self._error(number, f"it is a group with its own query; leave -q out, or write {TEXT_FORM}")
        raise self._error(number, f"its `text` is missing, empty or not a string; it should be {TEXT_FORM}")

    def _group_of(self, position: int, number: int, line: bytes) -> InputGroup:
        value = self._object_of(number, line, f"{GROUP_FORM}; for lines that are documents, give the query with -q")
        query, documents, name = value.get("query"), value.get("documents"), value.get("id")
        if not isinstance(query, str) or not query.strip():
            raise self._error(number, f"its `query` is missing, empty or not a string; it should be {GROUP_FORM}")
        texts = [_text_in(each) for each in documents] if isinstance(documents, list) else []
        if not texts or None in texts:
            raise self._error(
                number, "its `documents` must be a list of strings, or of objects with `text`; at least one, none empty"
            )
        if isinstance(name, bool) or not isinstance(name, str | int | None):
            raise self._error(number, "its `id` must be a string or a whole number")
        numbered = tuple(Text(index, text) for index, text in enumerate(texts) if text is not None)
        return InputGroup(position=position, line=number, query=query, texts=numbered, id=name)

    def _object_of(self, number: int, line: bytes, form: str) -> dict[str, object]:
        value = _parsed(line)
        if not isinstance(value, dict):
            what = "it is not JSON" if value is None else "it is not a JSON object"
            raise self._error(number, f"{what}; it should be {form}")
        return value

    def _error(self, number: int, what: str) -> InvalidInput:
        return InvalidInput(f"{self.name}, line {number}: {what}.")


def _parsed(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _text_in(document: object) -> str | None:
    text = document.get("text") if isinstance(document, dict) else document
    return text if isinstance(text, str) and text.strip() else None


async def read_in_thread(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield items as a thread reads them, so that a blocking source such as standard input does not block the event loop.

    Raises:
        ServiceError: the source fails.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[T] | BaseException | None]()
    slots, is_closed = threading.Semaphore(), threading.Event()

    def forward(item: tuple[T] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        last: BaseException | None = AssertionError("The reader thread failed. This is a bug.")
        try:
            for item in items:
                slots.acquire()
                if is_closed.is_set():
                    return
                forward((item,))
            last = None
        except ServiceError as error:
            last = error
        finally:
            forward(last)

    threading.Thread(target=pump, name="shortlist-input", daemon=True).start()
    try:
        while (received := await queue.get()) is not None:
            if isinstance(received, BaseException):
                raise received
            yield received[0]
            slots.release()
    finally:
        is_closed.set()
        slots.release()
