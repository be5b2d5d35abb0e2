"""Restarts a process by the rules of a systemd unit, where no systemd runs.

Source: systemd.service(5) for `Restart=on-failure` and `RestartPreventExitStatus=`, systemd.unit(5) for the start limit.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CLEAN_SIGNALS: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE})
UNITS_S: Final = {"min": 60.0, "s": 1.0, "": 1.0}
TOO_OFTEN: Final = "Start request repeated too quickly."
"""What systemd writes into its journal at the start limit."""


@dataclass
class ServiceManager:
    """Starts a service again as long as its unit says so.

    Attributes:
        unit: The unit's settings by name.
        start: Starts the service, waits until it ends, and returns its exit code, negative for a signal.
        now_s: The time, in seconds.
        journal: What became of every start.
    """

    unit: dict[str, str]
    start: Callable[[], int]
    now_s: Callable[[], float]
    journal: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, start: Callable[[], int], now_s: Callable[[], float]) -> ServiceManager:
        """Read a unit, of which this knows only `Restart=on-failure`."""
        lines = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        unit = {name: value for name, separator, value in lines if separator}
        assert unit["Restart"] == "on-failure"
        return cls(unit, start, now_s)

    def run(self) -> None:
        """Start the service until it is to stay stopped."""
        starts: deque[float] = deque()
        most, interval_s = int(self.unit["StartLimitBurst"]), _seconds(self.unit["StartLimitIntervalSec"])
        while True:
            while starts and self.now_s() - starts[0] >= interval_s:
                starts.popleft()
            if len(starts) >= most:
                self.journal.append(TOO_OFTEN)
                return
            starts.append(self.now_s())
            code = self.start()
            self.journal.append(f"exited, code {code}")
            if not self._is_failure(code) or str(code) in self.unit["RestartPreventExitStatus"].split():
                return

    def _is_failure(self, code: int) -> bool:
        return -code not in CLEAN_SIGNALS if code < 0 else code != 0


def _seconds(value: str) -> float:
    number = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * UNITS_S[value.removeprefix(number)]
