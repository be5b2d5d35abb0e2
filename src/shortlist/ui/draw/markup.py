"""HTML components that the tabs share: wordmark, labels, errors, progress, files, summary bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from shortlist import errors
from shortlist.client import TimingMs
from shortlist.ui.files import MAX_FILE_BYTES, FileContent
from shortlist.ui.i18n import LANGUAGES, Messages

LOGO: Final = (
    '<svg class="sl-logo" viewBox="0 0 28 28" aria-hidden="true" focusable="false">'
    '<rect class="sl-logo-1" x="2" y="4" width="24" height="5" rx="2.5"/>'
    '<rect class="sl-logo-2" x="2" y="12" width="16" height="5" rx="2.5"/>'
    '<rect class="sl-logo-3" x="2" y="20" width="9" height="5" rx="2.5"/>'
    "</svg>"
)

LANGUAGE_NAMES: Final = {"en": "English", "zh-CN": "中文"}
"""Each language in its own name."""

MAX_SHOWN_WAIT_S: Final = 3600

FILE_SUFFIXES: Final = ".txt,.csv,.tsv,.jsonl,.ndjson,.md"
INPUT_ID: Final = "file"


# -- static text in all languages: the style sheet shows the document's language ------------------------------------------


def masthead() -> str:
    """Return the wordmark, the tagline and the language switch."""
    taglines = "".join(_in_language(messages, "p", messages.tagline, "sl-tagline") for messages in LANGUAGES)
    buttons = "".join(
        f'<button type="button" lang="{lang}" data-language="{lang}">{name}</button>' for lang, name in LANGUAGE_NAMES.items()
    )
    both = " / ".join(messages.switch_language for messages in LANGUAGES)
    switch = f'<div class="sl-languages" role="group" aria-label="{both}">{buttons}</div>'
    return f'<header class="sl-masthead"><h1>{LOGO}<span>Shortlist</span></h1>{taglines}{switch}</header>'


def label(name: str) -> str:
    """Return a label in every language, where only markup works."""
    return "".join(
        _in_language(messages, "span", str(getattr(messages, name)), f"sl-label sl-label-{name}") for messages in LANGUAGES
    )


def heading(name: str) -> str:
    """Return a heading in every language."""
    return "".join(_in_language(messages, "h2", str(getattr(messages, name)), "sl-heading") for messages in LANGUAGES)


def nothing_yet(title: str, hint: str) -> str:
    """Return the placeholder of an answer.

    Args:
        title: Field of `Messages` with the headline.
        hint: Field of `Messages` with the hint.
    """
    return "".join(
        f'<div class="sl-empty" lang="{messages.lang}">{LOGO}<strong>{escape(getattr(messages, title))}</strong>'
        f"<span>{escape(getattr(messages, hint))}</span></div>"
        for messages in LANGUAGES
    )


def _in_language(messages: Messages, tag: str, message: str, classes: str) -> str:
    return f'<{tag} class="{classes}" lang="{messages.lang}">{escape(message)}</{tag}>'


# -- errors and progress --------------------------------------------------------------------------------------------------


def alert(message: str, detail: str = "") -> str:
    """Return an error: a message, and the server's message in smaller print."""
    small = f"<small>{escape(detail)}</small>" if detail else ""
    return f'<div class="sl-alert" role="alert"><strong>{escape(message)}</strong>{small}</div>'


def seconds_to_wait(error: errors.Overloaded) -> int:
    """Return the server's retry-after in whole seconds, from 1 to 3600."""
    return math.ceil(min(max(error.retry_after_s, 1), MAX_SHOWN_WAIT_S))


def error_html(error: errors.ServiceError, messages: Messages) -> str:
    """Return an error from the server as HTML."""
    if isinstance(error, errors.Overloaded):
        return alert(messages.overloaded.format(seconds=seconds_to_wait(error)))
    return alert(_error_message(error, messages), error.message)


def _error_message(error: errors.ServiceError, messages: Messages) -> str:
    if isinstance(error, errors.InvalidInput) and error.param in {"instruction", "preset"}:
        return messages.no_instruction
    table = (
        (errors.InputTooLong, messages.too_long),
        (errors.BodyTooLarge, messages.too_large),
        (errors.Unauthenticated, messages.no_key),
        (errors.NotFound, messages.not_found),
        (errors.CallerError, messages.refused),
        (errors.DeadlineExceeded, messages.too_slow),
        (errors.Draining, messages.not_ready),
        (errors.EngineUnavailable, messages.unavailable),
    )
    return next((message for kind, message in table if isinstance(error, kind)), messages.broken)


def progress(message: str, messages: Messages, *, share: float | None = None) -> str:
    """Return a progress bar, with the text that replaces it on cancel.

    Args:
        message: The running operation.
        messages: The user's language.
        share: Completed share, from 0 to 1; None if unknown.
    """
    width = "" if share is None else f' style="width:{100 * share:.1f}%"'
    kind = "sl-track" if share is not None else "sl-track sl-track-open"
    return (
        f'<div class="sl-progress" role="status" data-stopped="{escape(messages.stopped)}"><span>{escape(message)}</span>'
        f'<span class="{kind}" aria-hidden="true"><i{width}></i></span></div>'
    )


# -- files -----------------------------------------------------------------------------------------------------------------


def file_picker() -> str:
    """Return the file input, in every language."""
    names = "".join(
        f'<span lang="{messages.lang}"><b>{escape(messages.open_file)}</b> '
        f"<small>{escape(messages.open_file_hint)}</small></span>"
        for messages in LANGUAGES
    )
    field = f'<input type="file" id="{INPUT_ID}" class="sl-hidden" accept="{FILE_SUFFIXES}" data-most="{MAX_FILE_BYTES}">'
    return f'<div class="sl-picker">{field}<label for="{INPUT_ID}">{names}</label></div>'


def file_card(name: str, content: FileContent, messages: Messages) -> str:
    """Return the description of a file: its size, and its columns or groups."""
    marks = " data-columns" * (len(content.columns) > 1) + " data-groups" * bool(content.groups)
    total = content.num_documents
    groups = len(content.groups)
    message = messages.file_groups.format(groups=groups, total=total) if groups else messages.file_documents.format(total=total)
    return (
        f'<div class="sl-file" role="status" lang="{messages.lang}"{marks}><b>{escape(name)}</b><span>{escape(message)}</span>'
        f'<button type="button" data-forget>{escape(messages.type_instead)}</button></div>'
    )


# -- summary of an answer --------------------------------------------------------------------------------------------------


def summary(name: str, details: Sequence[str], timing: TimingMs, messages: Messages) -> str:
    """Return the summary bar: model, request and timing."""
    timings = spans(_timing(timing, messages))
    times = f'<p class="sl-timing">{timings}</p>' if timings else ""
    return (
        f'<div class="sl-summary" role="status"><p><span class="sl-model">{escape(name)}</span>'
        f"{spans(details)}</p>{times}</div>"
    )


def spans(details: Iterable[str]) -> str:
    """Return one span per detail."""
    return "".join(f"<span>{escape(detail)}</span>" for detail in details)


def _timing(timing: TimingMs, messages: Messages) -> list[str]:
    parts = (
        (messages.total_time, timing.total),
        (messages.tokenize_time, timing.tokenize),
        (messages.queue_time, timing.queue),
        (messages.compute_time, timing.compute),
    )
    return [template.format(ms=_milliseconds(value)) for template, value in parts if value is not None]


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def shortened(text: str, max_chars: int) -> str:
    """Return a text on one line, cut to `max_chars`."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 1].rstrip()}…"
