"""From a ranking, or from an error, to HTML. Pure: the same values give the same text.

Everything that came from a person or from the network is escaped here, and only here; nothing else on the page builds
markup from data.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from shortlist.client import NotRanked, RankedText, Ranking, TimingMs
from shortlist.ui.text import LANGUAGES, Words

MAX_SHOWN_CHARS = 420
SHORT_CHARS = 280

LOGO = (
    '<svg class="sl-logo" viewBox="0 0 28 28" aria-hidden="true" focusable="false">'
    '<rect class="sl-logo-1" x="2" y="4" width="24" height="5" rx="2.5"/>'
    '<rect class="sl-logo-2" x="2" y="12" width="16" height="5" rx="2.5"/>'
    '<rect class="sl-logo-3" x="2" y="20" width="9" height="5" rx="2.5"/>'
    "</svg>"
)


# -- what never changes, in every language at once: the style sheet shows the one of the document --------------------------


def masthead() -> str:
    """Return the wordmark and what this is for."""
    taglines = "".join(_in_language(words, "p", words.tagline, "sl-tagline") for words in LANGUAGES)
    return f'<header class="sl-masthead"><h1>{LOGO}<span>Shortlist</span></h1>{taglines}</header>'


def label(name: str) -> str:
    """Return one of our words in every language, for a place where only markup will do."""
    return "".join(_in_language(words, "span", str(getattr(words, name)), f"sl-label sl-label-{name}") for words in LANGUAGES)


def nothing_yet() -> str:
    """Return what stands where the ranking will be."""
    return "".join(_nothing_yet(words) for words in LANGUAGES)


def _nothing_yet(words: Words) -> str:
    inner = f"{LOGO}<strong>{escape(words.nothing_yet)}</strong><span>{escape(words.nothing_yet_hint)}</span>"
    return f'<div class="sl-empty" lang="{words.lang}">{inner}</div>'


def _in_language(words: Words, tag: str, sentence: str, classes: str) -> str:
    return f'<{tag} class="{classes}" lang="{words.lang}">{escape(sentence)}</{tag}>'


# -- errors ---------------------------------------------------------------------------------------------------------------


def alert(sentence: str, detail: str = "") -> str:
    """Return an error as a person should meet it: a sentence, and in smaller print what the server said."""
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return f'<div class="sl-alert" role="alert"><strong>{escape(sentence)}</strong>{small}</div>'


# -- the ranking ----------------------------------------------------------------------------------------------------------


def ranking_table(ranking: Ranking, *, num_documents: int, words: Words) -> str:
    """Return the ranking as a table, best first, with what it cost above it and what failed below it."""
    truncated = frozenset(ranking.truncated)
    rows = "".join(
        _row(place, result, is_truncated=result.index in truncated, words=words)
        for place, result in enumerate(ranking.results, start=1)
    )
    return (
        f'<section class="sl-result" lang="{words.lang}">{_summary(ranking, num_documents, words)}'
        f'<table role="table">{_head(words)}<tbody role="rowgroup">{rows}</tbody></table>'
        f"{_failures(ranking.failed, words)}</section>"
    )


def _summary(ranking: Ranking, num_documents: int, words: Words) -> str:
    shown = len(ranking.results)
    is_whole = shown + len(ranking.failed) == num_documents
    template = words.num_documents if is_whole else words.best_of
    facts = [template.format(shown=shown, total=num_documents)]
    if ranking.num_tokens:
        facts.append(words.num_tokens.format(count=f"{ranking.num_tokens:,}"))
    timing = _timing(ranking.timing_ms, words)
    model = f'<span class="sl-model">{escape(ranking.model)}</span>'
    return f'<div class="sl-summary" role="status"><p>{model}{_facts(facts)}</p>{timing}</div>'


def _timing(timing: TimingMs, words: Words) -> str:
    parts = (
        (words.total_time, timing.total),
        (words.tokenize_time, timing.tokenize),
        (words.queue_time, timing.queue),
        (words.compute_time, timing.compute),
    )
    facts = [template.format(ms=_milliseconds(value)) for template, value in parts if value is not None]
    return f'<p class="sl-timing">{_facts(facts)}</p>' if facts else ""


def _facts(facts: Sequence[str]) -> str:
    return "".join(f"<span>{escape(fact)}</span>" for fact in facts)


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _head(words: Words) -> str:
    titles = (words.rank_column, words.moved_column, words.document_column, words.score_column)
    cells = "".join(f'<th role="columnheader" scope="col">{escape(title)}</th>' for title in titles)
    caption = f'<caption class="sl-hidden">{escape(words.result)}</caption>'
    return f'{caption}<thead role="rowgroup" class="sl-hidden"><tr role="row">{cells}</tr></thead>'


def _row(place: int, result: RankedText, *, is_truncated: bool, words: Words) -> str:
    mark = (
        f'<span class="sl-mark" title="{escape(words.truncated_hint)}">{escape(words.truncated)}</span>' if is_truncated else ""
    )
    return (
        f'<tr role="row" data-index="{result.index}"><td role="cell" class="sl-place">{place}</td>'
        f'<td role="cell" class="sl-moved">{_movement(place, result.index + 1, words)}</td>'
        f'<td role="cell" class="sl-text">{_text(result.text or "", words)}{mark}</td>'
        f'<td role="cell" class="sl-score">{_bar(result.score)}<b>{result.score:.4f}</b></td></tr>'
    )


def _text(text: str, words: Words) -> str:
    """Return a document; of a long one the beginning, with the rest a click or a key away."""
    if len(text) <= MAX_SHOWN_CHARS:
        return f'<span dir="auto">{escape(text)}</span>'
    start = f'<span class="sl-short" dir="auto">{escape(text[:SHORT_CHARS].rstrip())}… </span>'
    more, less = escape(words.show_all), escape(words.show_less)
    summary = f'<summary>{start}<span class="sl-more">{more}</span><span class="sl-less">{less}</span></summary>'
    return f'<details class="sl-long">{summary}<span dir="auto">{escape(text)}</span></details>'


def _bar(score: float) -> str:
    """Return a bar as long as the score; a score outside 0..1 (a raw one) ends at the edge."""
    percent = 100 * min(1.0, max(0.0, score))
    return f'<span class="sl-bar" aria-hidden="true"><i style="width:{percent:.2f}%"></i></span>'


def _movement(place: int, line: int, words: Words) -> str:
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
    items = "".join(f'<li value="{item.index + 1}">{escape(item.message)}</li>' for item in failed)
    return f'<div class="sl-failed"><strong>{escape(words.failed)}</strong><ol>{items}</ol></div>'
