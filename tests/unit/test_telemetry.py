"""Log lines are one line, in the style asked for, with their fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from shortlist.telemetry import Metrics, configure_logging, logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logger.level
    yield io.StringIO()
    root.handlers[:], root.level, logger.level = before


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


def test_level_is_respected(stream: io.StringIO) -> None:
    configure_logging(level="warning", style="text", stream=stream)
    logger.info("hidden")
    assert stream.getvalue() == ""


def test_two_servers_in_one_process_do_not_share_metrics() -> None:
    one, two = Metrics(), Metrics()
    one.tokens.labels("demo").inc(5)
    assert b'shortlist_tokens_total{model="demo"} 5.0' in generate_latest(one.registry)
    assert b'model="demo"' not in generate_latest(two.registry)


def test_metric_names_carry_our_prefix() -> None:
    assert all(metric.name.startswith("shortlist_") for metric in Metrics().registry.collect())
