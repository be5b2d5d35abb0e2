"""Sends the webhooks of jobs that have ended, again and again until they arrive or the attempts are used up.

It runs beside the work of every worker. Which webhooks are due, the records know (`webhook_records`).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson

from shortlist.errors import JobsUnavailable
from shortlist.jobs.webhook_records import MAX_ATTEMPTS, DueWebhook, WebhookRecords
from shortlist.jobs.webhook_sender import Attempt, WebhookOutcome, WebhookSender
from shortlist.jobs.webhook_signature import WebhookMessage
from shortlist.telemetry import logger

DELAYS_S: Final = (5.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0)
"""Seconds after an attempt until the next one: seven attempts in about nine hours. Source: the Standard Webhooks
specification recommends such a schedule, with jitter."""

MAX_RETRY_AFTER_S: Final = 21_600.0
"""A receiver can postpone the next attempt by so much."""

POLL_S: Final = 0.5
"""Time between two looks for webhooks that are due."""

MAX_SENDING: Final = 32
MAX_SENDING_PER_HOST: Final = 8
"""Attempts at once: a receiver that does not answer must not hold up the others."""

HOST_BUSY_S: Final = 1.0
"""Seconds until a webhook is looked at again whose receiver has too many attempts at once."""


class WebhookOutbox:
    """Sends webhooks as they become due.

    Args:
        records: The records.
        sender: Sends one.
        delays_s: Seconds between the attempts.
    """

    def __init__(self, records: WebhookRecords, sender: WebhookSender, *, delays_s: Sequence[float] = DELAYS_S) -> None:
        assert len(delays_s) == MAX_ATTEMPTS - 1, "There is one delay between two attempts."
        self._records = records
        self._sender = sender
        self._delays_s = delays_s
        self._sending: Counter[str] = Counter()

    async def run(self) -> None:
        """Send until cancelled. Attempts that are cancelled are repeated after their lease."""
        try:
            async with asyncio.TaskGroup() as attempts:
                while True:
                    num_started = await self._start_due(attempts)
                    if not num_started:
                        await asyncio.sleep(POLL_S)
        finally:
            await self._sender.close()

    async def _start_due(self, attempts: asyncio.TaskGroup) -> int:
        """Start an attempt for every webhook that is due, as far as more may be sent at once; return how many."""
        num_free = MAX_SENDING - self._sending.total()
        try:
            due = await self._records.take(num_free) if num_free > 0 else []
        except JobsUnavailable:
            return 0  # the sweep logs it
        for each in due:
            host = urlsplit(each.url).netloc
            if self._sending[host] >= MAX_SENDING_PER_HOST:
                attempts.create_task(self._postpone(each))
            else:
                self._sending[host] += 1
                attempts.create_task(self._attempt(each, host))
        return len(due)

    async def _postpone(self, due: DueWebhook) -> None:
        with contextlib.suppress(JobsUnavailable):
            await self._records.postpone(due, HOST_BUSY_S)

    async def _attempt(self, due: DueWebhook, host: str) -> None:
        """Send a webhook. Without Redis its outcome is lost: the lease ends, and it is sent again."""
        with contextlib.suppress(JobsUnavailable):
            try:
                await self._send(due)
            finally:
                self._leave(host)

    def _leave(self, host: str) -> None:
        self._sending[host] -= 1
        if not self._sending[host]:
            del self._sending[host]

    async def _send(self, due: DueWebhook) -> None:
        message = WebhookMessage(due.job_id, due.now_ms // 1000, body_of(due))
        attempt = await self._sender.send(due.url, message, due.secrets)
        delay_s = self._delay_s(due.attempt, attempt)
        await self._records.settle(due, attempt.outcome, attempt.reason, delay_s=delay_s)
        if attempt.outcome is WebhookOutcome.DELIVERED:
            logger.debug("jobs: a webhook was delivered", extra={"job": due.job_id, "attempt": due.attempt})
        else:
            extra = {"job": due.job_id, "attempt": due.attempt, "reason": attempt.reason, "again_in_s": delay_s}
            logger.warning("jobs: a webhook was not delivered", extra=extra)

    def _delay_s(self, number: int, attempt: Attempt) -> float | None:
        """Return the seconds until the next attempt; None if there is none."""
        if attempt.outcome is not WebhookOutcome.FAILED or number > len(self._delays_s):
            return None
        delay_s = self._delays_s[number - 1] * random.uniform(0.9, 1.1)  # noqa: S311 - spreads attempts that failed together
        return max(delay_s, min(attempt.retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def body_of(due: DueWebhook) -> bytes:
    """Return the body of a webhook: the job, and its result if that is short JSON."""
    record = due.record
    job: dict[str, object] = {
        "id": due.job_id,
        "object": "job",
        "status": record["status"],
        "path": record["path"],
        "created_at": int(record["created"]) // 1000,
        "attempts": int(record["attempts"]),
        "finished_at": int(record["finished"]) // 1000,
    }
    if due.result and _is_json(record):
        job["result"] = {"status": int(record["http_status"]), "body": orjson.Fragment(due.result)}
    finished = dt.datetime.fromtimestamp(int(record["finished"]) / 1000, dt.UTC)
    return orjson.dumps({"type": f"job.{record['status']}", "timestamp": finished.isoformat(), "data": job})


def _is_json(record: Mapping[str, str]) -> bool:
    headers = orjson.loads(record.get("http_headers") or "{}")
    return str(headers.get("content-type", "")).startswith("application/json")
