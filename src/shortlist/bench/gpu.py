"""The GPU that contenders share: what it is, and how much of its memory each of them holds.

All it knows comes from the driver, through the engine's torch, which is loaded only where there is a GPU to be asked about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shortlist.bench.order import CPU
from shortlist.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: Its own.
        used_bytes: Returns how much of its memory is taken, by whomever.
    """

    name: str
    used_bytes: Callable[[], int]


def gpu_of(device: str) -> Gpu | None:
    """Return the GPU of this name; None for the CPU.

    Raises:
        BadSetting: it is not here, or nothing is installed that could use it.
    """
    if device == CPU:
        return None
    try:
        from shortlist.engine.device import gpu_name, gpu_readings, pick_device
    except ModuleNotFoundError as error:
        raise BadSetting(f"device is {device!r}, for which {error.name} is needed: pip install 'shortlist[native]'") from None
    place = str(pick_device(device))
    return Gpu(gpu_name(place), lambda: sum(reading.used_bytes for reading in gpu_readings([place])))


class Shares:
    """How much of a GPU's memory contenders hold.

    One is asked at a time, and the others rest: what is taken after it was asked and was not before is its own. So nobody has
    to tell, and processes that hide from one another are counted alike.

    Args:
        gpu: Which; None counts nothing.
    """

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._held: dict[str, int] = defaultdict(int)
        self._most: dict[str, int] = {}

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count what becomes of the memory within the block as the doing of one contender."""
        if self._gpu is None:
            yield
            return
        before_bytes = self._gpu.used_bytes()
        yield
        self._held[name] += self._gpu.used_bytes() - before_bytes
        self._most[name] = max(self._held[name], self._most.get(name, 0))

    def most(self, name: str) -> int | None:
        """Return the most that it held whenever it had been asked; None if nothing was counted."""
        return self._most.get(name)
