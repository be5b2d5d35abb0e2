"""A ranking as a table: places, changes, texts with the passage that counts, scores, and below it what failed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from shortlist.client import NotRanked
from shortlist.ui.answers import Passage, RankedDocument, Ranking
from shortlist.ui.draw.markup import summary
from shortlist.ui.draw.takeaway import takeaway
from shortlist.ui.words import Words

MAX_SHOWN_CHARS: Final = 420
SHORT_CHARS: Final = 280
BEFORE_PASSAGE_CHARS: Final = 60
MAX_ROWS: Final = 200
"""More rows than this make a browser slow; the downloads hold all of them."""


def ranking_html(rankings: Sequence[Ranking], words: Words, *, url: str, has_key: bool, has_groups: bool = False) -> str:
    """Return rankings as HTML: one as a table, several as tables that fold.

    Args:
        rankings: What the server answered.
        words: The person's language.
        url: The server's address, for the same request in curl and Python.
        has_key: Whether the server wants a key.
        has_groups: Whether they come from a file of groups.
    """
    draw = _groups if has_groups else _single
    below = takeaway(rankings, words, url=url, has_key=has_key)
    return f'<section class="sl-result" lang="{words.lang}">{draw(rankings, words)}{below}</section>'


def _single(rankings: Sequence[Ranking], words: Words) -> str:
    return "".join(_whole(ranking, words) for ranking in rankings)


def _groups(rankings: Sequence[Ranking], words: Words) -> str:
    """Return every ranking behind its query, the first one open."""
    return "".join(
        f'<details class="sl-group"{" open" if place == 0 else ""}><summary dir="auto">{escape(ranking.question.query)}'
        f"</summary>{_whole(ranking, words)}</details>"
        for place, ranking in enumerate(rankings)
    )


def _whole(ranking: Ranking, words: Words) -> str:
    shown = ranking.results[:MAX_ROWS]
    rows = "".join(_row(place, result, words) for place, result in enumerate(shown, start=1))
    rest = words.only_shown.format(shown=len(shown), total=len(ranking.results)) if len(shown) < len(ranking.results) else ""
    more = f'<p class="sl-note">{escape(rest)}</p>' if rest else ""
    return (
        f"{summary(ranking.model, _facts(ranking, words), ranking.timing_ms, words)}"
        f'<table role="table">{_head(words)}<tbody role="rowgroup">{rows}</tbody></table>'
        f"{more}{_failures(ranking.failed, words)}"
    )


def _facts(ranking: Ranking, words: Words) -> list[str]:
    shown, total = len(ranking.results), len(ranking.question.documents)
    template = words.num_documents if shown + len(ranking.failed) == total else words.best_of
    facts = [template.format(shown=shown, total=total)]
    if ranking.num_tokens:
        facts.append(words.num_tokens.format(count=f"{ranking.num_tokens:,}"))
    if ranking.num_cached:
        facts.append(words.num_cached.format(count=ranking.num_cached, total=total))
    return facts


def _head(words: Words) -> str:
    titles = (
        ("", words.rank_column),
        ("", words.moved_column),
        ("", words.document_column),
        ("", words.score_column),
        ("sl-raw", words.raw_column),
    )
    cells = "".join(f'<th role="columnheader" scope="col" class="{kind}">{escape(title)}</th>' for kind, title in titles)
    caption = f'<caption class="sl-hidden">{escape(words.result)}</caption>'
    return f'{caption}<thead role="rowgroup" class="sl-hidden"><tr role="row">{cells}</tr></thead>'


def _row(place: int, result: RankedDocument, words: Words) -> str:
    raw = "" if result.raw_score is None else f"{result.raw_score:+.3f}"
    return (
        f'<tr role="row" data-index="{result.index}"><td role="cell" class="sl-place">{place}</td>'
        f'<td role="cell" class="sl-moved">{movement(place, result.index + 1, words)}</td>'
        f'<td role="cell" class="sl-text">{_text(result, words)}{_marks(result, words)}</td>'
        f'<td role="cell" class="sl-score">{_bar(result.score)}<b>{result.score:.4f}</b></td>'
        f'<td role="cell" class="sl-raw">{raw}</td></tr>'
    )


def _marks(result: RankedDocument, words: Words) -> str:
    if result.passage is not None:
        return _mark(words.best_passage.format(count=result.passage.num_passages), words.best_passage_hint, "sl-passage")
    return _mark(words.truncated, words.truncated_hint, "sl-cut") if result.is_truncated else ""


def _mark(name: str, hint: str, kind: str) -> str:
    return f'<span class="sl-mark {kind}" title="{escape(hint)}">{escape(name)}</span>'


def _text(result: RankedDocument, words: Words) -> str:
    """Return a document; of a long one the beginning or the passage that counts, with the rest a click or a key away."""
    whole = _highlighted(result.text, result.passage)
    if len(result.text) <= MAX_SHOWN_CHARS:
        return f'<span dir="auto">{whole}</span>'
    start = f'<span class="sl-short" dir="auto">{_excerpt(result.text, result.passage)} </span>'
    more, less = escape(words.show_all), escape(words.show_less)
    opener = f'<summary>{start}<span class="sl-more">{more}</span><span class="sl-less">{less}</span></summary>'
    return f'<details class="sl-long">{opener}<span dir="auto">{whole}</span></details>'


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
    """Return a bar as long as the score; a score outside 0..1 (a raw one) ends at the edge."""
    percent = 100 * min(1.0, max(0.0, score))
    return f'<span class="sl-bar" aria-hidden="true"><i style="width:{percent:.2f}%"></i></span>'


def movement(place: int, line: int, words: Words) -> str:
    """Return an arrow from a document's line to its place, and the sentence that says the same."""
    count = abs(line - place)
    if line > place:
        return _moved("sl-up", f"▲ {count}", words.moved_up.format(count=count, line=line))
    if line < place:
        return _moved("sl-down", f"▼ {count}", words.moved_down.format(count=count, line=line))
    return _moved("sl-same", "–", words.not_moved)


def _moved(kind: str, sign: str, sentence: str) -> str:
    shown = f'<span aria-hidden="true">{sign}</span><span class="sl-hidden">{escape(sentence)}</span>'
    return f'<span class="{kind}" title="{escape(sentence)}">{shown}</span>'


def _failures(failed: Sequence[NotRanked], words: Words) -> str:
    if not failed:
        return ""
    items = "".join(
        f"<li><b>{escape(words.failed_mark.format(line=item.index + 1))}</b> {escape(item.message)}</li>" for item in failed
    )
    return f'<div class="sl-failed"><strong>{escape(words.failed)}</strong><ul>{items}</ul></div>'
