"""Shortlist's own process around a fake engine that never finishes: the second request is refused with 429.

python -m tests.support.busyserver --port PORT
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from shortlist import server
from shortlist.config import Settings
from shortlist.engine.base import Notify
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from tests.support.apps import served
from tests.support.fake_engine import FakeEngine

FOR_EVER_S = 24 * 60 * 60.0
NAME = "demo"


def build(settings: Settings, *, notify: Notify) -> Runtime:
    """Stand in for the composition root."""
    metrics = Metrics()
    notify("loading nothing")
    busy = served(FakeEngine(step_s=FOR_EVER_S), name=NAME, metrics=metrics, max_concurrent_requests=1)
    return Runtime([busy], settings=settings, metrics=metrics)


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop."""
    _, port = arguments
    vars(server)["build_runtime"] = build
    return server.run(Settings.load({"ui": False, "self_test": "off", "port": port}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
