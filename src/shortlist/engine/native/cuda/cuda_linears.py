"""A layer's matrix products on an NVIDIA GPU: cuBLAS, with fused residual sums and SiLU gating.

cuBLAS adds the product to the residual (beta of one): states are read, written and rounded once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.cuda import launch
from shortlist.engine.native.linears import MLP_TOKENS, Matrices, chunks


class CudaLinears:
    """`Linears` that overwrite the residual states.

    Args:
        matrices: The layer's matrices.
        mlp_tokens: Tokens in the MLP at once.
    """

    __slots__ = ("_down", "_gate_up", "_keys", "_mlp_tokens", "_o", "_q")

    def __init__(self, matrices: Matrices, *, mlp_tokens: int = MLP_TOKENS) -> None:
        self._q = matrices.q
        self._keys = torch.cat([matrices.k, matrices.v])
        self._o = matrices.o
        self._gate_up = torch.cat([matrices.gate, matrices.up])
        self._down = matrices.down
        self._mlp_tokens = mlp_tokens

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return F.linear(normed_tW, self._q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        keys_tX, values_tX = F.linear(normed_tW, self._keys).chunk(2, dim=-1)
        return keys_tX, values_tX

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return hidden_tW.addmm_(attended_tX, self._o.T)

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        for rows in chunks(len(hidden_tW), self._mlp_tokens):
            inner_cI = launch.silu_mul(F.linear(normed_tW[rows], self._gate_up))
            hidden_tW[rows].addmm_(inner_cI, self._down.T)
        return hidden_tW
