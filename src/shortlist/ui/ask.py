"""From a filled-in form to what is shown: check it, ask the server, put the answer or the error into words.

This module knows no Gradio; it is what the page does, without the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from shortlist import errors
from shortlist.client import AsyncClient
from shortlist.ui import render
from shortlist.ui.text import Words

Connect = Callable[[], AsyncClient]
"""Gives a client that calls as the person at the page."""

MAX_SHOWN_WAIT_S = 3600
MAX_COUNT_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a person filled in; a document is a line that is not blank."""

    query: str
    documents: tuple[str, ...]
    instruction: str | None
    model: str | None
    top_n: int | None


class FormError(Exception):
    """The form cannot be sent; the message is a sentence in the person's language."""


def read_form(values: tuple[object, ...], words: Words) -> Form:
    """Return the form as it came from the browser, which may send anything.

    Args:
        values: Query, documents, instruction, model, top_n.
        words: The person's language.

    Raises:
        FormError: there is no query, no document, or `top_n` is not a count.
    """
    query, documents, instruction, model, top_n = values
    lines = tuple(line.strip() for line in _text(documents).split("\n") if line.strip())
    if not _text(query):
        raise FormError(words.no_query)
    if not lines:
        raise FormError(words.no_documents)
    return Form(
        query=_text(query),
        documents=lines,
        instruction=_text(instruction) or None,
        model=_text(model) or None,
        top_n=_count(top_n, words),
    )


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _count(value: object, words: Words) -> int | None:
    typed = _text(value)
    if not typed:
        return None
    if not typed.isdecimal() or len(typed) > MAX_COUNT_DIGITS or int(typed) == 0:
        raise FormError(words.bad_top_n)
    return int(typed)


async def ranking_html(connect: Connect, values: tuple[object, ...], words: Words) -> str:
    """Return the ranking of a filled-in form as HTML, or the error that stands in its way."""
    try:
        form = read_form(values, words)
        async with connect() as client:
            ranking = await client.rerank(
                form.query, form.documents, model=form.model, instruction=form.instruction, top_n=form.top_n
            )
    except FormError as error:
        return render.alert(str(error))
    except errors.ServiceError as error:
        return error_html(error, words)
    return render.ranking_table(ranking, num_documents=len(form.documents), words=words)


async def reranker_names(connect: Connect) -> list[str]:
    """Return the rerankers the server offers; none when it does not say, for then ranking will tell why."""
    try:
        async with connect() as client:
            return [model.name for model in await client.models() if model.is_reranker]
    except errors.ServiceError:
        return []


def error_html(error: errors.ServiceError, words: Words) -> str:
    """Return an error from the server in the person's language, with the server's own sentence in small print."""
    if isinstance(error, errors.Overloaded):
        seconds = math.ceil(min(max(error.retry_after_s, 1), MAX_SHOWN_WAIT_S))
        return render.alert(words.overloaded.format(seconds=seconds))
    return render.alert(_sentence(error, words), error.message)


def _sentence(error: errors.ServiceError, words: Words) -> str:
    table = (
        (errors.InputTooLong, words.too_long),
        (errors.BodyTooLarge, words.too_large),
        (errors.Unauthenticated, words.no_key),
        (errors.NotFound, words.not_found),
        (errors.CallerError, words.refused),
        (errors.DeadlineExceeded, words.too_slow),
        (errors.Draining, words.not_ready),
        (errors.EngineUnavailable, words.unavailable),
    )
    return next((sentence for kind, sentence in table if isinstance(error, kind)), words.broken)
