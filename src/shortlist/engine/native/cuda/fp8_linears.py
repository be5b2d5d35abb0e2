"""A layer's matrix products in fp8, on NVIDIA GPUs from Ada on, at twice the rate of 16 bits and less exact.

Weights are quantised once, with a scale per output; activations before each product, with a scale per token. Sums are fp32;
outputs are bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.launch import FP8, LEAST, MOST
from shortlist.engine.native.linears import MLP_TOKENS, Matrices, chunks
from shortlist.engine.native.model_config import Qwen3Config

MULTIPLE = 16
"""Rows and columns of every matrix must be multiples of this, for torch's 8-bit products."""


def can_quantize(config: Qwen3Config) -> bool:
    """Return whether torch's 8-bit products support this shape."""
    heads, kv_heads = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return not any(width % MULTIPLE for width in (config.hidden_size, config.intermediate_size, heads, kv_heads))


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix in fp8.

    Shapes:
        matrix: [outputs, inputs]; scale: [1, outputs] fp32.
    """

    matrix: Tensor
    scale: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> Quantized:
        """Return a matrix, quantised."""
        scale = matrix.abs().amax(1, keepdim=True).float().clamp_min(LEAST) / MOST
        return cls((matrix.float() / scale).to(FP8), scale.T.contiguous())

    def times(self, x_tX: Tensor) -> Tensor:
        """Return the product of every token with every row of the matrix, in bfloat16."""
        rounded_tX, scale_t1 = launch.quantize(x_tX)
        product: Tensor = torch._scaled_mm(  # noqa: SLF001 - public as `functional.scaled_mm` in newer releases
            rounded_tX, self.matrix.T, scale_a=scale_t1, scale_b=self.scale, out_dtype=torch.bfloat16, use_fast_accum=False
        )
        return product


class Fp8Linears:
    """`Linears` in fp8 that overwrite the residual states.

    Args:
        matrices: The layer's matrices, in 16 bits; not kept.
        mlp_tokens: Tokens in the MLP at once.
    """

    __slots__ = ("_down", "_gate_up", "_keys", "_mlp_tokens", "_o", "_q")

    def __init__(self, matrices: Matrices, *, mlp_tokens: int = MLP_TOKENS) -> None:
        self._q = Quantized.of(matrices.q)
        self._keys = Quantized.of(torch.cat([matrices.k, matrices.v]))
        self._o = Quantized.of(matrices.o)
        self._gate_up = Quantized.of(torch.cat([matrices.gate, matrices.up]))
        self._down = Quantized.of(matrices.down)
        self._mlp_tokens = mlp_tokens

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._q.times(normed_tW)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        keys_tX, values_tX = self._keys.times(normed_tW).chunk(2, dim=-1)
        return keys_tX, values_tX

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return hidden_tW.add_(self._o.times(attended_tX))

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        for rows in chunks(len(hidden_tW), self._mlp_tokens):
            inner_cI = launch.silu_mul(self._gate_up.times(normed_tW[rows]))
            hidden_tW[rows].add_(self._down.times(inner_cI))
        return hidden_tW
