"""Every server of vLLM can be watched by itself: whether it is asked, what it has to do, and what became of its calls."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from shortlist.engine.vllm import upstream, upstream_pool
from shortlist.engine.vllm.limited_transport import MAX_BYTES
from shortlist.engine.vllm.start import UpstreamAccess, connect
from shortlist.engine.vllm.upstream import CHILD, UpstreamMetrics
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.telemetry import Metrics
from tests.support.engines import compute
from tests.support.process import wait_until
from tests.support.sickvllm import SickVllm, sick_vllm
from tests.support.vllm import batch_of, plan_of, prompts_of


class Supervised:
    """Servers with an engine around them, and their metrics."""

    def __init__(self, *servers: SickVllm) -> None:
        self.metrics = Metrics()
        access = UpstreamAccess(timeout_s=5.0, metrics=self.metrics, model="m")
        self.engine: VllmEngine = connect([server.url for server in servers], plan_of(Path("m")), access)
        for server in servers:
            server.calls.clear()  # the probe's

    async def ask(self) -> None:
        await compute(self.engine, batch_of(prompts_of([5, 9])))

    def of(self, server: SickVllm, name: str) -> float:
        found = self.metrics.registry.get_sample_value(f"shortlist_upstream_{name}", {"model": "m", "upstream": server.url})
        assert found is not None
        return found


async def test_every_call_is_counted_where_it_went() -> None:
    with sick_vllm() as one, sick_vllm() as other:
        watched = Supervised(one, other)
        for _ in range(4):
            await watched.ask()
        assert watched.of(one, "requests_total") + watched.of(other, "requests_total") == 4
        for server in (one, other):
            assert watched.of(server, "requests_total") == watched.of(server, "duration_seconds_count")
            assert watched.of(server, "duration_seconds_sum") > 0 or not watched.of(server, "requests_total")
            assert watched.of(server, "failures_total") == 0
            assert watched.of(server, "up") == 1
        watched.engine.close()


async def test_failure_is_the_servers_and_the_retry_is_the_others() -> None:
    with sick_vllm() as sick, sick_vllm() as well:
        watched = Supervised(sick, well)
        sick.mood, sick.is_healthy = "reset", False
        for _ in range(10):
            await watched.ask()
        failures = watched.of(sick, "failures_total")
        assert failures >= 1
        assert watched.of(sick, "duration_seconds_count") == 0
        assert (watched.of(well, "retries_total"), watched.of(well, "failures_total")) == (failures, 0)
        assert watched.of(sick, "up") == 0
        assert watched.of(well, "up") == 1
        watched.engine.close()


async def test_tokens_are_those_under_way_and_a_closed_server_is_not_up() -> None:
    with sick_vllm() as server:
        watched = Supervised(server)
        assert watched.of(server, "tokens") == 0
        server.mood = "hang"
        call = asyncio.ensure_future(watched.ask())
        async with asyncio.timeout(5):
            while not server.asked:  # noqa: ASYNC110 - what is waited for is polled
                await asyncio.sleep(0.01)
        assert watched.of(server, "tokens") == 7 + 5 + 9
        watched.engine.close()
        await asyncio.gather(call, return_exceptions=True)
        assert watched.of(server, "up") == 0


def test_child_has_one_name_whatever_its_port() -> None:
    metrics = Metrics()
    for is_well in (True, False):
        shown = UpstreamMetrics(metrics, "m", CHILD)
        shown.show(is_well=partial(bool, is_well), num_tokens=lambda: 0, read_state=lambda: None)
    text = [
        sample for family in metrics.registry.collect() for sample in family.samples if sample.name == "shortlist_upstream_up"
    ]
    assert [(sample.labels["upstream"], sample.value) for sample in text] == [("child", 0.0)], "the last one counts"


# -- what a server reports of itself ------------------------------------------------------------------------------------

PAGE = Path("tests/fixtures/vllm_metrics.txt").read_bytes()


def waiting(watched: Supervised, server: SickVllm) -> float | None:
    """Return the requests that a server reports as waiting; None without a series."""
    labels = {"model": "m", "upstream": server.url}
    return watched.metrics.registry.get_sample_value("shortlist_upstream_waiting_requests", labels)


@pytest.fixture
def read_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_pool, "STATE_PERIOD_S", 0.02)


@pytest.mark.usefixtures("read_often")
def test_state_of_every_server_is_shown_by_itself() -> None:
    with sick_vllm(metrics=PAGE) as one, sick_vllm(metrics=PAGE.replace(b"17.0", b"5.0")) as other, sick_vllm() as silent:
        watched = Supervised(one, other, silent)
        wait_until(lambda: waiting(watched, one) == 17 and waiting(watched, other) == 5)
        assert waiting(watched, silent) is None
        assert watched.of(one, "kv_cache_usage_ratio") == 0.0625
        assert watched.of(one, "prefix_cache_queries_total") == 21504
        assert watched.of(one, "prefix_cache_hits_total") == 13440
        assert watched.of(one, "running_requests") == 3
        watched.engine.close()
        assert waiting(watched, one) is None


@pytest.mark.usefixtures("read_often")
@pytest.mark.parametrize("metrics", [b"", b"<html>", b"vllm:num_requests_waiting{ 3\n", "reset", "hang", "drip", "endless"])
def test_state_vanishes_with_a_page_that_is_wrong_while_the_server_is_asked(
    metrics: bytes | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "METRICS_TIMEOUT_S", 0.2)
    with sick_vllm(metrics=PAGE) as server:
        watched = Supervised(server)
        wait_until(lambda: waiting(watched, server) == 17)
        server.metrics = metrics
        wait_until(lambda: waiting(watched, server) is None)
        asyncio.run(watched.ask())
        assert watched.of(server, "up") == 1
        assert server.num_sent <= 16 * MAX_BYTES, "the rest of an endless page is not read"
        server.well_after.set()
        server.metrics = PAGE
        wait_until(lambda: waiting(watched, server) == 17)
        watched.engine.close()


@pytest.mark.usefixtures("read_often")
def test_state_vanishes_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_pool, "PERIOD_S", 0.02)
    with sick_vllm(metrics=PAGE) as server:
        watched = Supervised(server)
        wait_until(lambda: waiting(watched, server) == 17)
        server.is_healthy = False
        wait_until(lambda: watched.of(server, "up") == 0)
        assert waiting(watched, server) is None, "it is not asked any more, so nothing is known of it"
        watched.engine.close()
