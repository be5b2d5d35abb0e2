"""A load report as one HTML file that needs nothing else: no script, no font, no address; light or dark as its reader likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from shortlist.bench.tables import OURS, machine_line
from shortlist.bench.traffic import cells
from shortlist.bench.traffic.curve import COLOURS, figures
from shortlist.bench.traffic.result import LoadReport
from shortlist.bench.traffic.svg import drawn

DARK: Final = ("#ff8a5c", "#74b0f4", "#69c779", "#cf8be0", "#5cc8da", "#d3a86a")
"""The colours of curves, for a dark page."""

STYLE: Final = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #e3e6ea; --card: #f7f8fa; LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --page: #15181c; --ink: #e8eaed; --soft: #9aa4af; --line: #2c3238; --card: #1c2025; DARK }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 36px 0 10px; font-size: 17px; }
p, li { color: var(--soft); margin: 0 0 4px; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
figure { margin: 24px 0 0; padding: 16px 12px 8px; background: var(--card); }
figure, .wide { border: 1px solid var(--line); border-radius: 10px; }
figure { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 560px; height: auto; font: 12px system-ui, sans-serif; }
.title, .axis { fill: var(--ink); font-weight: 600; font-size: 13px; }
.axis { font-weight: 400; fill: var(--soft); }
.tick { fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); }
.bound { stroke: var(--soft); stroke-dasharray: 4 4; }
.name { font-weight: 600; font-size: 13px; }
.value { fill: var(--ink); font-weight: 400; }
.curve line { stroke-width: 2.5; stroke-linecap: round; }
.curve .range { stroke-width: 1.5; opacity: .6; }
.curve circle { stroke: var(--card); stroke-width: 1.5; }
COLOURS
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 6px 10px; text-align: right; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
tbody td { border-top: 1px solid var(--line); }
.word { text-align: left; }
.ours .word { font-weight: 600; }
tbody .next td { border-top: 2px solid var(--line); }
.warning { color: var(--ink); }
ul { margin: 20px 0 0; padding-left: 18px; }
"""


def written(report: LoadReport) -> str:
    """Return the whole page."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: LoadReport) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Under load: {escape(_names(report))}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>Under load: {escape(_names(report))}</h1>"
    yield f"<p>{escape(machine_line(report.machine))}</p>"
    for figure in figures(report):
        yield f"<figure>{drawn(figure)}</figure>"
    for sheet in cells.sheets(report):
        yield f"<h2>{escape(sheet.title)}</h2>"
        yield from _table(sheet)
    yield "<ul>"
    for warning in cells.warnings(report):
        yield f'<li class="warning">{escape(warning)}</li>'
    for note in (*cells.notes(report), cells.generator_line(report)):
        yield f"<li>{escape(note)}</li>"
    yield "</ul>\n<h2>Servers</h2>"
    for target in report.plan.targets:
        yield f"<p>{escape(target.name)}: <code>{escape(target.url)}</code></p>"
    yield f"<h2>Command</h2>\n<p><code>{escape(report.machine.command)}</code></p>"
    yield "</main>\n</body>\n</html>"


def _names(report: LoadReport) -> str:
    return ", ".join(target.name for target in report.plan.targets)


def _table(sheet: cells.Sheet) -> Iterator[str]:
    yield '<div class="wide"><table>\n<thead><tr>'
    yield "".join(f"<th{_kind(head)}>{escape(head)}</th>" for head in sheet.heads)
    yield "</tr></thead>\n<tbody>"
    for before, row in zip([None, *sheet.rows], sheet.rows, strict=False):
        kinds = [*(["ours"] if OURS in row else []), *(["next"] if before is not None and before[0] != row[0] else [])]
        yield f'<tr class="{" ".join(kinds)}">{"".join(_cells(sheet.heads, row))}</tr>'
    yield "</tbody>\n</table></div>"


def _cells(heads: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    return (f"<td{_kind(head)}>{escape(cell)}</td>" for head, cell in zip(heads, row, strict=True))


def _kind(head: str) -> str:
    return ' class="word"' if head in cells.WORDS else ""


def _style() -> str:
    """Return the style with its colours filled in: variables for light and dark, and who uses which."""
    light, dark = (" ".join(f"--c{number}: {colour};" for number, colour in enumerate(each)) for each in (COLOURS, DARK))
    uses = "\n".join(
        f".c{number} line {{ stroke: var(--c{number}); }} .c{number} circle, .t{number} {{ fill: var(--c{number}); }}"
        for number in range(len(COLOURS))
    )
    return STYLE.replace("LIGHT", light).replace("DARK", dark).replace("COLOURS", uses)
