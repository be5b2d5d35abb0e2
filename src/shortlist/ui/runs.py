"""Handles clicks: read the form, call the server, render the answer or the error.

A run is a stream of HTML; each item replaces the one before. Cancelling a run disconnects from the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from shortlist.client import AsyncClient
from shortlist.errors import NotFound, Overloaded, ServiceError
from shortlist.ui.answers import PageRanking, rank, rank_both
from shortlist.ui.draw.heat import heat_html
from shortlist.ui.draw.job_list import PageJob, batch_result_html, failure_html, jobs_html, result_html
from shortlist.ui.draw.markup import alert, error_html, progress, seconds_to_wait
from shortlist.ui.draw.plots import status_html
from shortlist.ui.draw.ranking import ranking_html
from shortlist.ui.draw.slope import slope_html
from shortlist.ui.files import FormError
from shortlist.ui.form import Form, optional_text, read_compare, read_rerank, read_texts
from shortlist.ui.metrics_view import MetricsHistory, read_sample, updated_history
from shortlist.ui.session import Session

MAX_WAIT_S: Final = 10
"""Longest retry-after that a file of groups waits for on a busy server."""
MAX_WAITS: Final = 5
BATCH_PREFIX: Final = "batch_"
REDRAW_S: Final = 0.5
"""Shortest time between two updates of partial results, in seconds."""


async def rerank_run(session: Session, values: Mapping[str, object]) -> AsyncIterator[str]:
    """Yield the progress of the first tab, then the ranking."""
    messages = session.messages
    try:
        form = read_rerank(values, messages)
    except FormError as error:
        yield alert(str(error))
        return
    done: list[PageRanking] = []
    try:
        async for sentence in _rank_questions(session, form, done):
            yield progress(sentence, messages, share=_share(form, done)) + _done_html(session, form, done)
    except ServiceError as error:
        yield error_html(error, messages) + _done_html(session, form, done)
        return
    yield _done_html(session, form, done)


async def _rank_questions(session: Session, form: Form, done: list[PageRanking]) -> AsyncIterator[str]:
    """Rank the questions in order, append to `done`, and yield progress messages."""
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


def _done_html(session: Session, form: Form, done: list[PageRanking]) -> str:
    has_key = session.api_key is not None
    if not done:
        return ""
    return ranking_html(done, session.messages, url=session.url, has_key=has_key, has_groups=form.has_groups)


async def compare_run(session: Session, values: Mapping[str, object]) -> AsyncIterator[str]:
    """Yield the progress, then the comparison of two rankings."""
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
    """Yield the progress, then the map of cosines."""
    messages = session.messages
    try:
        texts = read_texts(values["texts"], messages)
        yield progress(messages.embedding_now.format(total=len(texts)), messages)
        async with session.client() as client:
            is_query = values["read_as"] == "queries"
            embeddings = await client.embed(texts, model=optional_text(values["model"]), is_query=is_query)
        yield heat_html(texts, embeddings, messages)
    except FormError as error:
        yield alert(str(error))
    except ServiceError as error:
        yield error_html(error, messages)


async def status_run(session: Session, history: MetricsHistory, now_s: float) -> tuple[MetricsHistory, str]:
    """Take a sample of the metrics; return the updated history and its HTML."""
    try:
        response = await session.request("/metrics")
        updated = updated_history(history, read_sample(response.text, now_s))
    except ServiceError as error:
        return history, error_html(error, session.messages)
    except ValueError:
        return history, alert(session.messages.broken)
    return updated, status_html(updated, session.messages)


async def jobs_run(session: Session, now_s: float) -> str:
    """Return the user's jobs and batches as HTML."""
    try:
        async with session.client() as client:
            jobs = [PageJob.of_job(job) for job in await client.jobs()]
            with contextlib.suppress(NotFound):  # a server may have no place for files
                jobs += [PageJob.of_batch(batch) for batch in await client.batches()]
    except ServiceError as error:
        return error_html(error, session.messages)
    return jobs_html(jobs, session.messages, now_s=now_s)


async def job_run(session: Session, action: str, job_id: str) -> str:
    """Do what was clicked at a job; return what is shown below the list.

    Args:
        session: The user.
        action: `cancel`, `result`, or `close`, which shows nothing.
        job_id: The job or batch.
    """
    is_batch = job_id.startswith(BATCH_PREFIX)
    try:
        async with session.client() as client:
            if action == "cancel":
                await (client.cancel_batch(job_id) if is_batch else client.cancel(await client.job(job_id)))
            elif action == "result" and is_batch:
                return batch_result_html(job_id, session.url, session.messages)
            elif action == "result":
                return await _result_html(session, client, job_id)
    except ServiceError as error:
        return error_html(error, session.messages)
    return ""


async def _result_html(session: Session, client: AsyncClient, job_id: str) -> str:
    job = await client.job(job_id)
    try:
        return result_html(job_id, await client.result(job), session.messages)
    except ServiceError as error:
        if job.status != "failed":
            raise
        return failure_html(job_id, error.message, session.messages)


async def model_names(session: Session) -> tuple[list[str], list[str]]:
    """Return the rerankers and embedders of the server; empty on an error, which the first request then shows."""
    try:
        async with session.client() as client:
            models = await client.models()
    except ServiceError:
        return [], []
    return [each.name for each in models if "rerank" in each.tasks], [each.name for each in models if "embed" in each.tasks]
