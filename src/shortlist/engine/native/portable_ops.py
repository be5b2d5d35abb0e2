"""`ForwardOps` in plain torch: norms, rotary positions and attention, on any device and in any dtype.

The oracle of the faster implementations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from shortlist.engine.native.attention import attention
from shortlist.engine.native.layout import Layout
from shortlist.engine.native.model_config import Qwen3Config


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary angles of a list of tokens.

    Shapes:
        cos_TD, sin_TD: [num tokens, head_dim / 2] fp32.
    """

    cos_TD: Tensor
    sin_TD: Tensor

    @classmethod
    def of(cls, positions_T: Tensor, config: Qwen3Config) -> Rope:
        """Return the angles of the given positions."""
        angle_TD = positions_T.float()[:, None] * _frequencies(config, positions_T.device)
        return cls(angle_TD.cos(), angle_TD.sin())

    def at(self, rows: slice | Tensor) -> Rope:
        """Return the angles of the tokens at `rows`."""
        return Rope(self.cos_TD[rows], self.sin_TD[rows])


@cache
def _frequencies(config: Qwen3Config, device: torch.device) -> Tensor:
    """Return the rotation of every pair of a head per position, [head_dim / 2] fp32.

    Computed on the CPU, where powers are the same on every machine, and copied to the device once.
    """
    exponents_D = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    return (1.0 / (config.rope_theta**exponents_D)).to(device)


class PortableOps:
    """A `ForwardOps` in plain torch."""

    def __init__(self, config: Qwen3Config, dtype: torch.dtype, rope: Rope, layout: Layout) -> None:
        self._config = config
        self._rope = rope
        self._layout = layout
        empty = rope.cos_TD.new_empty
        self._q_THD = empty((layout.num_tokens, config.num_heads, config.head_dim), dtype=dtype)
        self._k_TGD = empty((layout.num_tokens, config.num_kv_heads, config.head_dim), dtype=dtype)
        self._v_TGD = torch.empty_like(self._k_TGD)

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """See `ForwardOps`."""
        return rms_norm(hidden_tW, weight_W, self._config.norm_eps)

    def write_q(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        q_tHD = q_tX.view_as(self._q_THD[rows])
        self._q_THD[rows] = _norm_and_rotate(q_tHD, weight_D, self._rope.at(rows), self._config.norm_eps)

    def write_kv(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        k_tGD = k_tX.view_as(self._k_TGD[rows])
        self._k_TGD[rows] = _norm_and_rotate(k_tGD, weight_D, self._rope.at(rows), self._config.norm_eps)
        self._v_TGD[rows] = v_tX.view_as(k_tGD)

    def attend(self) -> Tensor:
        """See `ForwardOps`."""
        return attention(self._q_THD, self._k_TGD, self._v_TGD, self._layout).flatten(1)

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """See `ForwardOps`."""
        q_BHD = q_BX.view(len(q_BX), self._config.num_heads, self._config.head_dim)
        rotated_BHD = _norm_and_rotate(q_BHD, weight_D, self._rope.at(rows_B), self._config.norm_eps).to(q_BX.dtype)
        return attention(rotated_BHD, self._k_TGD, self._v_TGD, self._layout.pruned()).flatten(1)


def rms_norm(x_TW: Tensor, weight_W: Tensor, eps: float) -> Tensor:
    """Return `x` scaled to unit root mean square and by `weight`; computed in fp32, rounded once to the dtype of `x`.

    Source: Zhang and Sennrich 2019, equation 4.
    """
    x32_TW = x_TW.float()
    scale_T1 = torch.rsqrt(x32_TW.square().mean(-1, keepdim=True) + eps)
    return (x32_TW * scale_T1 * weight_W).to(x_TW.dtype)


def _norm_and_rotate(x_tHD: Tensor, weight_D: Tensor, rope: Rope, eps: float) -> Tensor:
    """Normalise every head, then rotate its first half against its second, all in fp32.

    Source: Su et al. 2021, equation 34, with the halves of the head paired as in Qwen3's published weights.
    """
    first_tHd, second_tHd = rms_norm(x_tHD.float(), weight_D, eps).chunk(2, dim=-1)
    cos_t1D, sin_t1D = rope.cos_TD[:, None], rope.sin_TD[:, None]
    rotated = first_tHd * cos_t1D - second_tHd * sin_t1D, second_tHd * cos_t1D + first_tHd * sin_t1D
    return torch.cat(rotated, dim=-1)
