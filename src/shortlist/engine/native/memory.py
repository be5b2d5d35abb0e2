"""How much memory one step of the native engine takes at most, from the shapes that `qwen3` and `attention` hold at once.

Pure arithmetic over a model's configuration; measures nothing.
"""

from __future__ import annotations

from typing import Final

from shortlist.engine.native.attention import QUERY_BLOCK
from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.qwen3 import CHUNK_TOKENS

FORMULA: Final = (
    f"T(W + 2HD + 2GD)b + L(HQ(8 + b) + GD(4 + 2b)) + C(3Ib + 8W), with T max_batch_tokens, L max_model_len, "
    f"W hidden, HD query, GD key, I inner width, H query heads, Q = {QUERY_BLOCK}, C = {CHUNK_TOKENS}, b bytes a number"
)
"""In words: the packed tokens' states, queries, keys and values; attention over the longest prompt; one chunk's MLP."""


def activation_bytes(config: Qwen3Config, *, max_batch_tokens: int, max_model_len: int, number_bytes: int) -> int:
    """Return what a full step holds beside the weights, by `FORMULA`.

    Args:
        config: The model's shape.
        max_batch_tokens: Tokens in the step.
        max_model_len: Tokens in its longest prompt.
        number_bytes: Bytes of one number in the compute dtype.
    """
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    packed = max_batch_tokens * (config.hidden_size + 2 * query + 2 * key) * number_bytes
    scores = max_model_len * config.num_heads * QUERY_BLOCK * (8 + number_bytes)
    keys = max_model_len * key * (4 + 2 * number_bytes)
    chunk = CHUNK_TOKENS * (3 * config.intermediate_size * number_bytes + 8 * config.hidden_size)
    return packed + scores + keys + chunk
