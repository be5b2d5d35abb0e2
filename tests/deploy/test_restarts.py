"""What the systemd unit restarts: a server whose engine died or that was killed, until it crashes too often, and no wrong setting."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.process import finished, launched
from tests.support.service_manager import TOO_OFTEN, ServiceManager

UNIT = Path("deploy/systemd/shortlist.service")
DEADLY = {"query": "q", "documents": ["#die"]}


def engine_dies() -> int:
    with launched("tests.support.fakeserver") as server:
        assert httpx2.post(f"{server.url}/v1/rerank", json=DEADLY).status_code == httpx2.codes.SERVICE_UNAVAILABLE
        code = server.process.wait(timeout=60)
        assert "It died." in server.log()
        return code


def gets(sig: signal.Signals) -> Callable[[], int]:
    def start() -> int:
        with launched("tests.support.fakeserver") as server:
            server.process.send_signal(sig)
            return server.process.wait(timeout=60)

    return start


def has_a_wrong_flag() -> int:
    return finished("serve", "--no-such-flag").returncode


def has_a_wrong_setting() -> int:
    return finished("serve", "demo", "--port", "70000").returncode


def cannot_load() -> int:
    return finished("serve", "/no/such/folder").returncode


def journal_of(*starts: Callable[[], int], every_s: float = 1.0) -> list[str]:
    """Return the journal of a service whose starts end so, one after another."""
    left, clock = iter(starts), iterated_clock(every_s)

    def start() -> int:
        return next(left)()

    manager = ServiceManager.of(UNIT, start, lambda: next(clock))
    manager.run()
    assert next(left, None) is None
    return manager.journal


def iterated_clock(every_s: float) -> Iterator[float]:
    now_s = 0.0
    while True:
        yield now_s
        now_s += every_s


def test_dead_engine_and_a_kill_are_restarted_and_a_stop_is_not() -> None:
    journal = journal_of(engine_dies, gets(signal.SIGKILL), gets(signal.SIGTERM))
    assert journal == ["exited, code 1", "exited, code -9", "exited, code 0"]


@pytest.mark.parametrize(("start", "code"), [(has_a_wrong_flag, 2), (has_a_wrong_setting, 3), (cannot_load, 3)])
def test_what_stays_wrong_is_not_started_again(start: Callable[[], int], code: int) -> None:
    assert journal_of(start) == [f"exited, code {code}"]


def test_crash_loop_stops_and_says_so() -> None:
    assert journal_of(*[engine_dies] * 5) == [*["exited, code 1"] * 5, TOO_OFTEN]


def test_a_death_now_and_then_is_always_restarted() -> None:
    assert journal_of(*[lambda: 1] * 50, lambda: 0, every_s=120.0)[-1] == "exited, code 0"
