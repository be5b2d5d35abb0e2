"""Records what the server offers: routes with the dialects at each, metrics with their labels, settings with their defaults."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi.routing import APIRoute

from shortlist.api.dialects import table
from shortlist.api.routes import router, task_router
from shortlist.config import fields
from shortlist.telemetry import Metrics
from tests.goldens.transcript import RECORDED

FILE = RECORDED / "surface.txt"


def text() -> str:
    """Return one line for every route, metric and setting."""
    return "".join(f"{line}\n" for line in (*sorted(_routes()), *sorted(_metrics()), *sorted(_settings())))


def record() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")


def _routes() -> Iterator[str]:
    for route in (*task_router().routes, *router.routes):
        if isinstance(route, APIRoute):
            dialects = ", ".join(dialect.name for dialect, _ in table.ENTRIES.get(route.path, ()))
            for method in sorted(route.methods or ()):
                yield f"route {method} {route.path} {dialects}".rstrip()


def _metrics() -> Iterator[str]:
    registry = Metrics().registry
    for metric in registry.collect():
        collector = registry._names_to_collectors.get(metric.name)
        labels = ", ".join(getattr(collector, "_labelnames", getattr(metric, "_labelnames", ())))
        yield f"metric {metric.name} {metric.type} {labels}".rstrip()


def _settings() -> Iterator[str]:
    for group, name, field in fields():
        yield f"setting {group}.{name} = {field.default!r}"
