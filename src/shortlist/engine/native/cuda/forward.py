"""The forward pass on a GPU: short sequences by CUDA graphs, which cost one launch, long ones kernel by kernel.

A graph has the tokens, tiles and scored prompts of its bucket. A sequence is padded to the smallest bucket that fits, with or
without a graph: cuBLAS may sum in another order for another number of tokens, and results must not vary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from shortlist.engine.native.cuda.attention_tiles import tiles_of
from shortlist.engine.native.cuda.cuda_ops import CudaOps, TileConfig
from shortlist.engine.native.cuda.graphs import Graph, GraphDevice
from shortlist.engine.native.cuda.inputs import HostInputs, Inputs, Sizes
from shortlist.engine.native.layout import PackedSpan
from shortlist.engine.native.linears import GRAPH_TOKENS
from shortlist.engine.native.portable_ops import Rope
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import PackedSequence

BUCKET_TOKENS: Final = (128, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, GRAPH_TOKENS)
"""Bucket sizes. A sequence is padded to the smallest that fits, from 512 on by at most a quarter: padding costs time."""

MIN_PROMPT_TOKENS: Final = 16
"""Tokens per scored prompt that a bucket allows for; shorter prompts go into larger buckets."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """A graph and its input buffer."""

    buffer: Tensor
    graph: Graph


class CudaForward:
    """A `Forward` on a GPU.

    Args:
        model: The model, loaded with kernels for GPUs.
        device: The device.
        bucket_tokens: Tokens of the buckets, ascending; empty for no graphs.
        long_tokens: Longer spans use `long_attention.py`; None for no such spans.
    """

    def __init__(
        self, model: Qwen3, device: GraphDevice, *, bucket_tokens: Sequence[int] = BUCKET_TOKENS, long_tokens: int | None = None
    ) -> None:
        self._model = model
        self._device = device
        self._tile_config = TileConfig.of(model.config, model.weights.embedding.dtype)
        self._buckets = [self._bucket(num_tokens) for num_tokens in bucket_tokens]
        self._long_tokens = long_tokens
        self._recorded: dict[Sizes, _Recorded] = {}
        self._seen: set[Sizes] = set()
        self._failed: set[Sizes] = set()

    def states(self, pack: PackedSequence) -> Tensor:
        """Return the final states of the scored tokens. See `Forward`."""
        host = self._inputs(pack)
        buckets = () if host.long_spans else self._buckets
        bucket = next((each for each in buckets if _holds(each, host.sizes)), None)
        with self._device.current():
            states_BW = self._eager(host, host.sizes) if bucket is None else self._bucketed(host, bucket)
        return states_BW[: host.sizes.num_scored]

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Start copying a tensor to the host. See `Forward`."""
        return self._device.fetch(tensor)

    def _bucketed(self, host: HostInputs, bucket: Sizes) -> Tensor:
        recorded = self._graph(bucket, host)
        if recorded is None:
            return self._eager(host, bucket)
        self._device.fill(recorded.buffer, host.laid_out(bucket))
        recorded.graph.replay()
        return recorded.graph.result

    def _graph(self, bucket: Sizes, host: HostInputs) -> _Recorded | None:
        """Return the graph of a bucket, recorded at its second use; None before that, or if recording fails.

        Recording fails without enough memory or on work that cannot be recorded. A lost device fails the eager pass, too.
        """
        if bucket in self._recorded or bucket in self._failed or bucket not in self._seen:
            self._seen.add(bucket)
            return self._recorded.get(bucket)
        buffer = self._device.place(host.laid_out(bucket))
        inputs = Inputs.of(buffer, bucket)
        try:
            graph = self._device.record(lambda: self._compute(inputs, ()))
        except RuntimeError as error:
            why = type(error).__name__
            logger.warning("no CUDA graph of %d tokens (%s): batches of this size start more slowly", bucket.num_tokens, why)
            self._failed.add(bucket)
            return None
        self._recorded[bucket] = _Recorded(buffer, graph)
        return self._recorded[bucket]

    def _eager(self, host: HostInputs, sizes: Sizes) -> Tensor:
        """Compute launch by launch; when that does not fit, drop the graphs, which are recorded again later, and retry once."""
        try:
            return self._compute(self._placed(host, sizes), host.long_spans)
        except torch.OutOfMemoryError:
            if not self._recorded:
                raise
        logger.warning("CUDA graphs dropped: a batch of %d tokens did not fit beside them", host.sizes.num_tokens)
        self._recorded.clear()
        self._seen.clear()
        self._device.free()
        return self._compute(self._placed(host, sizes), host.long_spans)

    def _compute(self, inputs: Inputs, long_spans: Sequence[PackedSpan]) -> Tensor:
        rope = Rope.of(inputs.positions_T, self._model.config)
        ops = CudaOps(self._model.config, self._tile_config, rope, inputs.tiles_N6, inputs.scored_tiles_B6, long_spans)
        return self._model.states(inputs.ids_T, inputs.rows_B, ops)

    def _inputs(self, pack: PackedSequence) -> HostInputs:
        long_spans = tuple(filter(self._is_long, pack.layout.spans))
        tiled_spans = [span for span in pack.layout.spans if span not in long_spans]
        return HostInputs(
            ids_T=pack.ids_T,
            positions_T=pack.positions_T,
            tiles_N6=tiles_of(tiled_spans, self._tile_config.tile_tokens),
            scored_tiles_B6=tiles_of(pack.layout.pruned().spans, 1),
            rows_B=np.asarray(pack.layout.scored_rows, dtype=np.int32),
            long_spans=long_spans,
        )

    def _is_long(self, span: PackedSpan) -> bool:
        return self._long_tokens is not None and len(span.rows) > self._long_tokens

    def _placed(self, host: HostInputs, sizes: Sizes) -> Inputs:
        return Inputs.of(self._device.place(host.laid_out(sizes)), sizes)

    def _bucket(self, num_tokens: int) -> Sizes:
        """Return a bucket that fits all tiles if it fits the tokens and the prompts.

        Every span, a prompt or a shared prefix, has at most one tile that is not full.
        """
        num_scored = max(num_tokens // MIN_PROMPT_TOKENS, 1)
        return Sizes(num_tokens, num_tokens // self._tile_config.tile_tokens + 2 * num_scored, num_scored)


def _holds(bucket: Sizes, sizes: Sizes) -> bool:
    return bucket.num_tokens >= sizes.num_tokens and bucket.num_scored >= sizes.num_scored
