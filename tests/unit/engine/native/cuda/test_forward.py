"""Graphs are used where they fit, change no score, and are dropped when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shortlist.engine.native.layout import PackedSpan
from shortlist.engine.native.qwen3 import ForwardOps, Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.types import RERANK, TokenPrompt
from tests.support.fixtures import ModelFactory
from tests.support.interpreter import DEVICE, model_of, runner_of, scores
from tests.support.native import batch_of, layout_of, prefix_of, prompt_of, run_batch

from shortlist.engine.native.cuda import forward as module  # isort: skip - after the check for Triton
from shortlist.engine.native.cuda import long_attention, cuda_ops  # isort: skip
from shortlist.engine.native.cuda.graphs import Graph, EagerHost  # isort: skip
from shortlist.engine.native.cuda.forward import CudaForward  # isort: skip
from shortlist.engine.native.cuda.inputs import Sizes  # isort: skip
from shortlist.engine.native.cuda.attention_tiles import tiles_of  # isort: skip

BUCKETS = (16, 64)


class CountingDevice(EagerHost):
    """Counts calls, and runs out of memory while `is_full`."""

    def __init__(self) -> None:
        self.num_recorded = self.num_replayed = self.num_freed = 0
        self.is_full = False

    def record(self, compute: Callable[[], Tensor]) -> Graph:
        if self.is_full:
            raise torch.OutOfMemoryError
        self.num_recorded += 1
        graph = super().record(compute)
        return Graph(lambda: self._replay(graph), graph.result)

    def free(self) -> None:
        self.num_freed += 1
        self.is_full = False

    def _replay(self, graph: Graph) -> None:
        self.num_replayed += 1
        graph.replay()


@pytest.fixture(scope="module")
def model(make_model: ModelFactory) -> Qwen3:
    return model_of(make_model(shape="tiny"))


@pytest.fixture
def device() -> CountingDevice:
    return CountingDevice()


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the model's layers: these tests are about the code around it, and the interpreter is slow."""
    monkeypatch.setattr(Qwen3, "states", cheap_states)


def cheap_states(self: Qwen3, ids_T: Tensor, rows_B: Tensor, ops: ForwardOps) -> Tensor:
    return self.weights.embedding[ids_T[rows_B]]


def prompts_of(*lengths: int, num_prefix: int = 3) -> list[TokenPrompt]:
    prefix = prefix_of(num_prefix)
    return [prompt_of(prefix, length, seed=length) for length in lengths]


# -- buckets --


@pytest.fixture(scope="module")
def choose(model: Qwen3) -> Callable[[Sizes], Sizes | None]:
    forward = CudaForward(model, EagerHost())
    return lambda sizes: next((bucket for bucket in forward._buckets if module._holds(bucket, sizes)), None)


@pytest.mark.parametrize(
    ("num_tokens", "num_scored", "expected"),
    [(1, 1, 128), (128, 8, 128), (129, 8, 256), (128, 9, 256), (4096, 256, 4096), (4097, 1, None), (300, 257, None)],
)
def test_smallest_bucket_that_fits_tokens_and_prompts(
    choose: Callable[[Sizes], Sizes | None], num_tokens: int, num_scored: int, expected: int | None
) -> None:
    found = choose(Sizes(num_tokens, num_scored, num_scored))
    assert (found.num_tokens if found else None) == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(1, 90), min_size=1, max_size=5)), min_size=1, max_size=5))
def test_bucket_fits_the_tiles_of_every_sequence_it_fits(
    choose: Callable[[Sizes], Sizes | None], tile_tokens: int, requests: list[tuple[int, list[int]]]
) -> None:
    layout = layout_of(*requests)
    tiles = tiles_of(layout.spans, tile_tokens)
    bucket = choose(Sizes(layout.num_tokens, len(tiles), len(layout.scored_rows)))
    assert bucket is not None
    assert bucket.num_tiles >= len(tiles)


@pytest.fixture(scope="module")
def tile_tokens(model: Qwen3) -> int:
    return CudaForward(model, EagerHost())._tile_config.tile_tokens


# -- scores --


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter, about what is poisoned
def test_replayed_graph_and_its_padding_change_no_score(make_model: ModelFactory, device: CountingDevice) -> None:
    """Padding is token 0, whose embedding is poisoned here."""
    poisoned = model_of(make_model(shape="null"))
    poisoned.weights.embedding[0] = torch.nan
    forward = CudaForward(poisoned, device, bucket_tokens=(16,))
    forward._buckets = [Sizes(16, 6, 3)]
    runner, eager = Runner(poisoned, max_model_len=100, forward=forward), runner_of(poisoned)
    for prompts in (prompts_of(7), prompts_of(2, num_prefix=0), prompts_of(4, 5)):
        assert scores(runner, prompts) == pytest.approx(scores(eager, prompts), abs=1e-5)
    assert (device.num_recorded, device.num_replayed) == (1, 2)


@pytest.mark.usefixtures("_cheap")
def test_long_sequence_is_computed_without_a_graph(model: Qwen3, device: CountingDevice) -> None:
    runner = runner_of(model, device=device, bucket_tokens=(16,))
    for _ in range(3):
        scores(runner, prompts_of(15))
    assert device.num_recorded == 0


def test_sequence_is_padded_alike_with_a_graph_and_without(
    model: Qwen3, device: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of another number of rows may sum in another order, so the same sequence would give other numbers."""
    lengths: list[int] = []

    def spy(self: Qwen3, ids_T: Tensor, rows_B: Tensor, ops: ForwardOps) -> Tensor:
        lengths.append(len(ids_T))
        return cheap_states(self, ids_T, rows_B, ops)

    monkeypatch.setattr(Qwen3, "states", spy)
    runner = runner_of(model, device=device, bucket_tokens=(16,))
    device.is_full = True
    found = [scores(runner, prompts_of(4)) for _ in range(3)]
    device.is_full = False
    fresh = runner_of(model, device=device, bucket_tokens=(16,))
    found += [scores(fresh, prompts_of(4)) for _ in range(3)]
    assert set(lengths) == {16}
    assert all(each == found[0] for each in found)


@pytest.mark.usefixtures("_cheap")
def test_graph_is_recorded_when_its_bucket_is_used_again(model: Qwen3, device: CountingDevice) -> None:
    runner = runner_of(model, device=device, bucket_tokens=BUCKETS)
    counts = []
    for length in (3, 20, 4, 5, 21):
        scores(runner, prompts_of(length))
        counts.append(device.num_recorded)
    assert counts == [0, 0, 1, 1, 2]


@pytest.mark.usefixtures("_cheap")
def test_batch_started_before_the_previous_one_is_fetched_overwrites_nothing(model: Qwen3, device: CountingDevice) -> None:
    runner = runner_of(model, device=device, bucket_tokens=(16,))
    packs = [prompts_of(4), prompts_of(5), prompts_of(6)]
    alone = [scores(runner, prompts) for prompts in packs]
    waits = [runner.begin(RERANK, prompts) for prompts in packs]
    assert [wait() for wait in waits] == [pytest.approx(found, abs=1e-5) for found in alone]


# -- long documents --


@pytest.mark.skipif(DEVICE.type == "cuda", reason="cuDNN computes in 16 bits only")
@pytest.mark.full
def test_long_documents_use_long_attention_with_the_same_scores(
    model: Qwen3, device: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_attention, "MULTIPLE", 16)
    spans: list[PackedSpan] = []
    attend = long_attention.attend_long

    def spy(*given: Any, **more: Any) -> None:
        spans.append(given[3])
        attend(*given, **more)

    monkeypatch.setattr(cuda_ops, "attend_long", spy)
    prompts = [*prompts_of(4, 9, 12), *prompts_of(10, num_prefix=0)]
    forward = CudaForward(model, device, bucket_tokens=(64,), long_tokens=8)
    found = [scores(Runner(model, max_model_len=100, forward=forward), prompts) for _ in range(3)]
    assert found == [pytest.approx(scores(runner_of(model), prompts), abs=1e-5)] * 3
    layers_but_the_last = model.config.num_layers - 1
    assert [len(span.rows) for span in spans] == [9, 12, 10] * layers_but_the_last * 3
    assert device.num_recorded == 0


@pytest.mark.usefixtures("_cheap")
def test_shorter_document_uses_graphs(model: Qwen3, device: CountingDevice) -> None:
    forward = CudaForward(model, device, bucket_tokens=(16,), long_tokens=9)
    runner = Runner(model, max_model_len=100, forward=forward)
    for _ in range(3):
        scores(runner, prompts_of(9))
    assert (device.num_recorded, device.num_replayed) == (1, 2)


# -- out of memory --


@pytest.mark.usefixtures("_cheap")
def test_graph_that_does_not_fit_is_skipped(model: Qwen3, device: CountingDevice, caplog: pytest.LogCaptureFixture) -> None:
    runner = runner_of(model, device=device, bucket_tokens=(16,))
    expected = scores(runner, prompts_of(4))
    device.is_full = True
    assert scores(runner, prompts_of(4)) == expected
    device.is_full = False
    assert scores(runner, prompts_of(4)) == expected
    assert (device.num_recorded, device.num_replayed) == (0, 0)
    assert "no CUDA graph of 16 tokens (OutOfMemoryError)" in caplog.text


@pytest.mark.usefixtures("_cheap")
def test_batch_that_does_not_fit_beside_graphs_drops_them(
    model: Qwen3, device: CountingDevice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runner = runner_of(model, device=device, bucket_tokens=(16,))
    for _ in range(2):
        scores(runner, prompts_of(4))
    expected = scores(runner_of(model), prompts_of(20))

    def exhausted(*arguments: Any) -> Tensor:
        if device.is_full:
            raise torch.OutOfMemoryError
        return cheap_states(*arguments)

    monkeypatch.setattr(Qwen3, "states", exhausted)
    device.is_full = True
    assert scores(runner, prompts_of(20)) == expected
    assert device.num_freed == 1
    assert "CUDA graphs dropped" in caplog.text
    for _ in range(2):
        scores(runner, prompts_of(4))
    assert device.num_recorded == 2


def test_batch_that_does_not_fit_alone_fails(model: Qwen3, device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Qwen3, "states", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        run_batch(runner_of(model, device=device, bucket_tokens=(16,)), batch_of(prompts_of(4)))
    assert device.num_freed == 0
