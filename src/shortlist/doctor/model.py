"""Shows a model report in the terminal: detection, prompt and self-test, in 80 columns, without colour outside a terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shortlist.config import Settings
from shortlist.engine.memory_plan import MemoryPlan
from shortlist.service.model_report import ModelReport, build_report
from shortlist.service.selftest_report import CheckStatus, SelfTest
from shortlist.types import EMBED, Operation, operation_names

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1

SHOWN_IDS: Final = 5
"""Number of ids shown at each end of a long sequence."""

_STYLES: Final = {
    CheckStatus.PASSED: "green",
    CheckStatus.FAILED: "bold red",
    CheckStatus.WARNED: "yellow",
    CheckStatus.SKIPPED: "dim",
}
_CONTROL: Final = re.compile(r"<\|\w+\|>|</?think>")
_MIB: Final = 1024 * 1024


def run(text: str, declared: Operation | None, settings: Settings) -> int:
    """Diagnose a model, print the report, and return the exit code: 0 if the self-test passed, else 1.

    Raises:
        SetupError: the model cannot be loaded.
    """
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    found = asyncio.run(build_report(text, declared, settings, notify=lambda line: progress.print(escape(line), style="dim")))
    console = Console(highlight=False)
    for part in report(found):
        console.print(part)
    return EXIT_PASSED if found.self_test.has_passed else EXIT_FAILED


def report(found: ModelReport) -> Iterator[RenderableType]:
    """Yield the parts of the report, top to bottom."""
    yield _title("Model")
    yield _info(found)
    for sample in found.samples:
        yield _title(f"Prompt of {sample.title} ({sample.num_tokens} tokens)")
        yield Padding(_highlighted(sample.text), (0, 0, 0, 2))
    if found.template_ids is not None:
        yield _title("Ids")
        yield _ids(found)
    yield _title("Self-test")
    yield _results(found.self_test)
    yield Text()
    yield _verdict(found.self_test)


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _grid(rows: Iterator[tuple[str, str]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value))
    return Padding(grid, (0, 0, 0, 2))


def _info(found: ModelReport) -> RenderableType:
    return _grid(_info_rows(found))


def _info_rows(found: ModelReport) -> Iterator[tuple[str, str]]:
    info = found.info
    yield "source", found.source
    yield "served as", found.name
    yield "kind", found.family
    yield "because", found.why
    yield "for", ", ".join(operation_names(found.operations))
    yield "revision", found.revision or "none stated"
    yield "runs on", f"{info.device} in {info.dtype}"
    yield "max_model_len", f"{info.max_model_len} tokens; {_model_limit(info.model_limit)}"
    if info.dimensions is not None and EMBED in found.operations:
        yield "dimensions", str(info.dimensions)
    yield "files", _size(found.files_bytes)
    yield from _memory_rows(found.memory)
    if found.template_ids is not None:
        yield "template", f"version {found.template_ids.template_version}"
    yield "fingerprint", info.fingerprint
    yield "of its prompts", found.text_fingerprint


def _model_limit(limit: int | None) -> str:
    return "the model states no limit" if limit is None else f"the model's limit is {limit}"


def _memory_rows(memory: MemoryPlan | None) -> Iterator[tuple[str, str]]:
    if memory is None:
        yield "memory", "managed by vLLM: a share of its device, allocated at start"
        return
    yield "weights", f"{_size(memory.weights_bytes)} for {memory.num_parameters / 1e6:,.0f} million parameters"
    if memory.activations_bytes is None:
        yield "one batch", f"not computed: {memory.formula}"
    else:
        yield "one batch", f"{_size(memory.activations_bytes)} at most = {memory.formula}"
        yield "memory", f"{_size(memory.weights_bytes + memory.activations_bytes)}; computed, not measured"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / _MIB:,.0f} MiB"


def _highlighted(text: str) -> Text:
    shown = Text(text)
    shown.highlight_regex(_CONTROL, "cyan")
    return shown


def _ids(found: ModelReport) -> RenderableType:
    return _grid(_id_rows(found))


def _id_rows(found: ModelReport) -> Iterator[tuple[str, str]]:
    template_ids = found.template_ids
    assert template_ids is not None, "Only shown with template ids. This is a bug."
    yield "prefix", _abbreviated(template_ids.prefix_ids)
    yield "suffix", _abbreviated(template_ids.suffix_ids)
    yield "scored at", f"{template_ids.suffix_ids[-1]} {template_ids.read_text!r}, the last token"
    if template_ids.answer_ids is not None:
        yes, no = template_ids.answer_ids
        yield "answers", f"yes = {yes}, no = {no}"


def _abbreviated(ids: tuple[int, ...]) -> str:
    if not ids:
        return "none"
    if len(ids) <= 2 * SHOWN_IDS:
        shown = " ".join(map(str, ids))
    else:
        shown = " ".join([*map(str, ids[:SHOWN_IDS]), "...", *map(str, ids[-SHOWN_IDS:])])
    return f"{shown}  ({len(ids)} {'token' if len(ids) == 1 else 'tokens'})"


def _results(tested: SelfTest) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("task", "check", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for result in tested.results:
        status = Text(result.status.value, style=_STYLES[result.status])
        table.add_row(result.operation.name, result.check.value, status, Text(result.detail))
    return Padding(table, (0, 0, 0, 2))


def _verdict(tested: SelfTest) -> Text:
    if tested.has_passed:
        return Text(tested.summary, style="green")
    return Text(tested.failure, style="bold red")
