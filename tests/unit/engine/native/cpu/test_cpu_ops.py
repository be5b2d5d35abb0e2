"""`CpuOps` against `PortableOps`: the same numbers, but for the rounding of bf16."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from shortlist.engine.native.cpu.cpu_ops import CpuOps
from shortlist.engine.native.cpu.library import Kernels, kernels
from shortlist.engine.native.cpu.workspace import ForwardWorkspace
from shortlist.engine.native.layout import Layout
from shortlist.engine.native.linears import packed, product
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps, Rope, rms_norm
from tests.support.examples import examples
from tests.support.native import layout_of

pytestmark = pytest.mark.skipif(kernels() is None, reason="no compiled kernels for this processor")

Both = Callable[[Qwen3Config, Layout], tuple[CpuOps, PortableOps]]

CONFIG = Qwen3Config(
    vocab_size=10,
    hidden_size=64,
    intermediate_size=128,
    num_layers=1,
    num_heads=6,
    num_kv_heads=2,
    head_dim=32,
    max_positions=4096,
    norm_eps=1e-6,
    rope_theta=1e6,
    is_tied=True,
    is_classifier=False,
)


def tensors(config: Qwen3Config, num_tokens: int, scale: float = 1.0) -> tuple[Tensor, ...]:
    """Queries, keys, values and the two norms' weights."""
    draw = torch.Generator().manual_seed(0)
    heads = config.num_heads, config.num_kv_heads, config.num_kv_heads
    states = [torch.randn(num_tokens, count * config.head_dim, generator=draw).bfloat16() * scale for count in heads]
    return *states, *(torch.randn(config.head_dim, generator=draw) + 1 for _ in range(2))


@pytest.fixture
def both(compiled: Kernels) -> Both:
    return partial(both_ops, compiled)


def both_ops(compiled: Kernels, config: Qwen3Config, layout: Layout) -> tuple[CpuOps, PortableOps]:
    """Return `CpuOps`, and `PortableOps` in fp32, which rounds nothing."""
    rope = Rope.of(torch.arange(layout.num_tokens) % 1000, config)
    return CpuOps(config, compiled, ForwardWorkspace(), rope, layout), PortableOps(config, torch.float32, rope, layout)


def attended(ops: CpuOps | PortableOps, given: tuple[Tensor, ...], chunk: int = 10_000) -> Tensor:
    q, k, v, q_weight, k_weight = given
    is_exact = isinstance(ops, PortableOps)
    for start in range(0, len(q), chunk):
        rows = slice(start, min(start + chunk, len(q)))
        states = [each[rows].float() if is_exact else each[rows] for each in (q, k, v)]
        ops.write_q(states[0], q_weight, rows)
        ops.write_kv(states[1], states[2], k_weight, rows)
    return ops.attend().clone()


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


BOUND = 1e-2
"""Relative error, root mean square: a few roundings of bf16, whose unit is 2**-8."""


@pytest.mark.parametrize("width", [1, 15, 16, 64, 100, 1024])
@pytest.mark.parametrize("num_tokens", [1, 37])
def test_norm_is_rounded_once(both: Both, width: int, num_tokens: int) -> None:
    ops, _ = both(CONFIG, layout_of((0, [num_tokens])))
    draw = torch.Generator().manual_seed(1)
    x, weight = torch.randn(num_tokens, width, generator=draw).bfloat16() * 100, torch.randn(width, generator=draw)
    exact = rms_norm(x.double(), weight.double(), 1e-6)
    found = ops.norm(x, weight)
    assert (found.double() - exact).abs().max() <= exact.abs().max() * 2**-8
    assert float((found == exact.bfloat16()).double().mean()) > 0.99


@pytest.mark.parametrize(
    "requests",
    [
        [(0, [1])],
        [(1, [1])],
        [(7, [1, 2, 3])],
        [(63, [64, 65]), (64, [63]), (65, [128])],
        [(200, [300, 1, 130]), (0, [17, 256, 257]), (1, [64])],
        [(300, [700])],
    ],
)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width"),
    [(6, 2, 32), (4, 4, 16), (16, 8, 128), (5, 1, 66), (2, 1, 256), (2, 2, 80), (3, 1, 96), (40, 1, 64)],
)
def test_attention_of_any_shape(
    both: Both, requests: list[tuple[int, list[int]]], heads: int, kv_heads: int, width: int
) -> None:
    config = replace(CONFIG, num_heads=heads, num_kv_heads=kv_heads, head_dim=width)
    layout = layout_of(*requests)
    ours, exact = both(config, layout)
    given = tensors(config, layout.num_tokens)
    assert error(attended(ours, given), attended(exact, given)) < BOUND


@given(
    st.lists(st.tuples(st.integers(0, 140), st.lists(st.integers(1, 140), min_size=1, max_size=3)), min_size=1, max_size=3),
    st.integers(1, 90),
)
@settings(max_examples=examples(20, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_attention_of_any_layout_in_any_chunks(both: Both, requests: list[tuple[int, list[int]]], chunk: int) -> None:
    layout = layout_of(*requests)
    ours, exact = both(CONFIG, layout)
    given = tensors(CONFIG, layout.num_tokens)
    assert error(attended(ours, given, chunk), attended(exact, given)) < BOUND


def test_scored_queries_alone_equal_those_among_all(both: Both) -> None:
    layout = layout_of((20, [30, 200]), (0, [4]))
    ours, exact = both(CONFIG, layout)
    given = tensors(CONFIG, layout.num_tokens)
    whole, rows = attended(ours, given), torch.tensor(layout.scored_rows)
    scored = ours.attend_scored(given[0][rows], given[3], rows)
    assert torch.equal(scored, whole[rows])
    attended(exact, given)
    assert error(scored, exact.attend_scored(given[0][rows].float(), given[3], rows)) < BOUND


def test_other_prompts_are_never_read(both: Both) -> None:
    """With the keys and values of others poisoned, a prompt's result is the same to the bit."""
    layout = layout_of((10, [20, 30]), (5, [40]))
    q, k, v, *weights = tensors(CONFIG, layout.num_tokens)
    clean = attended(both(CONFIG, layout)[0], (q, k, v, *weights))
    span = layout.spans[2]
    poisoned = torch.full_like(k, math.nan), torch.full_like(v, math.nan)
    for rows in (span.prefix, span.rows):
        for tensor, source in zip(poisoned, (k, v), strict=True):
            tensor[rows.start : rows.stop] = source[rows.start : rows.stop]
    found = attended(both(CONFIG, layout)[0], (q, *poisoned, *weights))
    own = slice(span.rows.start, span.rows.stop)
    assert torch.equal(found[own], clean[own])


def test_large_scores_stay_finite(both: Both) -> None:
    layout = layout_of((70, [90]))
    q, k, v, *weights = tensors(CONFIG, layout.num_tokens)
    weights = [weight * 1e4 for weight in weights]
    assert attended(both(CONFIG, layout)[0], (q, k, v, *weights)).isfinite().all()


def test_result_does_not_depend_on_the_number_of_threads(both: Both) -> None:
    layout = layout_of((70, [90, 300]))
    given = tensors(CONFIG, layout.num_tokens)
    found = attended(both(CONFIG, layout)[0], given)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(attended(both(CONFIG, layout)[0], given), found)
    finally:
        torch.set_num_threads(num_threads)


def test_slices_of_a_wider_product_are_read_in_place(both: Both) -> None:
    """Keys and values are two halves of one product, with strided rows."""
    layout = layout_of((0, [50]))
    q, k, v, *weights = tensors(CONFIG, layout.num_tokens)
    together = torch.cat([k, v], dim=1)
    halves = together.chunk(2, dim=1)
    found = attended(both(CONFIG, layout)[0], (q, *halves, *weights))
    assert torch.equal(found, attended(both(CONFIG, layout)[0], (q, k, v, *weights)))


@pytest.mark.parametrize("length", range(1, 34))
def test_every_number_of_rows_and_keys(both: Both, length: int) -> None:
    layout = layout_of((0, [length]), (length, [1, 33]))
    ours, exact = both(CONFIG, layout)
    given = tensors(CONFIG, layout.num_tokens)
    found = attended(ours, given)
    assert error(found, attended(exact, given)) < BOUND
    assert torch.equal(found, attended(both(CONFIG, layout)[0], given))


def test_a_prompt_does_not_depend_on_its_neighbours(both: Both) -> None:
    layout, alone = layout_of((40, [70, 300, 5])), layout_of((40, [300]))
    q, k, v, *weights = tensors(CONFIG, layout.num_tokens)
    rows = torch.cat([torch.arange(40), torch.arange(110, 410)])
    rope = Rope.of(torch.cat([torch.arange(40), torch.arange(40, 340)]), CONFIG)
    among, own = both(CONFIG, layout)[0], both(CONFIG, alone)[0]
    among._rope = Rope.of(torch.cat([torch.arange(110), torch.arange(40, 340), torch.arange(40, 45)]), CONFIG)
    own._rope = rope
    found = attended(among, (q, k, v, *weights))[rows]
    assert torch.equal(found, attended(own, (q[rows], k[rows], v[rows], *weights)))


def test_onednn_and_tile_kernels_may_alternate(both: Both) -> None:
    """Both configure the tiles of the shared threads."""
    layout = layout_of((70, [90, 300]))
    given = tensors(CONFIG, layout.num_tokens)
    ours, _ = both(CONFIG, layout)
    x, matrix = given[0], torch.randn(256, given[0].shape[1], generator=torch.Generator().manual_seed(2)).bfloat16()
    matrices = packed(matrix), packed(matrix[:50].contiguous())
    alone, before = attended(ours, given), [product(x, each) for each in matrices]
    for _ in range(3):
        for each, expected in zip(matrices, before, strict=True):
            assert torch.equal(attended(ours, given), alone)
            assert torch.equal(product(x, each), expected)


def test_result_does_not_depend_on_earlier_passes(both: Both) -> None:
    """A thread's workspace keeps data of earlier passes, which must have no effect."""
    begin = partial(both, CONFIG)
    large, small = layout_of((100, [300, 300])), layout_of((3, [5]))
    given = tensors(CONFIG, small.num_tokens)
    before = attended(begin(small)[0], given)
    q, k, v, *weights = tensors(CONFIG, large.num_tokens)
    attended(begin(large)[0], (q, k, torch.full_like(v, math.nan), *weights))
    assert torch.equal(attended(begin(small)[0], given), before)
