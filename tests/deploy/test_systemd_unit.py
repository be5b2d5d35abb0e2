"""The systemd unit, and a server that is told what systemd tells it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from shortlist.cli import load
from shortlist.config import ENV_PREFIX, fields
from tests.support.process import launched, wait_until

UNIT = Path("deploy/systemd/shortlist.service")
WORKER_UNIT = Path("deploy/systemd/shortlist-worker.service")
RERANK = {"query": "red fox", "documents": ["a cat", "the red fox"]}


every_unit = pytest.mark.parametrize("unit", [UNIT, WORKER_UNIT], ids=lambda unit: unit.stem)


def lines(unit: Path = UNIT) -> Iterator[tuple[str, str]]:
    """Yield the settings of a unit."""
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            yield name, value


@every_unit
def test_unit_names_settings_that_exist(unit: Path) -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for _, name, _ in fields()}
    stated = {part.split("=")[0] for name, value in lines(unit) if name == "Environment" for part in value.split()}
    assert {each for each in stated if each.startswith(ENV_PREFIX)} <= known
    command = "serve" if unit == UNIT else "worker"
    program, name, *words = dict(lines(unit))["ExecStart"].split()
    assert (Path(program).name, name) == ("shortlist", command)
    assert {word for word in words if word.startswith("--")} <= {flag for each in load(name).params for flag in each.opts}


def test_unit_gives_a_stop_the_time_that_the_server_takes() -> None:
    defaults = {name: field.default for _, name, field in fields()}
    assert float(dict(lines())["TimeoutStopSec"]) > defaults["drain_notice_s"] + defaults["drain_timeout_s"]


def test_worker_has_the_rights_of_the_server() -> None:
    rights = [list(lines(unit))[-24:] for unit in (UNIT, WORKER_UNIT)]
    assert rights[0] == rights[1]


@every_unit
def test_systemd_accepts_the_unit(tmp_path: Path, unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    copied = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8").replace("/opt/shortlist/bin/shortlist", "/bin/true")
    copied.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(copied)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_service_manager_hears_of_start_life_and_stop(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        arguments = ("serve", "demo", "--no-ui", "--log-format", "json", "--drain-notice-s", "300")
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with launched("shortlist", *arguments, **told) as server, httpx2.Client(base_url=server.url) as kept:
            assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            assert "connection" not in kept.post("/v1/rerank", json=RERANK).headers

            server.process.send_signal(signal.SIGTERM)
            while manager.recv(100) != b"STOPPING=1":
                pass
            wait_until(lambda: httpx2.get(f"{server.url}/ready").status_code == httpx2.codes.SERVICE_UNAVAILABLE)
            answer = kept.post("/v1/rerank", json=RERANK)  # still taken, and the last one of its connection
            assert (answer.status_code, answer.headers["connection"]) == (httpx2.codes.OK, "close")

            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=60) == 0
            logged = [json.loads(line)["message"] for line in server.log().splitlines()]
    assert [each for each in logged if each != "loading"] == [
        "starting",
        "ready",
        "signal",
        "stopped at once by a second signal",
        "drain begun",
        "drain ended",
        "stopped",
    ]
