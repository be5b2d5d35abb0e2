"""The test double of a GPU keeps the contract of `GraphDevice`; with TRITON_INTERPRET=0 these tests check a real GPU."""

from __future__ import annotations

import numpy as np
import torch

from tests.support.interpreter import device_here

from shortlist.engine.native.cuda.graphs import GraphDevice  # isort: skip - after the check for Triton


def ints(*numbers: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.asarray(numbers, dtype=np.int32)


def test_numbers_are_copied_when_they_are_placed() -> None:
    given = ints(1, 2, 3)
    placed = device_here().place(given)
    given[:] = 0
    assert placed.tolist() == [1, 2, 3]
    assert placed.dtype == torch.int32


def test_graph_reads_its_refilled_buffer() -> None:
    device: GraphDevice = device_here()
    with device.current():
        buffer = device.place(ints(1, 2))
        graph = device.record(lambda: buffer * 10)
        device.fill(buffer, ints(3, 4))
        graph.replay()
        assert graph.result.tolist() == [30, 40]


def test_fetched_values_stay_when_the_device_overwrites_them() -> None:
    device = device_here()
    with device.current():
        buffer = device.place(ints(1, 2))
        graph = device.record(lambda: buffer + 0.5)
        waits = []
        for number in range(3):
            device.fill(buffer, ints(number, number))
            graph.replay()
            waits.append(device.fetch(graph.result))
    assert [wait().tolist() for wait in waits] == [[0.5, 0.5], [1.5, 1.5], [2.5, 2.5]]
    device.free()
