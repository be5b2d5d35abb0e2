"""A ranking as a table: ranks, moves, texts with the best passage, scores, and failed documents."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from shortlist.client import NotRanked
from shortlist.ui.answers import PageRanking, Passage, RankedDocument
from shortlist.ui.draw.export import export_bar
from shortlist.ui.draw.markup import summary
from shortlist.ui.i18n import Messages

MAX_SHOWN_CHARS: Final = 420
SHORT_CHARS: Final = 280
BEFORE_PASSAGE_CHARS: Final = 60
MAX_ROWS: Final = 200
"""More rows slow the browser down; the downloads contain all."""


def ranking_html(
    rankings: Sequence[PageRanking], messages: Messages, *, url: str, has_key: bool, has_groups: bool = False
) -> str:
    """Return rankings as HTML: one as a table, groups as collapsible tables.

    Args:
        rankings: The server's answers.
        messages: The user's language.
        url: The server's address, for the request in curl and Python.
        has_key: Whether requests need an API key.
        has_groups: Whether the rankings are of a file of groups.
    """
    draw = _groups if has_groups else _single
    below = export_bar(rankings, messages, url=url, has_key=has_key)
    return f'<section class="sl-result" lang="{messages.lang}">{draw(rankings, messages)}{below}</section>'


def _single(rankings: Sequence[PageRanking], messages: Messages) -> str:
    return "".join(_ranking_table(ranking, messages) for ranking in rankings)


def _groups(rankings: Sequence[PageRanking], messages: Messages) -> str:
    """Return every ranking collapsed under its query, the first one open."""
    return "".join(
        f'<details class="sl-group"{" open" if index == 0 else ""}><summary dir="auto">{escape(ranking.question.query)}'
        f"</summary>{_ranking_table(ranking, messages)}</details>"
        for index, ranking in enumerate(rankings)
    )


def _ranking_table(ranking: PageRanking, messages: Messages) -> str:
    shown = ranking.results[:MAX_ROWS]
    rows = "".join(_row(rank, result, messages) for rank, result in enumerate(shown, start=1))
    rest = messages.only_shown.format(shown=len(shown), total=len(ranking.results)) if len(shown) < len(ranking.results) else ""
    more = f'<p class="sl-note">{escape(rest)}</p>' if rest else ""
    return (
        f"{summary(ranking.model, _details(ranking, messages), ranking.timing_ms, messages)}"
        f'<table role="table">{_table_header(messages)}<tbody role="rowgroup">{rows}</tbody></table>'
        f"{more}{_failures(ranking.failed, messages)}"
    )


def _details(ranking: PageRanking, messages: Messages) -> list[str]:
    shown, total = len(ranking.results), len(ranking.question.documents)
    template = messages.num_documents if shown + len(ranking.failed) == total else messages.best_of
    details = [template.format(shown=shown, total=total)]
    if ranking.num_tokens:
        details.append(messages.num_tokens.format(count=f"{ranking.num_tokens:,}"))
    if ranking.num_cached:
        details.append(messages.num_cached.format(count=ranking.num_cached, total=total))
    return details


def _table_header(messages: Messages) -> str:
    titles = (
        ("", messages.rank_column),
        ("", messages.moved_column),
        ("", messages.document_column),
        ("", messages.score_column),
        ("sl-raw", messages.raw_column),
    )
    cells = "".join(f'<th role="columnheader" scope="col" class="{kind}">{escape(title)}</th>' for kind, title in titles)
    caption = f'<caption class="sl-hidden">{escape(messages.result)}</caption>'
    return f'{caption}<thead role="rowgroup" class="sl-hidden"><tr role="row">{cells}</tr></thead>'


def _row(rank: int, result: RankedDocument, messages: Messages) -> str:
    raw = "" if result.raw_score is None else f"{result.raw_score:+.3f}"
    return (
        f'<tr role="row" data-index="{result.index}"><td role="cell" class="sl-place">{rank}</td>'
        f'<td role="cell" class="sl-moved">{movement(rank, result.index + 1, messages)}</td>'
        f'<td role="cell" class="sl-text">{_text(result, messages)}{_marks(result, messages)}</td>'
        f'<td role="cell" class="sl-score">{_bar(result.score)}<b>{result.score:.4f}</b></td>'
        f'<td role="cell" class="sl-raw">{raw}</td></tr>'
    )


def _marks(result: RankedDocument, messages: Messages) -> str:
    if result.passage is not None:
        return _mark(messages.best_passage.format(count=result.passage.num_passages), messages.best_passage_hint, "sl-passage")
    return _mark(messages.truncated, messages.truncated_hint, "sl-cut") if result.is_truncated else ""


def _mark(name: str, hint: str, kind: str) -> str:
    return f'<span class="sl-mark {kind}" title="{escape(hint)}">{escape(name)}</span>'


def _text(result: RankedDocument, messages: Messages) -> str:
    """Return a document; a long one is collapsed to its beginning or its best passage."""
    full_text = _highlighted(result.text, result.passage)
    if len(result.text) <= MAX_SHOWN_CHARS:
        return f'<span dir="auto">{full_text}</span>'
    start = f'<span class="sl-short" dir="auto">{_excerpt(result.text, result.passage)} </span>'
    more, less = escape(messages.show_all), escape(messages.show_less)
    opener = f'<summary>{start}<span class="sl-more">{more}</span><span class="sl-less">{less}</span></summary>'
    return f'<details class="sl-long">{opener}<span dir="auto">{full_text}</span></details>'


def _highlighted(text: str, passage: Passage | None) -> str:
    if passage is None:
        return escape(text)
    start, end = passage.start, passage.end
    return f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}"


def _excerpt(text: str, passage: Passage | None) -> str:
    if passage is None:
        return f"{escape(text[:SHORT_CHARS].rstrip())}…"
    start = max(0, passage.start - BEFORE_PASSAGE_CHARS)
    end = passage.end
    if end - passage.start > SHORT_CHARS:
        cut = text.rfind(" ", passage.start, passage.start + SHORT_CHARS)
        end = cut if cut > passage.start else passage.start + SHORT_CHARS
    before = f"{'…' if start else ''}{escape(text[start : passage.start].lstrip())}"
    return f"{before}<mark>{escape(text[passage.start : end].rstrip())}</mark>…"


def _bar(score: float) -> str:
    """Return a bar as long as the score; a score outside 0..1 (a raw one) is clipped."""
    percent = 100 * min(1.0, max(0.0, score))
    return f'<span class="sl-bar" aria-hidden="true"><i style="width:{percent:.2f}%"></i></span>'


def movement(rank: int, line: int, messages: Messages) -> str:
    """Return an arrow for a document's move, and a sentence for screen readers."""
    count = abs(line - rank)
    if line > rank:
        return _moved("sl-up", f"▲ {count}", messages.moved_up.format(count=count, line=line))
    if line < rank:
        return _moved("sl-down", f"▼ {count}", messages.moved_down.format(count=count, line=line))
    return _moved("sl-same", "–", messages.not_moved)


def _moved(kind: str, sign: str, sentence: str) -> str:
    shown = f'<span aria-hidden="true">{sign}</span><span class="sl-hidden">{escape(sentence)}</span>'
    return f'<span class="{kind}" title="{escape(sentence)}">{shown}</span>'


def _failures(failed: Sequence[NotRanked], messages: Messages) -> str:
    if not failed:
        return ""
    items = "".join(
        f"<li><b>{escape(messages.failed_mark.format(line=item.index + 1))}</b> {escape(item.message)}</li>" for item in failed
    )
    return f'<div class="sl-failed"><strong>{escape(messages.failed)}</strong><ul>{items}</ul></div>'
