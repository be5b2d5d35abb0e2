"""A slope chart: two rankings side by side, with a line between the ranks of each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from shortlist.ui.answers import PageRanking, RankedDocument
from shortlist.ui.draw.markup import shortened, summary
from shortlist.ui.i18n import Messages

ROW_PX: Final = 58
MAX_ROWS: Final = 60
MAX_TEXT_CHARS: Final = 160


@dataclass(frozen=True, slots=True)
class _RankPair:
    """A document's ranks in both rankings, counted from 1; None where it is absent."""

    text: str
    left: int | None
    right: int | None


def slope_html(left: PageRanking, right: PageRanking, messages: Messages) -> str:
    """Return the comparison as a drawing, with a table for screen readers."""
    pairs = _pairs(left, right)
    sides = "".join(
        f"<div>{summary(each.model, [each.question.query, *_instruction(each, messages)], each.timing_ms, messages)}</div>"
        for each in (left, right)
    )
    shown = (
        f'<div class="sl-slope" aria-hidden="true" style="--row:{ROW_PX}px">'
        f"{_side(left, 'sl-left')}{_lines(pairs)}{_side(right, 'sl-right')}</div>"
    )
    return (
        f'<section class="sl-result sl-comparison" lang="{messages.lang}"><div class="sl-sides">{sides}</div>'
        f'<p class="sl-verdict">{escape(_movement_summary(pairs, messages))}</p>{shown}{_table(pairs, messages)}</section>'
    )


def _instruction(ranking: PageRanking, messages: Messages) -> list[str]:
    question = ranking.question
    if question.instruction:
        return [question.instruction]
    return [messages.presets.get(question.preset, question.preset)] if question.preset else []


def _pairs(left: PageRanking, right: PageRanking) -> list[_RankPair]:
    """Return the documents of both rankings, in the order of the left."""
    on_left = {result.index: rank for rank, result in enumerate(left.results, start=1)}
    on_right = {result.index: rank for rank, result in enumerate(right.results, start=1)}
    return [_RankPair(left.question.documents[i], on_left.get(i), on_right.get(i)) for i in {**on_left, **on_right}]


def _movement_summary(pairs: Sequence[_RankPair], messages: Messages) -> str:
    distances = [abs(pair.left - pair.right) for pair in pairs if pair.left is not None and pair.right is not None]
    moved = sum(distance > 0 for distance in distances)
    if not moved:
        return messages.compare_same
    sentence = messages.compare_moves.format(moved=moved, total=len(distances), most=max(distances))
    has_new_top = any(pair.left == 1 != pair.right for pair in pairs)
    return f"{sentence} {messages.compare_top}" if has_new_top else sentence


def _side(ranking: PageRanking, kind: str) -> str:
    items = "".join(_item(rank, result) for rank, result in enumerate(ranking.results[:MAX_ROWS], start=1))
    return f'<ol class="{kind}">{items}</ol>'


def _item(rank: int, result: RankedDocument) -> str:
    text = escape(shortened(result.text, MAX_TEXT_CHARS))
    return f'<li><b>{rank}</b><span dir="auto">{text}</span><i>{result.score:.2f}</i></li>'


def _lines(pairs: Sequence[_RankPair]) -> str:
    shown = [
        pair for pair in pairs if pair.left is not None and pair.right is not None and max(pair.left, pair.right) <= MAX_ROWS
    ]
    height = ROW_PX * max((max(pair.left or 0, pair.right or 0) for pair in shown), default=1)
    paths = "".join(_line(pair.left or 0, pair.right or 0) for pair in shown)
    return f'<svg viewBox="0 0 100 {height}" height="{height}" preserveAspectRatio="none" focusable="false">{paths}</svg>'


def _line(left: int, right: int) -> str:
    y_left, y_right = ((rank - 0.5) * ROW_PX for rank in (left, right))
    kind = "sl-up" if right < left else "sl-down" if right > left else "sl-same"
    return f'<path class="{kind}" d="M0 {y_left:g} C45 {y_left:g} 55 {y_right:g} 100 {y_right:g}"/>'


def _table(pairs: Sequence[_RankPair], messages: Messages) -> str:
    titles = (messages.document_column, messages.compare_left_column, messages.compare_right_column)
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = "".join(
        f'<tr><th scope="row">{escape(pair.text)}</th>{_rank_cell(pair.left, messages)}{_rank_cell(pair.right, messages)}</tr>'
        for pair in pairs[:MAX_ROWS]
    )
    caption = f"<caption>{escape(messages.compare_caption)}</caption>"
    return f'<div class="sl-hidden"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _rank_cell(rank: int | None, messages: Messages) -> str:
    return f"<td>{escape(messages.absent) if rank is None else rank}</td>"
