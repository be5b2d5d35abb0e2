"""Products on the matrix unit against the same sums in fp64, for every number of tokens that tiles do not divide."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from shortlist.engine.native.cpu.library import Kernels, kernels
from shortlist.engine.native.cpu.tile_linears import TileLinears, can_multiply
from shortlist.engine.native.cpu.workspace import Workspace
from shortlist.engine.native.linears import PlainLinears
from tests.unit.engine.native.cpu.test_cpu_ops import CONFIG
from tests.unit.engine.native.cpu.test_int8_linears import error, matrices, states

ROUNDING = 2**-8
"""Relative rounding error of one bf16 number; sums are rounded once."""

found = kernels()
pytestmark = pytest.mark.skipif(found is None or not found.has_tiles, reason="this processor has no matrix unit")


@pytest.fixture(scope="module")
def unit() -> Kernels:
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hidden", "inner", "heads", "kv_heads"), [(32, 64, 1, 1), (64, 128, 4, 2), (320, 448, 6, 1), (1024, 3072, 16, 8)]
)
@pytest.mark.parametrize("num_tokens", [1, 16, 17, 31, 32, 33, 97, 700])
def test_products_are_the_exact_ones_rounded_once(
    unit: Kernels, hidden: int, inner: int, heads: int, kv_heads: int, num_tokens: int
) -> None:
    given = matrices(hidden, inner, heads, kv_heads)
    ours, x = TileLinears(unit, Workspace(), given), states(num_tokens, hidden)
    attended = states(num_tokens, heads * 32, seed=2)
    assert error(ours.queries(x), x.double() @ given.q.double().T) < ROUNDING
    for out, matrix in zip(ours.keys(x), (given.k, given.v), strict=True):
        assert error(out, x.double() @ matrix.double().T) < ROUNDING
    assert error(ours.add_attended(attended, x.clone()), x.double() + attended.double() @ given.o.double().T) < ROUNDING
    gated = F.silu(x.double() @ given.gate.double().T) * (x.double() @ given.up.double().T)
    assert error(ours.add_mlp(x, x.clone()), x.double() + gated.bfloat16().double() @ given.down.double().T) < ROUNDING


def test_token_is_the_same_alone_and_among_others(unit: Kernels) -> None:
    ours, x = TileLinears(unit, Workspace(), matrices(1024, 3072, 16, 8)), states(1300, 1024)
    whole = ours.add_mlp(x, x.clone())
    for first, last in [(0, 1), (31, 33), (639, 641), (1280, 1300)]:
        assert torch.equal(ours.add_mlp(x[first:last], x[first:last].clone()), whole[first:last])


def test_very_wide_rows_with_few_per_block(unit: Kernels) -> None:
    given, x = matrices(32, 1 << 15, 1, 1), states(65, 32)
    gated = F.silu(x.double() @ given.gate.double().T) * (x.double() @ given.up.double().T)
    exact = x.double() + gated.bfloat16().double() @ given.down.double().T
    assert error(TileLinears(unit, Workspace(), given).add_mlp(x, x.clone()), exact) < ROUNDING


def test_rows_of_a_larger_array_are_read_as_rows(unit: Kernels) -> None:
    ours, wide = TileLinears(unit, Workspace(), matrices(64, 128, 4, 2)), states(40, 128)
    strided = wide[:, :64]
    assert torch.equal(ours.queries(strided).clone(), ours.queries(strided.contiguous()))
    assert torch.equal(ours.add_mlp(strided, strided.clone()), ours.add_mlp(strided.contiguous(), strided.clone()))


def test_nan_stays_nan(unit: Kernels) -> None:
    ours, x = TileLinears(unit, Workspace(), matrices(64, 128, 4, 2)), states(40, 64)
    x[33, 5] = torch.nan
    out = ours.add_mlp(x, torch.zeros_like(x))
    assert out[33].isnan().all()
    assert not out[torch.arange(40) != 33].isnan().any()


@pytest.mark.parametrize("num_threads", [1, 2, 3, 5])
def test_number_of_threads_changes_nothing(unit: Kernels, num_threads: int) -> None:
    ours, x = TileLinears(unit, Workspace(), matrices(320, 448, 4, 2)), states(100, 320)
    before, expected = torch.get_num_threads(), ours.add_mlp(x, x.clone())
    torch.set_num_threads(num_threads)
    try:
        assert torch.equal(ours.add_mlp(x, x.clone()), expected)
    finally:
        torch.set_num_threads(before)


def test_products_are_close_to_torchs(unit: Kernels) -> None:
    given, x = matrices(1024, 3072, 16, 8), states(100, 1024)
    assert torch.allclose(
        TileLinears(unit, Workspace(), given).queries(x).float(), PlainLinears(given).queries(x).float(), atol=0.05
    )


def test_shapes_that_tiles_do_not_divide_are_not_supported() -> None:
    assert can_multiply(CONFIG)
    assert not can_multiply(replace(CONFIG, hidden_size=CONFIG.hidden_size + 16))
    assert not can_multiply(replace(CONFIG, intermediate_size=CONFIG.intermediate_size + 16))
