"""The matrix products of one layer: plain, or packed for the CPU's matrix library.

Every implementation provides the same four products, with activations and residual sums fused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

CHUNK_TOKENS: Final = 512
"""Minimum tokens per matrix product: enough to fill the CPU, few enough for the activations to stay in its cache."""

CHUNK_NUMBERS: Final = CHUNK_TOKENS * 3072
"""Numbers in the widest activation of a chunk: small models compute more tokens at once."""

MLP_TOKENS: Final = 4096
"""Tokens in the MLP at once on a GPU: enough to fill it, and 32k tokens need no more memory there than these."""

GRAPH_TOKENS: Final = 4096
"""Tokens of the largest CUDA graph; longer sequences keep a GPU busy for longer than their launches take."""

MAX_PLANS: Final = 64


def chunk_tokens(inner: int) -> int:
    """Return the tokens per chunk for a model with this MLP width."""
    return max(CHUNK_TOKENS, CHUNK_NUMBERS // inner)


def chunks(num_tokens: int, max_tokens: int) -> Iterator[slice]:
    """Yield chunks of nearly equal size."""
    count = -(-num_tokens // max_tokens)
    for chunk in range(count):
        yield slice(num_tokens * chunk // count, num_tokens * (chunk + 1) // count)


_onednn: Any = torch.ops.mkldnn


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """The matrices of one layer: H query heads, G key heads of width D; hidden width W; inner width I.

    Shapes:
        q: [H*D, W]; k, v: [G*D, W]; o: [W, H*D]; gate, up: [I, W]; down: [W, I].
    """

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


class Linears(Protocol):
    """The products of one layer. Sums may overwrite `hidden`, which must not be read afterwards.

    Shapes:
        normed, hidden: [t, W]; attended: [t, H*D]; t tokens, hidden width W, H query heads and G key heads of width D.
    """

    def queries(self, normed_tW: Tensor) -> Tensor:
        """Return the queries, [t, H*D]."""
        ...

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and the values, each [t, G*D]."""
        ...

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """Return `hidden` plus the projected attention output, [t, W]."""
        ...

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """Return `hidden` plus the MLP of `normed`, [t, W]."""
        ...


Prepare = Callable[[Matrices], Linears]
"""Converts a layer's matrices to products, while they are loaded."""


@dataclass(frozen=True, slots=True)
class PlainLinears:
    """Products with the matrices in place: mapped from the file, or on a device."""

    matrices: Matrices

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return F.linear(normed_tW, self.matrices.q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        return F.linear(normed_tW, self.matrices.k), F.linear(normed_tW, self.matrices.v)

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return hidden_tW + F.linear(attended_tX, self.matrices.o)

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        inner_tI = F.silu(F.linear(normed_tW, self.matrices.gate)).mul_(F.linear(normed_tW, self.matrices.up))
        return hidden_tW + F.linear(inner_tI, self.matrices.down)


class PackedLinears:
    """bf16 products on a CPU, with matrices copied into oneDNN's layout.

    Activation, gating and residual sums are fused into the product's fp32 registers: no cost, one rounding.

    Source: the operators that torch's compiler emits for linear layers on CPUs, `torch/_inductor/mkldnn_lowerings.py`.
    """

    __slots__ = ("_down", "_gate", "_keys", "_o", "_q", "_up")

    def __init__(self, matrices: Matrices) -> None:
        self._q = packed(matrices.q)
        self._keys = packed(torch.cat([matrices.k, matrices.v]))
        self._o = packed(matrices.o)
        self._gate = packed(matrices.gate)
        self._up = packed(matrices.up)
        self._down = packed(matrices.down)

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return product(normed_tW, self._q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        keys_tX, values_tX = product(normed_tW, self._keys).chunk(2, dim=-1)
        return keys_tX, values_tX

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return _fused(attended_tX, self._o, hidden_tW, "add")

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        inner_tI = _fused(normed_tW, self._up, product(normed_tW, self._gate, "swish"), "mul")
        return _fused(inner_tI, self._down, hidden_tW, "add")

    @staticmethod
    def is_possible() -> bool:
        """Return whether this build of torch has the operators."""
        return hasattr(_onednn, "_linear_pointwise") and hasattr(_onednn, "_reorder_linear_weight")


def bound_plans() -> None:
    """Limit the plan caches of oneDNN and of torch's layer above it. Call before the first product of the process.

    A plan is code for products of one shape, with work memory: about a megabyte. Both caches hold 1,024 by default. Batches
    have every length, so a small model grew by a gigabyte. A forward pass needs a dozen plans; the limit keeps recent ones too.

    Source: `ideep/lru_cache.hpp` of torch, and oneDNN's guide, "Primitive Cache"; both read the limit at first use.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(MAX_PLANS))  # noqa: TID251 - their only setting


def round_sums_once() -> None:
    """Make cuBLAS accumulate in fp32 throughout: by default it may round partial sums of a product before adding them."""
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def packed(matrix: Tensor) -> Tensor:
    """Return a bf16 matrix in oneDNN's fastest layout."""
    result: Tensor = _onednn._reorder_linear_weight(matrix, CHUNK_TOKENS)  # noqa: SLF001 - its only name
    return result


def product(x: Tensor, packed: Tensor, activation: str = "none") -> Tensor:
    """Return the product with a packed matrix, with a fused oneDNN activation."""
    result: Tensor = _onednn._linear_pointwise(x, packed, None, activation, [], "")  # noqa: SLF001
    return result


def _fused(x: Tensor, packed: Tensor, other: Tensor, operation: str) -> Tensor:
    result: Tensor = _onednn._linear_pointwise.binary(x, other, packed, None, operation)  # noqa: SLF001
    return result
