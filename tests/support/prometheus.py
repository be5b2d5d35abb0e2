"""A real Prometheus in a process of its own, with our configuration and rules made quick."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.support.process import wait_until
from tests.support.promql import shortened
from tests.support.serving import free_port

FOLDER = Path("deploy/prometheus")
START_S = 30.0
PERIOD = "500ms"

FACTOR = 100
"""What ranges and patience are divided by: five minutes are three seconds, in which a server is looked at six times."""


def missing_prometheus() -> str | None:
    """Return why there is no Prometheus to test with, or None if there is one."""
    return next((f"{name} is not installed" for name in ("prometheus", "promtool") if shutil.which(name) is None), None)


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    client: httpx2.Client

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = self._data("/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression comes to now."""
        found: list[dict[str, Any]] = self._data("/api/v1/query", query=expression)["result"]
        return found

    def _data(self, path: str, **params: str) -> dict[str, Any]:
        answer = self.client.get(path, params=params).json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data


def configured(folder: Path, targets: Sequence[str]) -> Path:
    """Write our own configuration and rules for these targets, quick, and return where."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": PERIOD, "scrape_timeout": PERIOD, "evaluation_interval": PERIOD}
    config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in config["rule_files"]:
        rules = (FOLDER / name).read_text(encoding="utf-8")
        (folder / name).write_text(shortened(rules, FACTOR), encoding="utf-8")
    return folder / "prometheus.yml"


@contextlib.contextmanager
def prometheus(folder: Path, *targets: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes these targets (HOST:PORT), for as long as a test needs it."""
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={configured(folder, targets)}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(address), START_S)
        assert process.poll() is None, (folder / "log").read_text()
        with httpx2.Client(base_url=f"http://{address}", timeout=30) as client:
            yield Prometheus(client)
    finally:
        process.kill()
        process.wait(timeout=10)


def _is_ready(address: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://{address}/-/ready").status_code == httpx2.codes.OK
    return False
