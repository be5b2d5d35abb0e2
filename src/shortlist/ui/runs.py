"""Runs of a click: read the form, call the server, render the answer or the error.

A run is a stream of HTML, each item replaces the one before. Cancel disconnects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from shortlist.errors import Overloaded, ServiceError
from shortlist.ui.answers import PageRanking, rank, rank_both
from shortlist.ui.draw.heat import heat_html
from shortlist.ui.draw.markup import alert, error_html, progress, seconds_to_wait
from shortlist.ui.draw.plots import status_html
from shortlist.ui.draw.ranking import ranking_html
from shortlist.ui.draw.slope import slope_html
from shortlist.ui.files import FormError
from shortlist.ui.form import Form, read_compare, read_rerank, read_texts, text_of
from shortlist.ui.metrics_view import MetricsHistory, read_sample, updated_history
from shortlist.ui.session import Session

MAX_WAIT_S: Final = 10
"""A file of groups waits this long for a busy server, and then goes on."""
MAX_WAITS: Final = 5
REDRAW_S: Final = 0.5
"""Shortest time between two updates of partial results in seconds."""


async def rerank_run(session: Session, values: Mapping[str, object]) -> AsyncIterator[str]:
    """Yield how far the ranking of the first tab is, and at last the ranking."""
    messages = session.messages
    try:
        form = read_rerank(values, messages)
    except FormError as error:
        yield alert(str(error))
        return
    done: list[PageRanking] = []
    try:
        async for sentence in _ranked(session, form, done):
            yield progress(sentence, messages, share=_share(form, done)) + _shown(session, form, done)
    except ServiceError as error:
        yield error_html(error, messages) + _shown(session, form, done)
        return
    yield _shown(session, form, done)


async def _ranked(session: Session, form: Form, done: list[PageRanking]) -> AsyncIterator[str]:
    """Rank one question after the other into `done`, and yield what is going on."""
    messages, drawn_s, num_waits = session.messages, 0.0, 0
    while len(done) < len(form.questions):
        if time.monotonic() - drawn_s >= REDRAW_S:
            drawn_s = time.monotonic()
            template = messages.ranking_groups if form.has_groups else messages.ranking_now
            yield template.format(total=form.num_documents, done=len(done), groups=len(form.questions))
        try:
            done.append(await rank(session, form.questions[len(done)]))
        except Overloaded as error:
            seconds, num_waits = seconds_to_wait(error), num_waits + 1
            if not form.has_groups or seconds > MAX_WAIT_S or num_waits > MAX_WAITS:
                raise
            yield messages.waiting.format(seconds=seconds)
            await asyncio.sleep(seconds)


def _share(form: Form, done: list[PageRanking]) -> float | None:
    return len(done) / len(form.questions) if form.has_groups else None


def _shown(session: Session, form: Form, done: list[PageRanking]) -> str:
    has_key = session.api_key is not None
    if not done:
        return ""
    return ranking_html(done, session.messages, url=session.url, has_key=has_key, has_groups=form.has_groups)


async def compare_run(session: Session, values: Mapping[str, object]) -> AsyncIterator[str]:
    """Yield that two rankings are made, and then how they differ."""
    messages = session.messages
    try:
        left, right = read_compare(values, messages)
        yield progress(messages.comparing_now.format(total=len(left.documents)), messages)
        yield slope_html(*await rank_both(session, left, right), messages)
    except FormError as error:
        yield alert(str(error))
    except ServiceError as error:
        yield error_html(error, messages)


async def embed_run(session: Session, values: Mapping[str, object]) -> AsyncIterator[str]:
    """Yield that texts are embedded, and then how alike they are."""
    messages = session.messages
    try:
        texts = read_texts(values["texts"], messages)
        yield progress(messages.embedding_now.format(total=len(texts)), messages)
        async with session.client() as client:
            is_query = values["read_as"] == "queries"
            embeddings = await client.embed(texts, model=text_of(values["model"]), is_query=is_query)
        yield heat_html(texts, embeddings, messages)
    except FormError as error:
        yield alert(str(error))
    except ServiceError as error:
        yield error_html(error, messages)


async def status_run(session: Session, watch: MetricsHistory, now_s: float) -> tuple[MetricsHistory, str]:
    """Return what was seen of the server, with one more sample of its metrics, and how that looks."""
    try:
        response = await session.ask("/metrics")
        seen = updated_history(watch, read_sample(response.text, now_s))
    except ServiceError as error:
        return watch, error_html(error, session.messages)
    except ValueError:
        return watch, alert(session.messages.broken)
    return seen, status_html(seen, session.messages)


async def model_names(session: Session) -> tuple[list[str], list[str]]:
    """Return the rerankers and the embedders that the server offers; none when it does not say: asking them will tell why."""
    try:
        async with session.client() as client:
            models = await client.models()
    except ServiceError:
        return [], []
    return [each.name for each in models if "rerank" in each.tasks], [each.name for each in models if "embed" in each.tasks]
