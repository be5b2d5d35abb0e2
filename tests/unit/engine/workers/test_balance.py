"""Work and processors are shared out evenly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.workers.balance import divided, least_loaded, nodes, shares_of

SIZES = st.lists(st.integers(1, 20_000), max_size=60)


@given(SIZES, st.integers(1, 9))
def test_workers_differ_by_at_most_one_batch(sizes: list[int], num_workers: int) -> None:
    loads = [0] * num_workers
    for size in sizes:
        loads[least_loaded(loads)] += size
        assert max(loads) - min(loads) <= max(sizes)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_batch_goes_to_the_least_loaded_worker(loads: list[int]) -> None:
    assert loads[least_loaded(loads)] == min(loads)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sockets, whose processors take turns; the last two belong to other processes."""
    for number, cores in enumerate(("0,2,4-5\n", "1,3,6-7\n")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr("shortlist.engine.workers.balance.nodes", lambda: nodes(tmp_path))
    return tmp_path


def test_processors_that_we_may_use_are_listed_by_their_node(machine: Path) -> None:
    assert nodes(machine) == [[0, 2, 4, 5], [1, 3]]


def test_without_numa_information_there_is_one_node(machine: Path) -> None:
    assert nodes(machine / "nowhere") == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.usefixtures("machine")
def test_only_several_on_the_cpu_have_to_share() -> None:
    assert shares_of(["cpu", "cpu"]) == [(0, 2, 4), (5, 1, 3)]
    assert shares_of(["cpu", "cuda:0"]) == [(), ()]
    assert shares_of(["cuda:0", "cpu", "cpu:1"]) == [(), (0, 2, 4), (5, 1, 3)]


@given(st.lists(st.lists(st.integers(), max_size=20), max_size=4), st.integers(1, 9))
def test_processors_are_all_divided_evenly_and_in_order(nodes: list[list[int]], num_shares: int) -> None:
    shares = divided(nodes, num_shares)
    cores = [core for node in nodes for core in node]
    assert len(shares) == num_shares
    if len(cores) < num_shares:
        assert not any(shares)
        return
    assert [core for share in shares for core in share] == cores
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_as_many_workers_as_nodes_get_one_each() -> None:
    assert divided([[0, 2, 4, 6], [1, 3, 5, 7]], 2) == [(0, 2, 4, 6), (1, 3, 5, 7)]
