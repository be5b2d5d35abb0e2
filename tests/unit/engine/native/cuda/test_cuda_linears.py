"""Products on a GPU are the plain ones but for rounding, and the MLP stays within its memory limit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.linears import Matrices, PlainLinears
from tests.support.interpreter import DEVICE

from shortlist.engine.native.cuda.cuda_linears import CudaLinears  # isort: skip - after the check for Triton

SIZES = {"q": (96, 64), "k": (32, 64), "v": (32, 64), "o": (64, 96), "gate": (160, 64), "up": (160, 64), "down": (64, 160)}


def draw(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def matrices(dtype: torch.dtype) -> Matrices:
    return Matrices(**{name: (draw(*size, seed=seed) * 0.1).to(dtype) for seed, (name, size) in enumerate(SIZES.items())})


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 0.04), (torch.float16, 0.005)])
def test_products_equal_plain_ones(dtype: torch.dtype, bound: float) -> None:
    given = matrices(dtype)
    ours, exact = CudaLinears(given), PlainLinears(Matrices(**{name: getattr(given, name).float() for name in SIZES}))
    x, attended = draw(9, 64).to(dtype), draw(9, 96, seed=1).to(dtype)
    for found, expected in [
        (ours.queries(x), exact.queries(x.float())),
        *zip(ours.keys(x), exact.keys(x.float()), strict=True),
        (ours.add_attended(attended, x.clone()), exact.add_attended(attended.float(), x.float())),
        (ours.add_mlp(x, x.clone()), exact.add_mlp(x.float(), x.float())),
    ]:
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, atol=bound, rtol=bound)


def test_mlp_in_parts_limits_its_rows_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given, x = matrices(torch.float32), draw(9, 64)
    whole = CudaLinears(given).add_mlp(x, x.clone())
    rows: list[int] = []
    linear = F.linear

    def spy(*arguments: Any) -> Tensor:
        rows.append(len(arguments[0]))
        return linear(*arguments)

    monkeypatch.setattr(F, "linear", spy)
    torch.testing.assert_close(CudaLinears(given, mlp_tokens=4).add_mlp(x, x.clone()), whole, atol=1e-6, rtol=1e-6)
    assert rows == [3, 3, 3]
