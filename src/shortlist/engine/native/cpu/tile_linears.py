"""A layer's matrix products in 16 bits on the CPU's matrix unit (AMX), by the compiled kernels.

oneDNN also uses the unit, but waits for weights: about half of the unit idles when a model's matrices are read once per few
hundred tokens. These kernels prefetch the next weights during the product, and fuse residual sums and activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.cpu.library import Kernels
from shortlist.engine.native.cpu.workspace import Workspace
from shortlist.engine.native.linears import Matrices, chunk_tokens
from shortlist.engine.native.model_config import Qwen3Config

STEP: Final = 32
"""Block size of a product: the numbers of inputs and outputs are multiples of it."""


def tile_chunk_tokens(inner: int) -> int:
    """Return the tokens per chunk on the matrix unit, for a model with this MLP width: more than fit its cache.

    The kernels divide them into blocks that fit, and read a layer's weights from memory once for all blocks.
    """
    return 5 * chunk_tokens(inner) // 2


def can_multiply(config: Qwen3Config) -> bool:
    """Return whether the kernels support this shape."""
    heads = config.num_heads, config.num_kv_heads
    widths = (config.hidden_size, config.intermediate_size, *(num * config.head_dim for num in heads))
    return all(width % STEP == 0 for width in widths)


@dataclass(frozen=True, slots=True)
class TileWeights:
    """One or several matrices in the kernels' layout; of two, one may gate the other.

    Shapes:
        numbers: [outputs / 32, inputs / 32, 2, 16, 16, 2] bf16.
    """

    numbers: Tensor
    num_inputs: int
    num_outputs: int
    is_gated: bool

    @classmethod
    def of(cls, kernels: Kernels, *matrices_NK: Tensor) -> TileWeights:
        """Return matrices packed, concatenated by outputs."""
        num_outputs, num_inputs = sum(map(len, matrices_NK)), matrices_NK[0].shape[1]
        numbers = torch.empty(num_outputs * num_inputs, dtype=torch.bfloat16)
        start = 0
        for matrix_NK in matrices_NK:
            kernels.call("pack_tiles", matrix_NK.contiguous(), None, numbers[start:], len(matrix_NK), num_inputs)
            start += matrix_NK.numel()
        return cls(numbers, num_inputs, num_outputs, is_gated=False)

    @classmethod
    def gated(cls, kernels: Kernels, matrix_NK: Tensor, gates_NK: Tensor) -> TileWeights:
        """Return a matrix packed together with its gate."""
        num_outputs, num_inputs = matrix_NK.shape
        numbers = torch.empty(2 * num_outputs * num_inputs, dtype=torch.bfloat16)
        kernels.call("pack_tiles", matrix_NK.contiguous(), gates_NK.contiguous(), numbers, num_outputs, num_inputs)
        return cls(numbers, num_inputs, 2 * num_outputs, is_gated=True)


class TileLinears:
    """`Linears` on the matrix unit."""

    __slots__ = ("_down", "_inner", "_kernels", "_keys", "_o", "_q", "_workspace")

    def __init__(self, kernels: Kernels, workspace: Workspace, matrices: Matrices) -> None:
        self._kernels = kernels
        self._workspace = workspace
        self._q = TileWeights.of(kernels, matrices.q)
        self._keys = TileWeights.of(kernels, matrices.k, matrices.v)
        self._o = TileWeights.of(kernels, matrices.o)
        self._inner = TileWeights.gated(kernels, matrices.up, matrices.gate)
        self._down = TileWeights.of(kernels, matrices.down)

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

    def _linear(self, x_tK: Tensor, packed: TileWeights, *, other: Tensor | None = None) -> Tensor:
        num_tokens, width = len(x_tK), packed.num_outputs // (2 if packed.is_gated else 1)
        out_tN = self._workspace.take(num_tokens, width) if other is None else other
        sizes = num_tokens, packed.num_inputs, packed.num_outputs
        self._kernels.call("linear_tiles", x_tK.contiguous(), packed.numbers, other, out_tN, *sizes, packed.is_gated)
        return out_tN
