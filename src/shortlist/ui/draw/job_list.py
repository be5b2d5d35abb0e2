"""Jobs and batches as a list: status, progress, age, and what can be done with them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Self

import orjson

from shortlist.client import SubmittedJob
from shortlist.schemas.openai_batches import BatchAnswer
from shortlist.ui.draw.markup import LOGO, alert, spans
from shortlist.ui.i18n import Messages

MAX_RESULT_CHARS: Final = 20_000
"""A longer result is shown cut; its download is whole."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

OPEN: Final = frozenset({"queued", "running", "validating", "in_progress", "finalizing", "cancelling"})
GOOD: Final = frozenset({"succeeded", "completed"})
WITH_RESULT: Final = frozenset({"succeeded", "failed", "completed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageJob:
    """A job or a batch.

    Attributes:
        id: Its id.
        status: Its status, of either kind.
        path: The path of its requests.
        created_at: When it was accepted, in seconds since 1970.
        finished_at: When it ended; None before.
        attempts: How often a worker has begun with it; 0 for batches.
        total: Requests of a batch; 0 for jobs.
        completed: Those that were answered.
        failed: Those that have failed.
        webhook: Status of its webhook; empty without one.
        webhook_reason: What the last attempt came to.
    """

    id: str
    status: str
    path: str
    created_at: float
    finished_at: float | None = None
    attempts: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    webhook: str = ""
    webhook_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    @classmethod
    def of_job(cls, job: SubmittedJob[object]) -> Self:
        """Return a job."""
        webhook = job.webhook or {}
        return cls(
            id=job.id,
            status=job.status,
            path=job.path,
            created_at=job.created_at,
            finished_at=job.finished_at,
            attempts=job.attempts,
            webhook=str(webhook.get("status", "")),
            webhook_reason=str(webhook.get("reason", "")),
        )

    @classmethod
    def of_batch(cls, batch: BatchAnswer) -> Self:
        """Return a batch."""
        counts = batch["request_counts"]
        ends = (batch["completed_at"], batch["failed_at"], batch["cancelled_at"], batch["expired_at"])
        return cls(
            id=batch["id"],
            status=batch["status"],
            path=batch["endpoint"],
            created_at=batch["created_at"],
            finished_at=next((each for each in ends if each is not None), None),
            total=counts["total"],
            completed=counts["completed"],
            failed=counts["failed"],
        )


def jobs_html(jobs: Sequence[PageJob], messages: Messages, *, now_s: float) -> str:
    """Return jobs as HTML: those that have not ended first, the newest of each first."""
    if not jobs:
        hint = f"<strong>{escape(messages.jobs_empty)}</strong><span>{escape(messages.jobs_empty_hint)}</span>"
        return f'<div class="sl-empty" lang="{messages.lang}">{LOGO}{hint}</div>'
    num_open = sum(job.is_open for job in jobs)
    counts = (messages.jobs_open.format(count=num_open), messages.jobs_ended.format(count=len(jobs) - num_open))
    ordered = sorted(jobs, key=lambda job: (not job.is_open, -job.created_at))
    items = "".join(_item(job, messages, now_s) for job in ordered)
    header = f'<p class="sl-state">{spans(counts)}</p>'
    attributes = f'class="sl-jobs" lang="{messages.lang}" aria-label="{escape(messages.job_list)}"'
    return f"<section {attributes}>{header}<ul>{items}</ul></section>"


def result_html(job_id: str, result: object, messages: Messages) -> str:
    """Return the result of a job as HTML, with a download."""
    whole = orjson.dumps(result, option=orjson.OPT_INDENT_2)
    shown = whole.decode()[:MAX_RESULT_CHARS]
    cut = "…" if len(shown) < len(whole.decode()) else ""
    data = base64.b64encode(whole).decode()
    link = f'<a download="{escape(job_id)}.json" href="data:application/octet-stream;base64,{data}">JSON</a>'
    return _panel(
        job_id, f'<span class="sl-downloads">{escape(messages.download)} {link}</span>', "JSON", f"{shown}{cut}", messages
    )


def failure_html(job_id: str, message: str, messages: Messages) -> str:
    """Return the error that a job's request ended with."""
    return alert(f"{messages.job_statuses['failed']}: {job_id}", message)


def batch_result_html(batch_id: str, url: str, messages: Messages) -> str:
    """Return how to get the result of a batch, which may be larger than a page."""
    command = f"shortlist jobs wait {batch_id} --url {url} > {batch_id}.jsonl"
    return _panel(batch_id, f"<span>{escape(messages.batch_result)}</span>", "Shell", command, messages)


def _panel(job_id: str, tools: str, language: str, code: str, messages: Messages) -> str:
    copy = f'<button type="button" data-copy="{escape(messages.copied)}">{escape(messages.copy)}</button>'
    close = _button("close", "", messages.job_close)
    return (
        f'<section class="sl-job-result" lang="{messages.lang}" aria-label="{escape(messages.job_result)}">'
        f'<p class="sl-job-line"><b>{escape(messages.job_result)}</b><code>{escape(job_id)}</code>{tools}{close}</p>'
        f'<div class="sl-code"><div><b>{language}</b>{copy}</div>'
        f'<pre tabindex="0"><code>{escape(code)}</code></pre></div></section>'
    )


def _item(job: PageJob, messages: Messages, now_s: float) -> str:
    kind = "sl-open" if job.is_open else "sl-good" if job.status in GOOD else "sl-bad" if job.status == "failed" else "sl-over"
    status = f'<b class="sl-job-status {kind}">{escape(_status(job, messages))}</b>'
    line = f"{status}<span>{escape(job.path)}</span><code>{escape(job.id)}</code>{_buttons(job, messages)}"
    facts = spans(_facts(job, messages, now_s))
    below = f'{_track(job)}<p class="sl-job-facts">{facts}</p>'
    return f'<li data-status="{escape(job.status)}"><p class="sl-job-line">{line}</p>{below}</li>'


def _status(job: PageJob, messages: Messages) -> str:
    return messages.job_statuses.get(job.status, job.status)


def _buttons(job: PageJob, messages: Messages) -> str:
    if job.status in WITH_RESULT:
        return _button("result", job.id, messages.job_result)
    if job.is_open and job.status != "cancelling":
        return _button("cancel", job.id, messages.job_cancel, question=messages.job_confirm)
    return ""


def _button(action: str, job_id: str, title: str, *, question: str = "") -> str:
    name = f' aria-label="{escape(f"{title}: {job_id}")}"' if job_id else ""
    confirm = f' data-confirm="{escape(question)}"' if question else ""
    return f'<button type="button" data-job="{action}" data-id="{escape(job_id)}"{name}{confirm}>{escape(title)}</button>'


def _track(job: PageJob) -> str:
    """Return a bar with the share of an open batch that is done. The share of a job is unknown."""
    if not (job.is_open and job.total):
        return ""
    percent = 100 * (job.completed + job.failed) / job.total
    return f'<span class="sl-track" aria-hidden="true"><i style="width:{percent:.1f}%"></i></span>'


def _facts(job: PageJob, messages: Messages, now_s: float) -> Iterable[str]:
    if job.total:
        yield messages.job_lines.format(done=f"{job.completed + job.failed:,}", total=f"{job.total:,}")
    if job.failed:
        yield messages.job_failed_lines.format(count=f"{job.failed:,}")
    yield messages.job_age.format(age=_duration(now_s - job.created_at, messages))
    if job.finished_at is not None and job.finished_at > job.created_at:
        yield messages.job_took.format(time=_seconds_or_more(job.finished_at - job.created_at, messages))
    if job.attempts > 1:
        yield messages.job_attempt.format(count=job.attempts)
    if job.webhook:
        yield messages.job_webhooks.get(job.webhook, job.webhook).format(reason=job.webhook_reason)


def _duration(seconds: float, messages: Messages) -> str:
    """Return a duration in its largest unit. Seconds are not counted: the list would change all the time."""
    for size, template in ((DAY_S, messages.days), (HOUR_S, messages.hours), (MINUTE_S, messages.minutes)):
        if seconds >= size:
            return template.format(count=int(seconds // size))
    return messages.under_a_minute


def _seconds_or_more(seconds: float, messages: Messages) -> str:
    return messages.seconds.format(count=max(0, int(seconds))) if seconds < MINUTE_S else _duration(seconds, messages)
