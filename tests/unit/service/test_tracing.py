"""Traces go where the settings say, or nowhere."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from shortlist.errors import BadSetting
from shortlist.service.tracing import tracing_to
from shortlist.telemetry.traces import NO_TRACING


def test_without_a_collector_nothing_is_traced() -> None:
    assert tracing_to(None, sample_ratio=1.0) is NO_TRACING


def test_with_a_collector_it_is() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry is not installed")
    tracing = tracing_to("http://127.0.0.1:1", sample_ratio=1.0)
    assert tracing.is_on
    tracing.close()


def test_library_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name == "shortlist.telemetry.otlp":
            raise ModuleNotFoundError(name="opentelemetry")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(BadSetting, match=r"opentelemetry: pip install 'shortlist\[otel\]'"):
        tracing_to("http://127.0.0.1:1", sample_ratio=1.0)
