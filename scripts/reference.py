"""Write docs/reference.md: every setting, metric and error, from their definitions. `python scripts/reference.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import PydanticUndefined

from shortlist import errors
from shortlist.api.errors import _KINDS
from shortlist.config import ENV_PREFIX, Settings, fields
from shortlist.telemetry import Metrics
from shortlist.telemetry.gpu import GpuCollector

TARGET = Path("docs/reference.md")

INTRODUCTION = """# Reference

Written by `python scripts/reference.py` from the definitions in the code; a test compares.

## Settings

A setting has one spelling: `max_batch_tokens` in a TOML file (`--config FILE`, `SHORTLIST_CONFIG`), `--max-batch-tokens` on the
command line, `SHORTLIST_MAX_BATCH_TOKENS` in the environment. The command line wins over the environment, the environment over the
file. Several values are given by repeating the flag, as a TOML list, or with commas in the environment. An unknown or unparsable
setting stops the start.
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_settings(), *_metrics(), *_errors()])


def _settings() -> Iterator[str]:
    title = ""
    for group, name, field in fields():
        if group != title:
            title = group
            annotation = Settings.model_fields[group].annotation
            yield f"### {(inspect.getdoc(annotation) or group).rstrip('.')}\n"
            yield "| setting | default | what it is |\n| --- | --- | --- |"
        default = "" if field.default in {None, (), PydanticUndefined} else f"`{field.default}`"
        spelled = f"`{name}`" if name != "models" else f"`models` (positional; `{ENV_PREFIX}MODELS`)"
        yield f"| {spelled} | {default} | {field.description} |"
        if _is_last(group, name):
            yield ""


def _is_last(group: str, name: str) -> bool:
    return [each for in_group, each, _ in fields() if in_group == group][-1] == name


def _metrics() -> Iterator[str]:
    yield "## Metrics\n\nAt `/metrics`, for Prometheus. Labels are bounded: served names, upstreams, routes, dialects, tasks, status codes, reasons.\n"
    yield "| metric | kind | labels | what it is |\n| --- | --- | --- | --- |"
    for metric in (metric for name, metric in vars(Metrics()).items() if name != "registry"):
        suffix = "_total" if metric._type == "counter" else ""
        labels = ", ".join(metric._labelnames)
        yield f"| `{metric._name}{suffix}` | {metric._type} | {labels} | {metric._documentation} |"
    for family in GpuCollector(list).describe():
        yield f"| `{family.name}` | {family.type} | {', '.join(family._labelnames)} | {family.documentation} |"
    yield "\nBeside them `process_*`, as every Prometheus client names them: memory, CPU, open files, start. What they mean together, and how"
    yield "dashboards for other servers find them, is in [monitoring.md](monitoring.md).\n"


def _errors() -> Iterator[str]:
    yield "## Errors\n\nEvery error has one body: `error.message`, `error.type`, `error.param`, `error.code`, and `message`, `detail`,"
    yield "`request_id` beside them.\n"
    yield "| status | `error.code` | error | what it means |\n| --- | --- | --- | --- |"
    for cls, kind in _KINDS.items():
        assert issubclass(cls, errors.ServiceError)
        meaning = (inspect.getdoc(cls) or "").splitlines()[0]
        yield f"| {kind.status} | `{kind.code}` | `{cls.__name__}` | {meaning} |"
    yield ""


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
