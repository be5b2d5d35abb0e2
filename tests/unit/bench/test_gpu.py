"""Whose memory on a GPU is whose follows from when it was taken; a GPU that is not there is refused before anything starts."""

from __future__ import annotations

import pytest
import torch

from shortlist.bench.gpu import Gpu, Shares, gpu_of
from shortlist.errors import BadSetting


class Memory:
    """What is taken of a GPU that is not there."""

    def __init__(self, taken: int = 1000) -> None:
        self.taken = taken

    def used_bytes(self) -> int:
        return self.taken


def test_memory_belongs_to_whoever_was_asked_when_it_was_taken() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    for name, num_bytes in [("one", 10), ("two", 200), ("one", 5), ("two", 0)]:
        with shares.counted(name):
            memory.taken += num_bytes
    assert (shares.most("one"), shares.most("two"), shares.most("three")) == (15, 200, None)


def test_most_counts_and_not_the_last() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    for num_bytes in (100, -70, 20):
        with shares.counted("one"):
            memory.taken += num_bytes
    assert shares.most("one") == 100


def test_what_is_given_back_when_one_has_ended_is_nobodys() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    with shares.counted("one"):
        memory.taken += 100
    memory.taken -= 100
    with shares.counted("two"):
        memory.taken += 30
    assert (shares.most("one"), shares.most("two")) == (100, 30)


def test_nothing_is_counted_on_a_cpu() -> None:
    assert gpu_of("cpu") is None
    shares = Shares(None)
    with shares.counted("one"):
        pass
    assert shares.most("one") is None


def test_gpu_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(BadSetting, match="torch sees 0 CUDA devices"):
        gpu_of("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_gpu_that_is_here_says_what_it_is_and_how_full() -> None:
    gpu = gpu_of("cuda")
    assert gpu is not None
    assert gpu.name
    before = gpu.used_bytes()
    kept = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    assert gpu.used_bytes() >= before + (1 << 28)
    del kept
