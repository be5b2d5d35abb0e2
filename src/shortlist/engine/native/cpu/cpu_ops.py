"""`ForwardOps` by the compiled kernels: bf16 on x86 CPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.cpu.library import Kernels
from shortlist.engine.native.cpu.workspace import ForwardWorkspace
from shortlist.engine.native.layout import Layout, PackedSpan
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import Rope

PANEL: Final = 64
"""Tokens per panel; see `kernels.c`."""

MAX_ROWS: Final = 192
"""Maximum rows of queries per block, over all query heads of one key head."""

QUERIES: Final = 48
"""Maximum tokens per block of queries."""

TILE_ROWS: Final = 64
"""Rows of queries per block on the matrix unit: more would share keys and values, but no longer fit the innermost cache."""

MAX_WIDTH: Final = 256
"""Widest head."""

WORKSPACE_BYTES: Final = MAX_ROWS * (12 * MAX_WIDTH + 8)
"""Workspace of one thread."""


def can_compute(config: Qwen3Config) -> bool:
    """Return whether the kernels support this shape."""
    return config.head_dim <= MAX_WIDTH and config.num_heads // config.num_kv_heads <= MAX_ROWS


class CpuOps:
    """`ForwardOps` on the compiled kernels.

    Keys and values are stored in panels of 64 tokens, in the order in which dot products of pairs read them. Unused rows of a
    panel stay zero. See `kernels.c` for every layout. Of the instances that share a workspace, only the last is valid.
    """

    def __init__(self, config: Qwen3Config, kernels: Kernels, workspace: ForwardWorkspace, rope: Rope, layout: Layout) -> None:
        self._kernels = kernels
        self._workspace = workspace
        self._config = config
        self._rope = rope
        self._layout = layout
        # A weight is 2 to the power of a scaled product: one factor for both, folded into the queries.
        self._factor = math.log2(math.e) / math.sqrt(config.head_dim)
        self._queries_TX = workspace.queries.take(layout.num_tokens, config.num_heads * config.head_dim)
        panels = _Panels(layout)
        rows = panels.num_panels * PANEL * config.num_kv_heads
        self._keys = workspace.keys.take(rows, config.head_dim).zero_()
        self._values = workspace.values.take(rows, _padded(config.head_dim)).zero_()
        self._slots_T3 = panels.slots()
        self._panels = panels
        self._plan = _Plan(panels, layout.spans, self._block_tokens())

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """See `ForwardOps`."""
        normed_tW = self._workspace.normed.take(*hidden_tW.shape)
        sizes = hidden_tW.shape
        self._kernels.call("rms_norm", hidden_tW.contiguous(), weight_W, normed_tW, *sizes, self._config.norm_eps)
        return normed_tW

    def write_q(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        self._rotate(q_tX, weight_D, self._rope.at(rows), self._queries_TX[rows])

    def write_kv(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        rope, config = self._rope.at(rows), self._config
        self._kernels.call(
            "place_keys",
            *(k_tX, v_tX, k_tX.stride(0), weight_D, rope.cos_TD, rope.sin_TD, self._slots_T3[rows]),
            *(self._keys, self._values, len(k_tX), config.num_kv_heads, config.head_dim, config.norm_eps),
        )

    def attend(self) -> Tensor:
        """See `ForwardOps`."""
        self._attend(self._queries_TX, self._plan)
        return self._queries_TX

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """See `ForwardOps`."""
        rotated_BX = torch.empty_like(q_BX)
        self._rotate(q_BX, weight_D, self._rope.at(rows_B), rotated_BX)
        self._attend(rotated_BX, _Plan(self._panels, self._layout.pruned().spans, self._block_tokens()))
        return rotated_BX

    def _rotate(self, q_tX: Tensor, weight_D: Tensor, rope: Rope, out_tX: Tensor) -> None:
        config = self._config
        self._kernels.call(
            "place_queries",
            *(q_tX, q_tX.stride(0), weight_D, rope.cos_TD, rope.sin_TD, out_tX),
            *(len(q_tX), config.num_heads, config.head_dim, config.norm_eps, self._factor),
        )

    def _attend(self, queries_TX: Tensor, plan: _Plan) -> None:
        """Overwrite every query with its attention output: one thread reads each block before it writes it."""
        config = self._config
        self._kernels.call(
            "attend",
            *(queries_TX, self._keys, self._values, queries_TX, plan.runs, plan.spans, plan.tasks, len(plan.tasks)),
            *(
                config.num_kv_heads,
                config.num_heads // config.num_kv_heads,
                config.head_dim,
                plan.block,
                self._kernels.has_tiles,
            ),
        )

    def _block_tokens(self) -> int:
        group = self._config.num_heads // self._config.num_kv_heads
        return max(TILE_ROWS // group, 1) if self._kernels.has_tiles else min(QUERIES, MAX_ROWS // group)


class _Panels:
    """The panels of every span of tokens."""

    def __init__(self, layout: Layout) -> None:
        owns = [span.rows for span in layout.spans]
        lengths = torch.tensor([len(own) for own in owns])
        panels = (lengths + PANEL - 1) // PANEL
        firsts = panels.cumsum(0) - panels
        self.index = {own.start: index for index, own in enumerate(owns)}
        self.num_panels = int(panels.sum())
        self.array_R2 = torch.stack([firsts, lengths], dim=1)
        self._panels_R2 = torch.stack([firsts, panels], dim=1)

    def slots(self) -> Tensor:
        """Return, per token, the first panel of its span, the span's number of panels, and the token's index in it, [T, 3]."""
        lengths = self.array_R2[:, 1]
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        offsets = torch.arange(len(starts)) - starts
        return torch.cat([self._panels_R2.repeat_interleave(lengths, dim=0), offsets[:, None]], dim=1).contiguous()


class _Plan:
    """The arguments of `attend`: which queries attend to which keys."""

    def __init__(self, panels: _Panels, spans: Sequence[PackedSpan], block: int) -> None:
        self.runs = panels.array_R2
        self.spans = torch.tensor([_row(panels, span) for span in spans])
        self.tasks = torch.tensor(list(_tasks(spans, block)))
        self.block = block


def _row(panels: _Panels, span: PackedSpan) -> tuple[int, int, int, int, int]:
    first_offset = len(span.rows) - len(span.queries)
    prefix = panels.index[span.prefix.start] if span.prefix else -1
    return span.queries.start, len(span.queries), first_offset, panels.index[span.rows.start], prefix


def _tasks(spans: Sequence[PackedSpan], block: int) -> Iterator[tuple[int, int]]:
    for number, span in enumerate(spans):
        for first in range(0, len(span.queries), block):
            yield number, first


def _padded(width: int) -> int:
    return -(-width // PANEL) * PANEL
