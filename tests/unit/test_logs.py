"""Log lines are one line, in the style asked for, with their fields."""

from __future__ import annotations

import gc
import io
import json
import logging
import pickle  # noqa: TID251 - as what is sent to a process of ours
import sys
import threading
from collections.abc import Iterator
from typing import Literal, TextIO, cast

import pytest
from rich.console import Console

from shortlist.errors import EngineError
from shortlist.logs import JsonFormatter, StandardError, TextFormatter, as_here, configure_logging
from shortlist.telemetry import logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logger.level
    hooks = threading.excepthook, sys.unraisablehook
    yield io.StringIO()
    root.handlers[:], root.level, logger.level = before
    threading.excepthook, sys.unraisablehook = hooks


def test_text_line_carries_its_fields(stream: io.StringIO) -> None:
    configure_logging(level="info", style="text", stream=stream)
    logger.info("started", extra={"model": "demo"})
    assert stream.getvalue().endswith("INFO    started model=demo\n")


def test_json_line_is_one_object(stream: io.StringIO) -> None:
    configure_logging(level="info", style="json", stream=stream)
    logger.info("started", extra={"model": "demo", "num": 3})
    line = json.loads(stream.getvalue())
    assert {key: line[key] for key in ("level", "message", "model", "num")} == {
        "level": "info",
        "message": "started",
        "model": "demo",
        "num": 3,
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_traceback_is_kept(stream: io.StringIO, style: str) -> None:
    configure_logging(level="info", style="json" if style == "json" else "text", stream=stream)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logger.exception("failed")
    assert "ZeroDivisionError" in stream.getvalue()


# -- what errors of others may say --------------------------------------------------------------------------------------

CANARY = "canary"
Style = Literal["text", "json"]
both_styles = pytest.mark.parametrize("style", ["text", "json"])


def choke(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        error.add_note(f"while reading {text!r}")
        raise RuntimeError(f"cannot digest {text!r}") from error


def choke_together(text: str) -> None:
    raise ExceptionGroup(text, [RuntimeError(text), ExceptionGroup(text, [LookupError(text)])])


@both_styles
def test_foreign_error_is_logged_by_type_and_location_without_message(stream: io.StringIO, style: Style) -> None:
    configure_logging(level="info", style=style, stream=stream)
    for cause in (choke, choke_together):
        try:
            cause(CANARY)
        except (RuntimeError, ExceptionGroup):
            logger.exception("failed")
    said = stream.getvalue()
    assert CANARY not in said
    for told in ("failed", "KeyError", "RuntimeError", "ExceptionGroup", "LookupError", "test_logs.py:", "in choke"):
        assert told in said
    assert said.index("KeyError") < said.index("RuntimeError"), "the oldest comes first"


@both_styles
def test_own_error_is_logged_with_its_message(stream: io.StringIO, style: Style) -> None:
    configure_logging(level="info", style=style, stream=stream)
    try:
        try:
            choke(CANARY)
        except RuntimeError as error:
            raise EngineError("The step failed.") from error
    except EngineError:
        logger.exception("failed")
    assert "EngineError: The step failed." in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_suppressed_cause_is_not_logged(stream: io.StringIO) -> None:
    configure_logging(level="info", style="text", stream=stream)
    try:
        try:
            choke(CANARY)
        except RuntimeError:
            raise EngineError("The step failed.") from None
    except EngineError:
        logger.exception("failed")
    assert "RuntimeError" not in stream.getvalue()


def test_errors_that_caused_each_other_come_to_an_end(stream: io.StringIO) -> None:
    configure_logging(level="info", style="text", stream=stream)
    one, other = ValueError(), TypeError()
    one.__cause__, other.__cause__ = other, one
    logger.error("failed", exc_info=one)
    assert stream.getvalue().count("ValueError") == 1


@both_styles
@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Exception in ASGI application\n", "Exception in ASGI application"),
        (
            "Task exception was never retrieved\nfuture: <Task exception=KeyError('canary')>",
            "Task exception was never retrieved",
        ),
        ("Exception in callback quote('canary') at a.py:1", "Exception in callback quote"),
        ("error while handling: canary", "error while handling"),
    ],
)
def test_message_of_others_about_an_error_is_cut_before_it_can_quote(
    stream: io.StringIO, style: Style, message: str, kept: str
) -> None:
    configure_logging(level="info", style=style, stream=stream)
    try:
        choke(CANARY)
    except RuntimeError:
        logging.getLogger("asyncio").exception(message)
    assert kept in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_chatter_of_others_is_cut_before_it_can_quote(stream: io.StringIO) -> None:
    configure_logging(level="info", style="text", stream=stream)
    chatty = logging.getLogger("elsewhere")
    before = chatty.level
    chatty.setLevel(logging.DEBUG)
    chatty.info('%s - "WebSocket %s" 403', "caller", CANARY)
    chatty.setLevel(before)
    assert stream.getvalue().endswith("INFO    caller -\n")


def test_message_of_others_that_is_about_no_error_is_whole(stream: io.StringIO) -> None:
    configure_logging(level="info", style="text", stream=stream)
    logging.getLogger("elsewhere").warning("Invalid HTTP request: %s", "why")
    assert "Invalid HTTP request: why" in stream.getvalue()


def test_failed_thread_is_logged_without_the_message(stream: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", style="text", stream=stream)
    thread = threading.Thread(target=choke, args=(CANARY,))
    thread.start()
    thread.join()
    assert "thread failed" in stream.getvalue()
    assert CANARY not in stream.getvalue() + capfd.readouterr().err


class Grudging:
    """Cannot even be thrown away without complaint."""

    def __del__(self) -> None:
        choke(CANARY)


def test_unraisable_error_is_logged_without_the_message(stream: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", style="text", stream=stream)
    Grudging()
    gc.collect()
    assert "RuntimeError" in stream.getvalue()
    assert CANARY not in stream.getvalue() + capfd.readouterr().err


# -- where it goes ------------------------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("closed file")])
def test_stream_that_takes_nothing_is_no_error(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(sys, "stderr", Broken(error))
    configure_logging(level="info", style="text")
    logger.info("lost")
    Console(file=cast("TextIO", StandardError())).print("lost")


def test_process_without_a_stream_is_no_error(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure_logging(level="info", style="text")
    logger.info("lost")
    assert not StandardError().isatty()
    assert StandardError().encoding == "utf-8"


def test_stream_that_works_is_used(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", style="text")
    logger.info("found")
    assert capsys.readouterr().err.endswith("INFO    found\n")


def test_unformattable_record_is_not_an_error(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", style="text")
    logger.info("%d documents", CANARY)
    assert CANARY not in capsys.readouterr().err


@pytest.mark.parametrize("style", ["text", "json"])
def test_child_process_can_use_the_same_log_configuration(stream: io.StringIO, style: Style) -> None:
    configure_logging(level="error", style=style, stream=stream)
    tell = pickle.loads(pickle.dumps(as_here()))
    configure_logging(level="debug", style="json" if style == "text" else "text", stream=stream)
    tell()
    [handler] = logging.getLogger().handlers
    assert type(handler.formatter) is (JsonFormatter if style == "json" else TextFormatter)
    assert logger.level == logging.ERROR


def test_level_is_respected(stream: io.StringIO) -> None:
    configure_logging(level="warning", style="text", stream=stream)
    logger.info("hidden")
    assert stream.getvalue() == ""
