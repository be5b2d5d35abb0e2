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
"""Tokens of a run that lie together; see `kernels.c`."""

MAX_ROWS: Final = 192
"""Rows of queries in a block at most, over all the query heads of one key head."""

QUERIES: Final = 48
"""Tokens in a block of queries at most."""

TILE_ROWS: Final = 64
"""Rows of queries in a block on the matrix unit: more would share keys and values, and fall out of the innermost cache."""

MAX_WIDTH: Final = 256
"""Widest head."""

WORKSPACE_BYTES: Final = MAX_ROWS * (12 * MAX_WIDTH + 8)
"""What one thread works in."""


def can_compute(config: Qwen3Config) -> bool:
    """Return whether the kernels are made for this shape."""
    return config.head_dim <= MAX_WIDTH and config.num_heads // config.num_kv_heads <= MAX_ROWS


class CpuOps:
    """A `ForwardOps` on the compiled kernels.

    Keys and values lie in panels of 64 tokens, in the order in which dot products of pairs read them; rows of a panel that
    no token fills stay zero. See `kernels.c` for every layout. Of steps that share a scratch, only the last may be used.
    """

    def __init__(self, config: Qwen3Config, kernels: Kernels, workspace: ForwardWorkspace, rope: Rope, layout: Layout) -> None:
        self._kernels = kernels
        self._workspace = workspace
        self._config = config
        self._rope = rope
        self._layout = layout
        # 2 to the power of a scaled product is the weight: one factor for both, folded into the queries.
        self._factor = math.log2(math.e) / math.sqrt(config.head_dim)
        self._queries_TX = workspace.queries.take(layout.num_tokens, config.num_heads * config.head_dim)
        runs = _Runs(layout)
        rows = runs.num_panels * PANEL * config.num_kv_heads
        self._keys = workspace.keys.take(rows, config.head_dim).zero_()
        self._values = workspace.values.take(rows, _padded(config.head_dim)).zero_()
        self._slots_T3 = runs.slots()
        self._runs = runs
        self._plan = _Plan(runs, layout.spans, self._block_of_queries())

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
        turned_BX = torch.empty_like(q_BX)
        self._rotate(q_BX, weight_D, self._rope.at(rows_B), turned_BX)
        self._attend(turned_BX, _Plan(self._runs, self._layout.pruned().spans, self._block_of_queries()))
        return turned_BX

    def _rotate(self, q_tX: Tensor, weight_D: Tensor, rope: Rope, out_tX: Tensor) -> None:
        config = self._config
        self._kernels.call(
            "place_queries",
            *(q_tX, q_tX.stride(0), weight_D, rope.cos_TD, rope.sin_TD, out_tX),
            *(len(q_tX), config.num_heads, config.head_dim, config.norm_eps, self._factor),
        )

    def _attend(self, queries_TX: Tensor, plan: _Plan) -> None:
        """Overwrite every query with what it gathers: each block is read before it is written, by one thread."""
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

    def _block_of_queries(self) -> int:
        group = self._config.num_heads // self._config.num_kv_heads
        return max(TILE_ROWS // group, 1) if self._kernels.has_tiles else min(QUERIES, MAX_ROWS // group)


class _Runs:
    """Where the panels of every run of tokens begin."""

    def __init__(self, layout: Layout) -> None:
        owns = [span.rows for span in layout.spans]
        lengths = torch.tensor([len(own) for own in owns])
        panels = (lengths + PANEL - 1) // PANEL
        firsts = panels.cumsum(0) - panels
        self.index = {own.start: run for run, own in enumerate(owns)}
        self.num_panels = int(panels.sum())
        self.array_R2 = torch.stack([firsts, lengths], dim=1)
        self._panels_R2 = torch.stack([firsts, panels], dim=1)

    def slots(self) -> Tensor:
        """Return for every token its run's first panel, the number of its panels, and the token's place, [T, 3]."""
        lengths = self.array_R2[:, 1]
        begins = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        places = torch.arange(len(begins)) - begins
        return torch.cat([self._panels_R2.repeat_interleave(lengths, dim=0), places[:, None]], dim=1).contiguous()


class _Plan:
    """Who looks at what: the arrays by which `attend` works."""

    def __init__(self, runs: _Runs, spans: Sequence[PackedSpan], block: int) -> None:
        self.runs = runs.array_R2
        self.spans = torch.tensor([_row(runs, span) for span in spans])
        self.tasks = torch.tensor(list(_tasks(spans, block)))
        self.block = block


def _row(runs: _Runs, span: PackedSpan) -> tuple[int, int, int, int, int]:
    first_place = len(span.rows) - len(span.queries)
    prefix = runs.index[span.prefix.start] if span.prefix else -1
    return span.queries.start, len(span.queries), first_place, runs.index[span.rows.start], prefix


def _tasks(spans: Sequence[PackedSpan], block: int) -> Iterator[tuple[int, int]]:
    for number, span in enumerate(spans):
        for first in range(0, len(span.queries), block):
            yield number, first


def _padded(width: int) -> int:
    return -(-width // PANEL) * PANEL
