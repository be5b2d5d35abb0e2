"""A layer's matrix products in int8, by the compiled kernels: integers of -127 to 127 times a scale, in groups of 1,024.

Weights are quantised once, while loading; activations before each product, with scales per token. Sums are exact within a group
and fp32 beyond; inputs and outputs are bf16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.cpu.library import Kernels
from shortlist.engine.native.cpu.workspace import Workspace
from shortlist.engine.native.linears import Matrices
from shortlist.engine.native.model_config import Qwen3Config

GROUP: Final = 1024
"""Consecutive inputs that share a scale."""

TILE: Final = 16
"""Outputs per tile; see `kernels.c`."""

TILES: Final = 4
"""Tiles per register product; the number of tiles is a multiple of it."""

DEEP: Final = 64
"""Inputs per tile."""

TOKENS: Final = 32
"""Tokens that the matrix unit reads at once."""


def can_round(config: Qwen3Config) -> bool:
    """Return whether the kernels support this shape: inputs in groups of four, and whole tiles of keys."""
    inputs = config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim
    return all(width % 4 == 0 for width in inputs) and config.num_kv_heads * config.head_dim % TILE == 0


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """One or several int8 matrices, packed; of two, one may gate the other.

    Shapes:
        numbers: [tiles / 2, inputs / 64, 2, 16, 16, 4] int8; scales, offsets: [tiles, groups, 16] fp32 and int32.
    """

    numbers: Tensor
    scales: Tensor
    offsets: Tensor
    num_outputs: int
    is_gated: bool

    @classmethod
    def of(cls, kernels: Kernels, *matrices_NK: Tensor) -> Int8Weights:
        """Return matrices in int8, concatenated by outputs; 16 divides the outputs of each."""
        packed = cls._empty(sum(map(len, matrices_NK)), matrices_NK[0].shape[1], is_gated=False)
        start = 0
        for matrix_NK in matrices_NK:
            packed.put(kernels, matrix_NK, start, 1)
            start += len(matrix_NK) // TILE
        return packed

    @classmethod
    def gated(cls, kernels: Kernels, matrix_NK: Tensor, gates_NK: Tensor) -> Int8Weights:
        """Return a matrix and its gate in int8, interleaved by tiles."""
        packed = cls._empty(2 * len(matrix_NK), matrix_NK.shape[1], is_gated=True)
        packed.put(kernels, gates_NK, 0, 2)
        packed.put(kernels, matrix_NK, 1, 2)
        return packed

    @classmethod
    def _empty(cls, num_outputs: int, num_inputs: int, *, is_gated: bool) -> Int8Weights:
        tiles = -(-num_outputs // (TILES * TILE)) * TILES
        return cls(
            torch.zeros(tiles * TILE * -(-num_inputs // DEEP) * DEEP, dtype=torch.int8),
            torch.zeros(tiles, -(-num_inputs // GROUP), TILE),
            torch.zeros(tiles, -(-num_inputs // GROUP), TILE, dtype=torch.int32),
            num_outputs,
            is_gated,
        )

    def put(self, kernels: Kernels, matrix_NK: Tensor, first: int, every: int) -> None:
        """Quantise a matrix into every `every`-th tile, from tile `first` on."""
        arrays = self.numbers, self.scales, self.offsets
        kernels.call("pack_int8", matrix_NK.contiguous(), *arrays, *matrix_NK.shape, first, every)


class Int8Linears:
    """`Linears` in int8."""

    __slots__ = ("_down", "_inner", "_kernels", "_keys", "_o", "_q", "_workspace")

    def __init__(self, kernels: Kernels, workspace: Workspace, matrices: Matrices) -> None:
        self._kernels = kernels
        self._workspace = workspace
        self._q = Int8Weights.of(kernels, matrices.q)
        self._keys = Int8Weights.of(kernels, matrices.k, matrices.v)
        self._o = Int8Weights.of(kernels, matrices.o)
        self._inner = Int8Weights.gated(kernels, matrices.up, matrices.gate)
        self._down = Int8Weights.of(kernels, matrices.down)

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
        return self._linear(self._linear(normed_tW, self._inner), self._down, other=hidden_tW)

    def _linear(self, x_tK: Tensor, packed: Int8Weights, *, other: Tensor | None = None) -> Tensor:
        num_tokens, num_inputs = x_tK.shape
        numbers_tK = torch.empty(-(-num_tokens // TOKENS) * TOKENS, num_inputs, dtype=torch.uint8)
        scales_tG = torch.empty(num_tokens, -(-num_inputs // GROUP))
        self._kernels.call("quantize", x_tK.contiguous(), numbers_tK, scales_tG, num_tokens, num_inputs)
        width = packed.num_outputs // (2 if packed.is_gated else 1)
        out_tN = self._workspace.take(num_tokens, width) if other is None else other
        self._kernels.call(
            "linear_int8",
            *(numbers_tK, scales_tG, packed.numbers, packed.scales, packed.offsets, other, out_tN),
            *(num_tokens, num_inputs, packed.num_outputs, packed.is_gated, self._kernels.has_tiles),
        )
        return out_tN
