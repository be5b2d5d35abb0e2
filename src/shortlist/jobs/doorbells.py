"""The doorbells by name. Each library is imported only by the doorbell that needs it."""

from __future__ import annotations

from typing import Literal, assert_never

from shortlist.jobs.doorbell import Doorbell

DoorbellName = Literal["celery", "streams"]


def doorbell(name: DoorbellName, url: str) -> Doorbell:
    """Return the doorbell of this name at the Redis of the jobs.

    Raises:
        BadSetting: its library is not installed.
    """
    match name:
        case "celery":
            from shortlist.jobs.celery_doorbell import CeleryDoorbell

            return CeleryDoorbell(url)
        case "streams":
            from shortlist.jobs.stream_doorbell import StreamDoorbell

            return StreamDoorbell(url)
        case _:
            assert_never(name)
