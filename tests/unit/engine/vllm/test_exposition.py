"""A metrics page of vLLM becomes five numbers, whatever else is on it; a malformed page becomes none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.vllm.exposition import MAX_LINE_BYTES, MAX_LINES, state_of
from shortlist.telemetry.vllm_state import VllmState

PAGE = Path("tests/fixtures/vllm_metrics.txt").read_bytes()
"""What vLLM 0.32 writes, as far as it concerns us; written by prometheus_client from vLLM's own definitions."""

RUNNING = b'vllm:num_requests_running{engine="%d",model_name="m"} %s\n'


def test_page_of_vllm_is_read() -> None:
    assert state_of(PAGE) == VllmState(
        kv_cache_usage=0.0625, prefix_cache_queries=21504, prefix_cache_hits=13440, running_requests=3, waiting_requests=17
    )


def test_several_engines_are_added_and_the_fullest_cache_counts() -> None:
    other = PAGE.replace(b'engine="0"', b'engine="1"').replace(b"0.0625", b"0.5")
    state = state_of(PAGE + other)
    assert state is not None
    assert (state.kv_cache_usage, state.running_requests, state.prefix_cache_hits) == (0.5, 6, 26880)


def test_missing_metrics_are_unknown() -> None:
    assert state_of(RUNNING % (0, b"2")) == VllmState(running_requests=2)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html></html>",
        b"# TYPE vllm:num_requests_running gauge\n",
        RUNNING % (0, b""),
        RUNNING % (0, b"many"),
        RUNNING % (0, b"NaN"),
        RUNNING % (0, b"+Inf"),
        RUNNING % (0, b"-1"),
        b'vllm:num_requests_running{engine="0 2\n',
        b'vllm:num_requests_running\xff 2\nvllm:num_requests_running{a="\xff"} 2\n',
        b"".join(RUNNING % (engine, b"1") for engine in range(MAX_LINES + 1)),
        RUNNING % (0, b"1" * MAX_LINE_BYTES),
    ],
)
def test_malformed_page_has_no_state(page: bytes) -> None:
    assert state_of(page) is None


@given(st.binary(max_size=80), st.integers(0, len(PAGE)), st.integers(0, 40))
def test_any_page_is_survived(noise: bytes, at: int, cut: int) -> None:
    state_of(PAGE[:at] + noise + PAGE[at + cut :])
