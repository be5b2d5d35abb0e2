"""Shortlist's own worker with times that tests have the patience for.

python -m tests.support.jobworker --jobs URL --server URL --job-doorbell NAME [--lease-s S] [--visibility-s S] [--dies-in-window 1] [--fails 1]

With `fails`, its event loop ends by an error. With `dies-in-window`, it kills itself when Celery's broker has taken a message from its list, and not yet stored it as taken.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer

from shortlist.cli import jobs_worker
from shortlist.jobs import celery_doorbell, job_worker, records

CONCURRENCY = "2"


def main(arguments: Sequence[str]) -> None:
    """Work until told to stop."""
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    lease_s = float(flags.pop("--lease-s", records.LEASE_S))
    vars(records).update(LEASE_S=lease_s, BEAT_S=lease_s / 4)
    if "--visibility-s" in flags:
        vars(celery_doorbell)["VISIBILITY_S"] = float(flags.pop("--visibility-s"))
    if flags.pop("--dies-in-window", ""):
        _die_in_window()
    if flags.pop("--fails", ""):
        vars(job_worker)["sweep_forever"] = _fail
    rest = [part for pair in {"--concurrency": CONCURRENCY, **flags}.items() for part in pair]
    typer.main.get_command(jobs_worker.app)(rest)


async def _fail(*_: object) -> None:
    raise RuntimeError("an error that should not happen")


def _die_in_window() -> None:
    from kombu.transport.redis import QoS

    def append(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    vars_of: Any = QoS
    vars_of.append = append


if __name__ == "__main__":
    main(sys.argv[1:])
