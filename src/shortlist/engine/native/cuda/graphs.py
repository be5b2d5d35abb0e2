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
    """Launches that were recorded.

    Attributes:
        replay: Gives them to the device again; returns at once.
        result: Where they leave their result, until they are replayed.
    """

    replay: Callable[[], None]
    result: Tensor


class GraphDevice(Protocol):
    """Where steps are computed."""

    def current(self) -> AbstractContextManager[object]:
        """Return a context in which kernels are launched here."""
        ...

    def place(self, numbers: Ints) -> Tensor:
        """Return numbers in new memory of the device, to be read by what is given after this."""
        ...

    def fill(self, buffer: Tensor, numbers: Ints) -> None:
        """Overwrite memory of the device, to be read by what is given after this."""
        ...

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        """Return what `compute` launches, which must be the same at every call, in the same memory.

        Raises:
            torch.OutOfMemoryError: the graph did not fit.
        """
        ...

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to copy a tensor to the host; return what waits for it. The device may overwrite it in the meantime."""
        ...

    def free(self) -> None:
        """Give memory back that nothing holds any more."""
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
        """See `GraphDevice`. Torch keeps pinned memory from being used again before it has been read."""
        return torch.from_numpy(numbers).pin_memory().to(self._device, non_blocking=True)

    def fill(self, buffer: Tensor, numbers: Ints) -> None:
        """See `GraphDevice`."""
        buffer.copy_(torch.from_numpy(numbers).pin_memory(), non_blocking=True)

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        """See `GraphDevice`. Graphs share memory: none needs what another left behind, its result apart."""
        compute()  # loads every kernel, which cannot be done while recording
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        # Unless told that it is this thread's, recording forbids others to ask the device anything, such as its free memory.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return Graph(graph.replay, result)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `GraphDevice`."""
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        # Waiting is left to the system: a core that spins is one less for those who tokenize.
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
    """The CPU in the place of a GPU, for tests: a graph is computed when it is replayed."""

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
        result = torch.full_like(compute(), -1)  # as good as anything before the first replay
        return Graph(lambda: _keep(result, compute()), result)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `GraphDevice`."""
        host = tensor.clone()
        return lambda: host

    def free(self) -> None:
        """See `GraphDevice`."""


def _keep(place: Tensor, result: Tensor) -> None:
    place.copy_(result)
