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
    """Formats errors without their messages, except Shortlist's own."""

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is the base class's
        """Return the types and locations of an error and its causes, oldest first."""
        return "\n".join(_described(ei[1])) if ei[1] is not None else ""


def _described(error: BaseException, indent: str = "") -> Iterator[str]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is known for known in chain):
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    for each in reversed(chain):
        detail = f": {each.message}" if isinstance(each, ServiceError) else ""
        yield f"{indent}{type(each).__qualname__}{detail}, raised at"
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
    """`2026-11-20 12:00:01+0100 INFO    message key=value`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback if there is one."""
        clock = datetime.fromtimestamp(record.created, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
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
        """Return whether standard error is a terminal."""
        return sys.stderr is not None and sys.stderr.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of standard error."""
        return str(getattr(sys.stderr, "encoding", "utf-8"))


def standard_error() -> TextIO:
    """Return the stream of log lines and start-up lines."""
    return cast("TextIO", StandardError())


class _Handler(logging.StreamHandler[TextIO]):
    """Drops a line that cannot be written. Python's report of the failure would quote the line."""

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
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable_error


def is_json() -> bool:
    """Return whether the log lines of this process are JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def as_here() -> Callable[[], None]:
    """Return a function that configures another process's logging as in this process."""
    level = logging.getLevelName(logger.getEffectiveLevel()).lower()
    return partial(configure_logging, level=level, style="json" if is_json() else "text")


def _log_thread_error(failure: threading.ExceptHookArgs) -> None:
    """Log the error that ended a thread. Python's default hook would print its message."""
    if failure.exc_value is not None:
        logger.error("thread failed", exc_info=failure.exc_value)


def _log_unraisable_error(failure: sys.UnraisableHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, KeyboardInterrupt):
        logger.error("unraisable error", exc_info=failure.exc_value)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _RESERVED}
