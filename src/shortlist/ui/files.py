"""Parses files into documents: lines, a column of a table, sections, or groups. Pure.

The browser reads the file and sends its text, so nothing is written to the server's disk.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from shortlist.ui.i18n import Messages

MAX_FILE_MIB: Final = 16
MAX_FILE_BYTES: Final = MAX_FILE_MIB << 20

DEFAULT_COLUMNS: Final = ("text", "document", "content", "passage", "body", "文本", "内容", "正文", "文档")
"""Preferred columns, first match first; without a match, the column with the longest texts."""

DELIMITERS: Final = ",;\t"

Row = Mapping[str, str]


class FormError(Exception):
    """The form is invalid; the message is for the user, in their language."""


@dataclass(frozen=True, slots=True)
class FileGroup:
    """One query with its own documents."""

    query: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """The parsed content of a file.

    Attributes:
        documents: The documents, unless the file holds groups.
        groups: The queries with their documents; empty if the file holds documents.
        columns: The columns to choose from; empty without columns.
        column: The chosen column.
    """

    documents: tuple[str, ...] = ()
    groups: tuple[FileGroup, ...] = ()
    columns: tuple[str, ...] = ()
    column: str | None = None

    @property
    def num_documents(self) -> int:
        """Number of documents, of all groups if there are groups."""
        return len(self.documents) + sum(len(group.documents) for group in self.groups)


def read_file(
    name: str, text: str, column: str | None, messages: Messages, *, num_bytes: int = 0, may_be_empty: bool = False
) -> FileContent:
    """Parse a file by its name's suffix.

    Args:
        name: The file's name.
        text: The file's text.
        column: The column with the documents; None or an unknown one selects the default column.
        messages: The user's language.
        num_bytes: The file's size; the browser does not send the text of a file that is too large.
        may_be_empty: Whether zero documents are allowed, as in a column that the user can still change.

    Raises:
        FormError: the file is too large, of an unknown type, malformed, or empty.
    """
    if max(num_bytes, len(text)) > MAX_FILE_BYTES:
        raise FormError(messages.file_too_large.format(limit=MAX_FILE_MIB))
    reader = _READERS.get(name.rpartition(".")[2].lower())
    if reader is None:
        raise FormError(messages.file_unknown)
    content = reader(text.removeprefix("\ufeff"), column, messages)
    if not content.num_documents and not may_be_empty:
        raise FormError(messages.file_empty)
    return content


def lines_of(text: str) -> tuple[str, ...]:
    """Return the non-blank lines. Only a line feed separates lines."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _lines(text: str, _: str | None, __: Messages) -> FileContent:
    return FileContent(documents=lines_of(text))


def _markdown(text: str, _: str | None, __: Messages) -> FileContent:
    """Return one document per section, with its heading; without headings, one per paragraph."""
    sections, is_code, has_heading = [""], False, False
    for line in text.replace("\r\n", "\n").split("\n"):
        is_code ^= line.lstrip().startswith(("```", "~~~"))
        if not is_code and re.match(r"#{1,6}\s", line):
            has_heading = True
            sections.append("")
        sections[-1] += f"{line}\n"
    parts = sections if has_heading else re.split(r"\n\s*\n", sections[0])
    return FileContent(documents=tuple(part.strip() for part in parts if part.strip()))


def _table(text: str, column: str | None, _: Messages) -> FileContent:
    """Return a column of a table; the first line names the columns."""
    header = text.partition("\n")[0]
    csv.field_size_limit(MAX_FILE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count))
    lines = [line for line in reader if line]
    names = [name.strip() or str(position) for position, name in enumerate(lines[0] if lines else (), start=1)]
    return _from_rows([dict(zip(names, line, strict=False)) for line in lines[1:]], names, column)


def _json_lines(text: str, column: str | None, messages: Messages) -> FileContent:
    """Return texts, a column of objects, or groups; the first line decides."""
    values = list(_values(text, messages))
    if not values:
        return FileContent()
    texts = [value for _, value in values if isinstance(value, str)]
    if len(texts) == len(values):
        return FileContent(documents=tuple(text for text in texts if text.strip()))
    objects = [(line, value) for line, value in values if isinstance(value, dict)]
    if len(objects) < len(values):
        is_text = isinstance(values[0][1], str)
        raise FormError(
            messages.file_mixed.format(line=next(line for line, value in values if isinstance(value, str) != is_text))
        )
    if "query" in objects[0][1] and "documents" in objects[0][1]:
        return FileContent(groups=tuple(_group(line, value, messages) for line, value in objects))
    rows = [{str(key): _cell_text(cell) for key, cell in value.items()} for _, value in objects]
    return _from_rows(rows, list(dict.fromkeys(name for row in rows for name in row)), column)


def _values(text: str, messages: Messages) -> Iterator[tuple[int, str | dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise FormError(messages.file_no_json.format(line=number)) from None
        if not isinstance(value, str | dict):
            raise FormError(messages.file_mixed.format(line=number))
        yield number, value


def _group(line: int, value: Mapping[str, object], messages: Messages) -> FileGroup:
    query, documents = value.get("query"), value.get("documents")
    texts = [_document(each) for each in documents] if isinstance(documents, list) else []
    if not isinstance(query, str) or not query.strip() or not texts or None in texts:
        raise FormError(messages.file_bad_group.format(line=line))
    return FileGroup(query.strip(), tuple(text for text in texts if text is not None))


def _document(value: object) -> str | None:
    """Return a document of a group: a string, or an object with `text` as in rerank requests."""
    text = value.get("text") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _cell_text(cell: object) -> str:
    return cell if isinstance(cell, str) else orjson.dumps(cell).decode()


def _from_rows(rows: Sequence[Row], names: Sequence[str], column: str | None) -> FileContent:
    chosen = column if column in names else _default_column(rows, names)
    documents = tuple(row.get(chosen, "").strip() for row in rows) if chosen is not None else ()
    return FileContent(documents=tuple(filter(None, documents)), columns=tuple(names), column=chosen)


def _default_column(rows: Sequence[Row], names: Sequence[str]) -> str | None:
    preferred = (name for default in DEFAULT_COLUMNS for name in names if name.lower() == default)
    longest = max(names, key=lambda name: sum(len(row.get(name, "")) for row in rows), default=None)
    return next(preferred, longest)


_READERS: Final[Mapping[str, Callable[[str, str | None, Messages], FileContent]]] = {
    "txt": _lines,
    "csv": _table,
    "tsv": _table,
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "md": _markdown,
    "markdown": _markdown,
}
