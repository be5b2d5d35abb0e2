"""Real servers that others run: the exit of one loses nothing while another is healthy, and they compute no abandoned requests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import astuple

import httpx2

from shortlist.engine.vllm.start import UpstreamAccess, connect
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.telemetry.vllm_state import VllmState
from shortlist.types import RERANK, RequestOptions, RerankTask
from tests.support import apps
from tests.support.engines import compute
from tests.support.texts import SCRIPTS
from tests.support.vllm import MAX_LEN, batch_of, by_hand, folder_of, plan_of, prompts_of, right_arguments, running, url_of

NUM_REQUESTS = 10
DOCUMENTS = tuple(f"{text} {number} " * 4 for number in range(6) for text in SCRIPTS.values())
TIMEOUT_S = 240.0


async def test_killed_under_load_it_loses_no_request_while_another_one_is_well() -> None:
    folder, metrics = folder_of("reranker"), Metrics()
    well = url_of(running("reranker"))
    encoder = QwenEncoder(folder / "tokenizer.json", operation=RERANK, max_model_len=MAX_LEN)

    def count(name: str, url: str) -> float:
        return metrics.registry.get_sample_value(f"shortlist_upstream_{name}", {"model": "m", "upstream": url}) or 0.0

    with by_hand(folder, *right_arguments()) as doomed:
        engine = connect([well, doomed.url], plan_of(folder), UpstreamAccess(timeout_s=60.0, metrics=metrics, model="m"))
        one = apps.served(engine, encoder, operations=frozenset({RERANK}), cache_bytes=0)
        async with apps.running(Runtime([one], settings=apps.settings(), metrics=one.metrics)) as runtime:
            requests = [
                asyncio.ensure_future(
                    runtime.rerank(
                        RerankTask(query=f"query {number}", documents=DOCUMENTS, options=RequestOptions(timeout_s=TIMEOUT_S))
                    )
                )
                for number in range(NUM_REQUESTS)
            ]
            while not (count("tokens", doomed.url) and count("duration_seconds_count", doomed.url)):
                assert not all(request.done() for request in requests), "it was too quick to be killed"
                await asyncio.sleep(0.001)
            os.killpg(doomed.group, signal.SIGKILL)
            outcomes = await asyncio.gather(*requests)
            assert runtime.is_ready
    assert [(len(outcome.results), len(outcome.failed)) for outcome in outcomes] == [(len(DOCUMENTS), 0)] * NUM_REQUESTS
    assert count("failures_total", doomed.url) >= 1, "it was killed while it computed"
    assert count("failures_total", well) == 0
    assert count("retries_total", well) == count("failures_total", doomed.url), "each was sent once more, and that was all"
    assert count("retries_total", doomed.url) == 0


async def test_abandoned_calls_are_aborted_in_vllm() -> None:
    """What a deadline or a hang-up does to them."""
    engine, num_prompts = running("reranker"), 64
    prompts = prompts_of([MAX_LEN - 50] * num_prompts)  # a step each

    def count(client: httpx2.Client, name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}"))

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for is polled
                await asyncio.sleep(0.02)

    with httpx2.Client(base_url=url_of(engine), trust_env=False, timeout=60) as client:
        before = count(client, "request_success_total")
        call = asyncio.ensure_future(compute(engine, batch_of(prompts)))
        await until(lambda: count(client, "num_requests_running") > 0)
        call.cancel()
        await until(lambda: count(client, "num_requests_running") + count(client, "num_requests_waiting{") == 0)
        assert count(client, "request_success_total") - before < num_prompts
        await compute(engine, batch_of(prompts))
        assert count(client, "request_success_total") - before >= num_prompts, "that is where they are counted"


async def test_state_that_a_real_server_reports_is_read() -> None:
    engine = running("reranker")
    [server] = engine._pool.servers
    await compute(engine, batch_of(prompts_of([40, 50])))

    def is_idle(state: VllmState | None) -> bool:
        """Return whether the server has done work and has none, not even calls that other tests abandoned."""
        return state is not None and bool(state.prefix_cache_queries) and state.running_requests == state.waiting_requests == 0

    async with asyncio.timeout(TIMEOUT_S):
        while not is_idle(server.state):  # noqa: ASYNC110 - what is waited for is polled
            await asyncio.sleep(0.1)
    state = server.state
    assert state is not None
    values = [-1.0 if value is None else value for value in astuple(state)]
    assert min(values) >= 0, state
