"""`shortlist jobs`: look after the durable jobs of a server."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shortlist.cli.exit_codes import EXIT_DONE, EXIT_PARTLY, print_error, run_to_exit
from shortlist.cli.output import is_on_terminal, to_output
from shortlist.client import DEFAULT_URL, Client, SubmittedJob
from shortlist.client.progress import Bar
from shortlist.config import Settings
from shortlist.errors import DeadlineExceeded, NotFound, ServiceError
from shortlist.schemas.openai_batches import BatchAnswer

EPILOG: Final = (
    "Examples:\n\n"
    "shortlist jobs list\n\n"
    "shortlist jobs wait job_0123 job_4567 > results.jsonl\n\n"
    "shortlist jobs cancel job_0123\n\n"
    "A server takes jobs if it was started with --jobs. Exit codes: 0 done, 1 a job failed or has not ended in time, 2 invalid "
    "usage, 3 no such job, or no server. See docs/jobs.md."
)

BATCH: Final = "batch_"
"""The ids of batches begin with this."""

ENDED_BATCHES: Final = frozenset({"completed", "failed", "cancelled", "expired"})
POLL_S: Final = 1.0
"""Time between two looks at a batch in seconds."""

STYLES: Final = {
    "succeeded": "green",
    "completed": "green",
    "failed": "red",
    "running": "cyan",
    "cancelled": "dim",
    "expired": "dim",
}

app = typer.Typer(
    help="List, show, follow and cancel jobs and batches of a server.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
)

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs or batches.")]
Url = Annotated[str, typer.Option("--url", "-u", metavar="URL", help="The server.")]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", help="API key of the server; default SHORTLIST_API_KEY.", show_default=False),
]


@app.command("list")
def _list(*, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List your jobs and batches, those that have not ended first: a table on a terminal, JSON lines elsewhere."""
    _run(url, api_key, _show_all)


@app.command("show")
def _show(job_ids: Ids, *, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Show jobs and batches, with the state of their webhooks."""
    _run(url, api_key, lambda client: _show_rows([_row(client, job_id) for job_id in job_ids]))


@app.command("wait")
def _wait(
    job_ids: Ids,
    *,
    timeout_s: Annotated[
        float | None, typer.Option(min=0.001, help="Give up after this many seconds; the jobs go on.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Wait until jobs have ended, and print their results, one JSON value per line, in the order of the ids.

    Of a batch, the lines of its output and its error file are printed. A terminal shows the progress. Servers may restart
    meanwhile.
    """
    _run(url, api_key, lambda client: _print_results(client, job_ids, timeout_s))


@app.command("cancel")
def _cancel(job_ids: Ids, *, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Cancel jobs, and remove their texts and results from the server; of a batch, what is done stays in its files."""

    def cancel(client: Client) -> int:
        for job_id in job_ids:
            if job_id.startswith(BATCH):
                client.cancel_batch(job_id)
            else:
                client.cancel(client.job(job_id))
        return EXIT_DONE

    _run(url, api_key, cancel)


@app.command("secret")
def _secret(
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="Replace it; for a day, webhooks have both signatures.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Print the secret that your webhooks are signed with."""
    _run(url, api_key, lambda client: _print(client.webhook_secret(rotate=rotate).encode()))


def _run(url: str, api_key: str | None, command: Callable[[Client], int]) -> None:
    def start() -> int:
        key = api_key or next((key.get_secret_value() for key in Settings.load({}).server.api_key), None)
        with Client(url, api_key=key) as client:
            return command(client)

    run_to_exit(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A job or a batch, as a row of the table and as JSON."""

    record: dict[str, object]
    created_at: float
    finished_at: float | None
    has_ended: bool
    progress: str
    webhook: str = ""

    def cells(self, now_s: float) -> tuple[str | Text, ...]:
        """Return the row of the table."""
        status = str(self.record["status"])
        took = "" if self.finished_at is None else duration(self.finished_at - self.created_at)
        shown = (str(self.record["id"]), Text(status, style=STYLES.get(status, "")), Text(str(self.record["path"])))
        return (*shown, duration(now_s - self.created_at), took, self.progress, self.webhook)


def _show_all(client: Client) -> int:
    rows = [_job_row(job) for job in client.jobs()]
    with contextlib.suppress(NotFound):  # a server may have no place for files
        rows += [_batch_row(batch) for batch in client.batches()]
    return _show_rows(sorted(rows, key=lambda row: (row.has_ended, -row.created_at)))


def _show_rows(rows: list[_Row]) -> int:
    if not is_on_terminal():
        for row in rows:
            _print(orjson.dumps(row.record))
        return EXIT_DONE
    shown = Table(box=None, pad_edge=False)
    for name in ("job", "status", "path"):
        shown.add_column(name, no_wrap=True)
    for name in ("age", "took", "progress"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("webhook")
    for row in rows:
        shown.add_row(*row.cells(time.clock_gettime(time.CLOCK_REALTIME)))
    Console(highlight=False).print(shown)
    return EXIT_DONE


def _row(client: Client, job_id: str) -> _Row:
    return _batch_row(client.batch_status(job_id)) if job_id.startswith(BATCH) else _job_row(client.job(job_id))


def _job_row(job: SubmittedJob[object]) -> _Row:
    times = {"created_at": job.created_at, "finished_at": job.finished_at}
    found = {"id": job.id, "status": job.status, "path": job.path, "attempts": job.attempts, **times, "webhook": job.webhook}
    return _Row(
        record={name: value for name, value in found.items() if value is not None},
        created_at=job.created_at,
        finished_at=job.finished_at,
        has_ended=job.has_ended,
        progress="" if job.attempts <= 1 else f"attempt {job.attempts}",
        webhook="" if job.webhook is None else f"{job.webhook['status']} ({job.webhook['attempts']})",
    )


def _batch_row(batch: BatchAnswer) -> _Row:
    counts = batch["request_counts"]
    found = {"id": batch["id"], "status": batch["status"], "path": batch["endpoint"], "created_at": batch["created_at"]}
    ends = (batch["completed_at"], batch["failed_at"], batch["cancelled_at"], batch["expired_at"])
    return _Row(
        record={**found, "request_counts": counts},
        created_at=batch["created_at"],
        finished_at=next((each for each in ends if each is not None), None),
        has_ended=batch["status"] in ENDED_BATCHES,
        progress=f"{counts['completed'] + counts['failed']}/{counts['total']}",
    )


def _print_results(client: Client, job_ids: list[str], timeout_s: float | None) -> int:
    """Print all results; one that is an error does not keep the others from being printed."""
    until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    found = [client.batch_status(each) if each.startswith(BATCH) else client.job(each) for each in job_ids]
    codes = [_print_result(client, each, until_s) for each in found]
    return max(codes)


def _print_result(client: Client, found: SubmittedJob[object] | BatchAnswer, until_s: float) -> int:
    try:
        return _print_job(client, found, until_s) if isinstance(found, SubmittedJob) else _print_batch(client, found, until_s)
    except DeadlineExceeded:
        message = "it has not ended in time; it goes on."
    except ServiceError as error:
        message = error.message
    print_error(f"{found.id if isinstance(found, SubmittedJob) else found['id']}: {message}")
    return EXIT_PARTLY


def _print_job(client: Client, job: SubmittedJob[object], until_s: float) -> int:
    timeout_s = None if math.isinf(until_s) else max(0.001, until_s - time.monotonic())
    with Bar(job.path, 1) as bar:
        result = client.wait(job, timeout_s=timeout_s)
        bar.advance()
    return _print(orjson.dumps(result))


def _print_batch(client: Client, batch: BatchAnswer, until_s: float) -> int:
    with Bar(batch["endpoint"], batch["request_counts"]["total"] or None) as bar:
        while batch["status"] not in ENDED_BATCHES:
            if time.monotonic() >= until_s:
                raise DeadlineExceeded("The batch has not ended in time.")
            time.sleep(POLL_S)
            batch = client.batch_status(batch["id"])
            counts = batch["request_counts"]
            bar.advance(counts["completed"] + counts["failed"] - bar.num_done)
    for line in client.batch_lines(batch):
        _print(line)
    is_whole = batch["status"] == "completed" and not batch["request_counts"]["failed"]
    return EXIT_DONE if is_whole else EXIT_PARTLY


def _print(line: bytes) -> int:
    to_output().write(line + b"\n")
    to_output().flush()
    return EXIT_DONE


def duration(seconds: float) -> str:
    """Return a duration in its largest unit: 42 s, 3 min, 5 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
