"""A layer's products in 8 bits, on the compiled kernels: whole numbers of -127 to 127 times a scale, in groups of 256.

Weights are rounded once, while they are loaded; activations when they are multiplied, each token by scales of its own. Sums
are exact within a group and fp32 beyond; what goes in and comes out is bf16. Knows nothing of what lies between products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.cpu.kernels import Kernels
from shortlist.engine.native.linears import Matrices

GROUP: Final = 256
"""Consecutive inputs that share a scale."""

PANEL: Final = 64
"""Outputs that lie together; see `kernels.c`."""

TILE: Final = 16
"""Tokens that the matrix unit reads together."""


def can_round(config: Qwen3Config) -> bool:
    """Tell whether the kernels are made for this shape: they multiply four inputs at a time."""
    return all(width % 4 == 0 for width in (config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim))


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix in 8 bits.

    Shapes:
        numbers: [panels, inputs / 4, 64, 4] int8; scales, offsets: [panels, groups, 64] fp32 and int32.
    """

    numbers: Tensor
    scales: Tensor
    offsets: Tensor
    num_outputs: int

    @classmethod
    def of(cls, kernels: Kernels, matrix_NK: Tensor) -> Packed:
        """Return a matrix rounded."""
        num_outputs, num_inputs = matrix_NK.shape
        panels, groups = -(-num_outputs // PANEL), -(-num_inputs // GROUP)
        packed = cls(
            torch.zeros(panels, num_inputs // 4, PANEL, 4, dtype=torch.int8),
            torch.zeros(panels, groups, PANEL),
            torch.zeros(panels, groups, PANEL, dtype=torch.int32),
            num_outputs,
        )
        arrays = packed.numbers, packed.scales, packed.offsets
        kernels.call("pack_int8", matrix_NK.contiguous(), *arrays, num_outputs, num_inputs)
        return packed


class Int8Linears:
    """`Linears` in 8 bits."""

    __slots__ = ("_down", "_gate", "_kernels", "_keys", "_o", "_q", "_up")

    def __init__(self, kernels: Kernels, matrices: Matrices) -> None:
        self._kernels = kernels
        self._q = Packed.of(kernels, matrices.q)
        self._keys = Packed.of(kernels, torch.cat([matrices.k, matrices.v]))
        self._o = Packed.of(kernels, matrices.o)
        self._gate = Packed.of(kernels, matrices.gate)
        self._up = Packed.of(kernels, matrices.up)
        self._down = Packed.of(kernels, matrices.down)

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._linear(normed_tW, self._q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        keys_tX, values_tX = self._linear(normed_tW, self._keys).chunk(2, dim=-1)
        return keys_tX, values_tX

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._linear(attended_tX, self._o, other=hidden_tW)

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._linear(self._linear(normed_tW, self._up, gate=self._gate), self._down, other=hidden_tW)

    def _linear(self, x_tK: Tensor, packed: Packed, *, gate: Packed | None = None, other: Tensor | None = None) -> Tensor:
        num_tokens, num_inputs = x_tK.shape
        numbers_tK = torch.empty(-(-num_tokens // TILE) * TILE, num_inputs, dtype=torch.uint8)
        scales_tG = torch.empty(num_tokens, -(-num_inputs // GROUP))
        self._kernels.call("quantize", x_tK.contiguous(), numbers_tK, scales_tG, num_tokens, num_inputs)
        out_tN = torch.empty(num_tokens, packed.num_outputs, dtype=torch.bfloat16)
        gates = (gate.numbers, gate.scales, gate.offsets) if gate else (None, None, None)
        arrays = packed.numbers, packed.scales, packed.offsets, *gates, other, out_tN
        sizes = num_tokens, num_inputs, packed.num_outputs
        self._kernels.call("linear_int8", numbers_tK, scales_tG, *arrays, *sizes, self._kernels.has_tiles)
        return out_tN
