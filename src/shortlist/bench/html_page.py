"""Renders a load report as one self-contained HTML file without scripts, fonts or URLs, in light and dark colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from shortlist.bench.figures import TITLES, loops, svg
from shortlist.bench.report import LoadReport
from shortlist.bench.tables import OURS, PICTURE_WORDS, WORDS, TerminalTable, machine_line, notes, terminal_tables, warnings

STYLE: Final = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #e3e6ea; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #e8eaed; --soft: #9aa4af; --line: #2c3238; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 36px 0 10px; font-size: 17px; }
p, li { color: var(--soft); margin: 0 0 4px; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
figure { margin: 24px 0 0; padding: 12px; background: #ffffff; overflow-x: auto; }
figure, .wide { border: 1px solid var(--line); border-radius: 10px; }
svg { display: block; width: 100%; min-width: 560px; height: auto; }
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
    """Return the HTML page."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: LoadReport) -> Iterator[str]:
    title = escape(f"Under load: {', '.join(target.name for target in report.plan.targets)}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>\n<p>{escape(machine_line(report.machine))}</p>"
    for loop in loops(report):
        yield f'<figure role="img" aria-label="{PICTURE_WORDS}: {TITLES[loop].lower()}">{svg(report, loop)}</figure>'
    for sheet in terminal_tables(report):
        yield f"<h2>{escape(sheet.title)}</h2>"
        yield from _table(sheet)
    yield "<ul>"
    yield from (f'<li class="warning">{escape(warning)}</li>' for warning in warnings(report))
    yield from (f"<li>{escape(note)}</li>" for note in notes(report))
    yield "</ul>\n<h2>Servers</h2>"
    yield from (f"<p>{escape(target.name)}: <code>{escape(target.url)}</code></p>" for target in report.plan.targets)
    yield f"<h2>Command</h2>\n<p><code>{escape(report.machine.command)}</code></p>\n</main>\n</body>\n</html>"


def _table(sheet: TerminalTable) -> Iterator[str]:
    yield f'<div class="wide"><table>\n<thead><tr>{"".join(_cells("th", sheet.heads, sheet.heads))}</tr></thead>\n<tbody>'
    for before, row in zip([None, *sheet.rows], sheet.rows, strict=False):
        kinds = [*(["ours"] if OURS in row else []), *(["next"] if before is not None and before[0] != row[0] else [])]
        yield f'<tr class="{" ".join(kinds)}">{"".join(_cells("td", sheet.heads, row))}</tr>'
    yield "</tbody>\n</table></div>"


def _cells(tag: str, heads: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for head, cell in zip(heads, row, strict=True):
        kind = ' class="word"' if head in WORDS else ""
        yield f"<{tag}{kind}>{escape(cell)}</{tag}>"
