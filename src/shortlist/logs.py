"""Log lines: one line each, as text or JSON, to a standard error that never fails.

A line never contains a caller's text. Messages of other libraries' errors may quote input, so only their kind and place are
logged; Shortlist's own errors contain no text.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Literal, TextIO, cast

from shortlist.errors import ServiceError
from shortlist.telemetry import logger

MAY_QUOTE = re.compile(r"[\n<>(){}\[\]\"'`=:]")
"""Where a foreign message stops being harmless: what follows may be a caller's text."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_LOST = (OSError, ValueError, AttributeError)
"""The disk is full or the pipe broken; the stream was closed; the process was started without one."""


class _Formatter(logging.Formatter):
    """Tells errors without what they say, unless they are our own."""

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is the base class's
        """Return the kind and the place of an error and of those that led to it, oldest first."""
        return "\n".join(_described(ei[1])) if ei[1] is not None else ""


def _described(error: BaseException, indent: str = "") -> Iterator[str]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is known for known in chain):
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    for each in reversed(chain):
        said = f": {each.message}" if isinstance(each, ServiceError) else ""
        yield f"{indent}{type(each).__qualname__}{said}, raised at"
        for frame, line in traceback.walk_tb(each.__traceback__):
            yield f"{indent}  {frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
        if isinstance(each, BaseExceptionGroup):
            for member in each.exceptions:
                yield from _described(member, indent + "  | ")


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record; of other libraries' messages, only a prefix that cannot quote input."""
    message = record.getMessage()
    is_warning = record.levelno >= logging.WARNING and not record.exc_info
    if is_warning or record.name.partition(".")[0] == logger.name:
        return message
    return MAY_QUOTE.split(message, maxsplit=1)[0].strip()


class TextFormatter(_Formatter):
    """`12:00:01 INFO  shortlist: message key=value`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback if there is one."""
        clock = datetime.fromtimestamp(record.created, tz=UTC).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = f"{clock} {record.levelname:<7} {_message(record)}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(_Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


class StandardError(io.TextIOBase):
    """Standard error that never fails: what a full disk or a closed pipe does not take is lost, and the server goes on."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(*_LOST):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Push out what can be pushed out."""
        with suppress(*_LOST):
            sys.stderr.flush()

    def isatty(self) -> bool:
        """Return whether a person is looking."""
        return sys.stderr is not None and sys.stderr.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How letters become bytes there."""
        return str(getattr(sys.stderr, "encoding", "utf-8"))


def standard_error() -> TextIO:
    """Return where log lines and start-up lines go."""
    return cast("TextIO", StandardError())


class _Handler(logging.StreamHandler[TextIO]):
    """A line that cannot be written is lost; the complaint about it would quote what it was about."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the base class's
        """Do nothing."""


def configure_logging(*, level: str, style: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error if None), in one style."""
    handler = _Handler(stream or standard_error())
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger.setLevel(level.upper())
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = _tell_of_unraisable


def as_here() -> Callable[[], None]:
    """Return what has another process log as this one does, once it is called there."""
    is_json = any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
    level = logging.getLevelName(logger.getEffectiveLevel()).lower()
    return partial(configure_logging, level=level, style="json" if is_json else "text")


def _tell_of_thread(failure: threading.ExceptHookArgs) -> None:
    """Log what ended a thread; Python would print it with all that it says."""
    if failure.exc_value is not None:
        logger.error("a thread failed", exc_info=failure.exc_value)


def _tell_of_unraisable(failure: sys.UnraisableHookArgs) -> None:
    if failure.exc_value is not None:
        logger.error("an error came where none can be raised", exc_info=failure.exc_value)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _RESERVED}
