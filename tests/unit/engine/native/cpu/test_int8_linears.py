"""Products in int8 against the same sums written out, and against unrounded products."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.cpu.int8_linears import GROUP, Int8Linears, can_round
from shortlist.engine.native.cpu.library import Kernels, kernels
from shortlist.engine.native.cpu.workspace import Workspace
from shortlist.engine.native.linears import Matrices, PlainLinears, Prepare
from tests.unit.engine.native.cpu.test_cpu_ops import CONFIG

pytestmark = pytest.mark.skipif(kernels() is None, reason="no compiled kernels for this processor")


def matrices(hidden: int, inner: int, heads: int, kv_heads: int, width: int = 32, scale: float = 0.05) -> Matrices:
    draw = torch.Generator().manual_seed(0)
    query, key = heads * width, kv_heads * width
    sizes = {"q": (query, hidden), "k": (key, hidden), "v": (key, hidden), "o": (hidden, query)}
    sizes |= {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    return Matrices(**{name: (torch.randn(size, generator=draw) * scale).bfloat16() for name, size in sizes.items()})


@pytest.fixture
def int8(compiled: Kernels) -> Prepare:
    return partial(Int8Linears, compiled, Workspace())


def states(num_tokens: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(num_tokens, width, generator=torch.Generator().manual_seed(seed)).bfloat16()


def rounded(x: Tensor) -> Tensor:
    """Return numbers quantised to 8 bits and back, in groups."""
    parts = []
    for part in torch.split(x.double(), GROUP, dim=-1):
        scale = part.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
        parts.append((part / scale).round() * scale)
    return torch.cat(parts, dim=-1)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).square().mean().sqrt() / exact.double().square().mean().sqrt())


@pytest.mark.parametrize(
    ("hidden", "inner", "heads", "kv_heads"), [(64, 128, 4, 2), (260, 516, 3, 1), (320, 448, 4, 2), (1024, 3072, 16, 8)]
)
@pytest.mark.parametrize("num_tokens", [1, 5, 16, 17, 97, 200])
def test_sums_are_those_of_the_rounded_numbers(
    int8: Prepare, hidden: int, inner: int, heads: int, kv_heads: int, num_tokens: int
) -> None:
    given = matrices(hidden, inner, heads, kv_heads)
    ours, x = int8(given), states(num_tokens, hidden)
    attended = states(num_tokens, heads * 32, seed=2)
    assert error(ours.queries(x), rounded(x) @ rounded(given.q).T) < 3e-3
    for found, matrix in zip(ours.keys(x), (given.k, given.v), strict=True):
        assert error(found, rounded(x) @ rounded(matrix).T) < 3e-3
    expected = x.double() + rounded(attended) @ rounded(given.o).T
    assert error(ours.add_attended(attended, x.clone()), expected) < 3e-3


@pytest.mark.parametrize("num_tokens", [1, 97])
def test_mlp_gates_and_adds(int8: Prepare, num_tokens: int) -> None:
    given, x = matrices(64, 320, 4, 2, scale=0.5), states(num_tokens, 64)
    inner = F.silu(rounded(x) @ rounded(given.gate).T) * (rounded(x) @ rounded(given.up).T)
    expected = x.double() + rounded(inner.bfloat16()) @ rounded(given.down).T
    assert error(int8(given).add_mlp(x, x.clone()), expected) < 6e-3


def test_rounding_error_is_at_most_a_few_percent(int8: Prepare) -> None:
    given, x = matrices(1024, 3072, 16, 8), states(100, 1024)
    exact = PlainLinears(given)
    for found, other in [
        (int8(given).queries(x), exact.queries(x)),
        (int8(given).add_mlp(x, x.clone()) - x, exact.add_mlp(x, x.clone()) - x),
    ]:
        assert 1e-3 < error(found, other) < 3e-2


def test_outlier_affects_its_own_group_only(int8: Prepare) -> None:
    given, x = matrices(2 * GROUP, 64, 4, 2), states(20, 2 * GROUP)
    given.q[:, :GROUP] = 0
    outlier = x.clone()
    outlier[:, 3] = 1000.0
    ours = int8(given)
    assert torch.equal(ours.queries(outlier).clone(), ours.queries(x))
    assert ours.queries(x).any()


def test_very_wide_rows_with_few_per_block(int8: Prepare) -> None:
    given, x = matrices(64, 1 << 16, 2, 1), states(65, 64)
    inner = F.silu(rounded(x) @ rounded(given.gate).T) * (rounded(x) @ rounded(given.up).T)
    expected = x.double() + rounded(inner.bfloat16()) @ rounded(given.down).T
    assert error(int8(given).add_mlp(x, x.clone()), expected) < 6e-3


def test_zeros_and_extremes_stay_numbers(int8: Prepare) -> None:
    given = matrices(64, 128, 4, 2)
    given.q[0] = 0
    zeros = torch.zeros(3, 64, dtype=torch.bfloat16)
    ours = int8(given)
    assert torch.equal(ours.queries(zeros), torch.zeros(3, 128, dtype=torch.bfloat16))
    large = states(3, 64) * 1e4
    assert ours.add_mlp(large, large.clone()).isfinite().all()
    assert torch.equal(ours.queries(large)[:, 0], torch.zeros(3, dtype=torch.bfloat16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 17, 63])
def test_nan_and_infinity_are_not_rounded_away(int8: Prepare, bad: float, place: int) -> None:
    """A damaged weight or an overflow must end as an error, not as a score."""
    given, x = matrices(64, 128, 4, 2), states(5, 64)
    spoiled = x.clone()
    spoiled[2, place] = bad
    found = int8(given).queries(spoiled)
    assert not found[2].isfinite().any()
    assert found[[0, 1, 3, 4]].isfinite().all()
    given.q[7, place] = bad
    found = int8(given).queries(x)
    assert not found[:, 7].isfinite().any()
    assert found[:, 8:].isfinite().all()


def test_a_token_does_not_depend_on_its_neighbours(int8: Prepare) -> None:
    given, x = matrices(64, 128, 4, 2), states(100, 64)
    ours = int8(given)
    assert torch.equal(ours.add_mlp(x, x.clone())[41:42], ours.add_mlp(x[41:42], x[41:42].clone()))


def test_tiles_and_registers_agree_to_the_bit() -> None:
    """Sums of a group are integers, and are scaled and added in one order."""
    found = kernels()
    assert found is not None
    given, x, attended = matrices(320, 2 * GROUP + 64, 4, 2), states(61, 320), states(61, 128)
    one, other = (Int8Linears(each, Workspace(), given) for each in (found, found.without_tiles()))
    assert torch.equal(one.queries(x), other.queries(x))
    assert torch.equal(one.add_attended(attended, x.clone()), other.add_attended(attended, x.clone()))
    assert torch.equal(one.add_mlp(x, x.clone()), other.add_mlp(x, x.clone()))


@pytest.mark.parametrize("odd", [{"intermediate_size": 130}, {"num_kv_heads": 1, "head_dim": 36}])
def test_unsupported_shapes_are_not_quantised(odd: dict[str, int]) -> None:
    assert can_round(CONFIG)
    assert not can_round(type(CONFIG)(**{name: getattr(CONFIG, name) for name in CONFIG.__slots__} | odd))
