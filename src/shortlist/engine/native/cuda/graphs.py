"""Asynchronous copies and CUDA graphs, behind a small interface that tests implement without a GPU.

All work of an engine is on one stream, in order: a buffer may be refilled as soon as the work that reads it was submitted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A recorded series of launches.

    Attributes:
        replay: Submits the launches again, without waiting.
        result: The output tensor, valid until the next replay.
    """

    replay: Callable[[], None]
    result: Tensor


class GraphDevice(Protocol):
    """The device of the forward passes."""

    def current(self) -> AbstractContextManager[object]:
        """Return a context that launches kernels on this device."""
        ...

    def place(self, numbers: Ints) -> Tensor:
        """Return the numbers in new device memory, for work that is submitted later."""
        ...

    def fill(self, buffer: Tensor, numbers: Ints) -> None:
        """Overwrite device memory, for work that is submitted later."""
        ...

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        """Record the launches of `compute`, which must be the same at every call, in the same memory.

        Raises:
            torch.OutOfMemoryError: the graph did not fit.
        """
        ...

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Start copying a tensor to the host; return a function that waits. Later work may overwrite the tensor."""
        ...

    def free(self) -> None:
        """Release unused cached memory."""
        ...


class CudaGraphs:
    """An NVIDIA GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def current(self) -> AbstractContextManager[object]:
        """See `GraphDevice`."""
        return torch.cuda.device(self._device)

    def place(self, numbers: Ints) -> Tensor:
        """See `GraphDevice`. Torch does not reuse the pinned memory before the copy is done."""
        return torch.from_numpy(numbers).pin_memory().to(self._device, non_blocking=True)

    def fill(self, buffer: Tensor, numbers: Ints) -> None:
        """See `GraphDevice`."""
        buffer.copy_(torch.from_numpy(numbers).pin_memory(), non_blocking=True)

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        """See `GraphDevice`. Graphs share one memory pool: apart from results, none reads what another left."""
        compute()  # loads every kernel, which is impossible while recording
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        # Without "thread_local", recording forbids device queries of other threads, such as free memory.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return Graph(graph.replay, result)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `GraphDevice`."""
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        # A blocking wait: a spinning core would be missing for tokenization.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self._device))

        def wait() -> Tensor:
            done.synchronize()
            return host

        return wait

    def free(self) -> None:
        """See `GraphDevice`."""
        torch.cuda.empty_cache()


class EagerHost:
    """A CPU in place of a GPU, for tests: a replay computes the graph eagerly."""

    def current(self) -> AbstractContextManager[object]:
        """See `GraphDevice`."""
        return nullcontext()

    def place(self, numbers: Ints) -> Tensor:
        """See `GraphDevice`."""
        return torch.from_numpy(numbers.copy())

    def fill(self, buffer: Tensor, numbers: Ints) -> None:
        """See `GraphDevice`."""
        buffer.copy_(torch.from_numpy(numbers))

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        """See `GraphDevice`."""
        result = torch.full_like(compute(), -1)  # arbitrary before the first replay
        return Graph(lambda: _copy_to(result, compute()), result)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `GraphDevice`."""
        host = tensor.clone()
        return lambda: host

    def free(self) -> None:
        """See `GraphDevice`."""


def _copy_to(target: Tensor, result: Tensor) -> None:
    target.copy_(result)
