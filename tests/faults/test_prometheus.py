"""A real Prometheus with our configuration looks at real servers: every alert fires when it should, and clears when it is over.

Ranges and patience of the rules are divided by one number, nothing else of them is changed. That files run out cannot be shown
here; `promtool test rules` shows it, and what every rule does in its own time.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import yaml

from shortlist.api.app import create_app
from tests.support.apps import runtime
from tests.support.process import wait_until
from tests.support.prometheus import FACTOR, FOLDER, Prometheus, missing_prometheus, prometheus
from tests.support.promql import series_of, shortened
from tests.support.serving import serving
from tests.support.weather import HAIL, Callers, Weather, callers, forecast

PATIENCE_S = 60.0
WINDOW = f"{5 * 60 * 1000 // FACTOR}ms"

STORM = {
    "ShortlistErrors",
    "ShortlistEventLoopBlocked",
    "ShortlistFailedSteps",
    "ShortlistJobLeases",
    "ShortlistJobsExpired",
    "ShortlistJobsWaiting",
    "ShortlistQueueWait",
    "ShortlistSharedCacheDown",
    "ShortlistShedding",
    "ShortlistSlow",
    "ShortlistUpstreamDown",
    "ShortlistWebhooksGivenUp",
    "ShortlistWebhooksWaiting",
}
LOSS = {"ShortlistNotReady", "ShortlistEngineRestarts"}
NEEDS_GPU = "shortlist_gpu_"
"""Series that are shown only where a CUDA device is used."""

pytestmark = pytest.mark.skipif(missing_prometheus() is not None, reason=str(missing_prometheus()))


@dataclass(frozen=True)
class Supervised:
    """A server, its weather, and who looks at it."""

    url: str
    weather: Weather
    prometheus: Prometheus
    spare: socket.socket
    """Bound, so that no other server takes its port, and not listening yet."""

    def until_firing(self, alerts: set[str]) -> None:
        seen: set[str] = set()

        def have_fired() -> bool:
            seen.update(self.prometheus.firing())
            return alerts <= seen

        with contextlib.suppress(AssertionError):
            wait_until(have_fired, PATIENCE_S)
        assert alerts <= seen, f"never fired: {alerts - seen}"

    def until_clear(self, alerts: set[str]) -> None:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not alerts & self.prometheus.firing(), PATIENCE_S)
        assert not alerts & self.prometheus.firing()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    folder, weather = tmp_path_factory.mktemp("prometheus"), Weather()
    with (
        socket.socket() as spare,
        serving(create_app(forecast(weather))) as url,
        prometheus(folder, url.removeprefix("http://"), f"127.0.0.1:{bind(spare)}") as running,
        callers(url) as gentle,
    ):
        gentle.start("plain")
        everything(url)
        yield Supervised(url, weather, running, spare)


def bind(spare: socket.socket) -> int:
    """Bind a socket to a port of the system's choice, and return the port."""
    spare.bind(("127.0.0.1", 0))
    return int(spare.getsockname()[1])


def everything(url: str) -> None:
    """Ask for all there is: failed and cut documents, remembered ones, vectors, a model that another one does not know."""
    body = {"query": "a", "documents": ["a b", "word " * 300, HAIL]}
    with httpx2.Client(base_url=url, timeout=30) as client:
        for path, asked in (
            ("/v1/rerank", body),
            ("/v1/rerank", body),
            ("/v1/embeddings", {"input": ["a", "b"]}),
            ("/v1/rerank", {**body, "model": "mortal"}),
        ):
            assert client.post(path, json=asked).status_code == httpx2.codes.OK


@contextlib.contextmanager
def storm(watched: Supervised) -> Iterator[Callers]:
    """Have everything go wrong at once, but for the death of an engine."""
    weather = watched.weather
    weather.fails = weather.blocks = weather.is_sick = True
    weather.has_upstream = False
    with callers(watched.url) as many:
        many.start("narrow", 24)
        many.start("plain", 2)
        yield many
        weather.fails = weather.blocks = weather.is_sick = False
        weather.has_upstream = True


def test_bad_weather_fires_alerts_and_the_calm_after_it_clears_them(watched: Supervised) -> None:
    with storm(watched):
        watched.until_firing(STORM)
    watched.until_clear(STORM)


@pytest.mark.full
def test_engine_failure_alert_fires_and_resolves(watched: Supervised) -> None:
    watched.weather.is_dead = True
    httpx2.post(f"{watched.url}/v1/rerank", json={"model": "mortal", "query": "a", "documents": ["never seen"]}, timeout=30)
    watched.until_firing({"ShortlistNotReady"})
    watched.weather.is_dead = False
    watched.until_firing({"ShortlistEngineRestarts"})
    watched.until_clear(LOSS | STORM)


def test_server_down_alert_fires_until_it_is_up(watched: Supervised) -> None:
    watched.until_firing({"ShortlistDown"})
    with serving(create_app(runtime()), bound=watched.spare):
        watched.until_clear({"ShortlistDown"})
    watched.until_firing({"ShortlistDown"})


def test_jobs_down_alert_fires_until_their_redis_is_back(watched: Supervised) -> None:
    watched.weather.has_jobs = False
    watched.until_firing({"ShortlistJobsDown"})
    watched.weather.has_jobs = True
    watched.until_clear({"ShortlistJobsDown"})


def test_every_alert_is_shown_to_fire_here_but_the_one_that_cannot_be() -> None:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    assert names == STORM | LOSS | {"ShortlistDown", "ShortlistFileDescriptors", "ShortlistJobsDown"}


# -- what is read is there ----------------------------------------------------------------------------------------------


def panels() -> Iterator[tuple[str, str]]:
    """Yield the title and every expression of every panel, for everything that the variables can choose."""
    board = json.loads(Path("deploy/grafana/shortlist.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def rules() -> Iterator[tuple[str, str]]:
    """Yield the name and the expression of every alert."""
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def chosen(expression: str) -> str:
    """Return an expression with every variable set to all, over a short time."""
    return re.sub(r"\$(job|instance|model)\b", ".*", expression).replace("$__rate_interval", WINDOW)


def test_every_panel_shows_something(watched: Supervised) -> None:
    empty = [(title, shortened(chosen(each), FACTOR)) for title, each in panels() if NEEDS_GPU not in each]

    def is_full() -> bool:
        empty[:] = [(title, each) for title, each in empty if not watched.prometheus.query(each)]
        return not empty

    with contextlib.suppress(AssertionError):
        wait_until(is_full, PATIENCE_S)
    assert empty == []


def test_every_series_that_is_named_is_exported_by_a_server_under_load(watched: Supervised) -> None:
    named = {name for _, each in (*panels(), *rules()) for name in series_of(chosen(each))}
    assert len(named) >= 40
    text = httpx2.get(f"{watched.url}/metrics").text
    exported = {re.split(r"[ {]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    assert {name for name in named - exported if not name.startswith(NEEDS_GPU)} == {"up"}
