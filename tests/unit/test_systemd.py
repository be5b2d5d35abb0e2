"""Messages to the service manager, as its socket gets them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shortlist.systemd import READY, WATCHDOG, Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(tmp_path / "notify"))
        wire.settimeout(10)
        yield wire


def environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_messages_arrive(manager: socket.socket) -> None:
    Notifier(environ(manager)).send(READY)
    assert manager.recv(100) == READY.encode()


def test_abstract_sockets_are_named_with_an_at_sign() -> None:
    name = f"shortlist-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(f"\0{name}")
        wire.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).send(READY)
        assert wire.recv(100) == READY.encode()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).send(READY)


async def test_watchdog_is_fed_again_and_again(manager: socket.socket) -> None:
    manager.setblocking(False)
    feeding = asyncio.create_task(
        Notifier(environ(manager, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))).feed_watchdog()
    )
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        assert [await loop.sock_recv(manager, 100) for _ in range(3)] == [WATCHDOG.encode()] * 3
    feeding.cancel()


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}]
)
async def test_watchdog_that_is_not_asked_for_is_not_fed(manager: socket.socket, more: dict[str, str]) -> None:
    async with asyncio.timeout(10):
        await Notifier(environ(manager, **more)).feed_watchdog()
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)
