"""Model folders of the true Qwen3 architecture and the real Qwen vocabulary, with random weights.

Nothing is downloaded: the vocabulary comes from a resource of the `dashscope` package. Also runs by hand:
`python -m tests.support.qwen DIR --shape tiny --kind reranker --dtype bfloat16`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tokenizers
from tokenizers import AddedToken, Tokenizer, normalizers, processors

if TYPE_CHECKING:  # the ids are for tests without torch too
    import torch

Kind = Literal["reranker", "embedder", "seqcls"]

PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ADDED = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
FIRST_ADDED = 151643
VOCAB_SIZE = 151669
YES, NO = 9693, 2152
KEPT = Path(__file__).parents[2] / "build"


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    max_positions: int


SHAPES = {
    "null": Shape(layers=2, hidden=64, heads=4, kv_heads=2, head_dim=32, intermediate=160, max_positions=8192),
    "small": Shape(layers=4, hidden=256, heads=4, kv_heads=2, head_dim=64, intermediate=768, max_positions=8192),
    "tiny": Shape(layers=3, hidden=64, heads=4, kv_heads=2, head_dim=32, intermediate=160, max_positions=4096),
    "0.6b": Shape(layers=28, hidden=1024, heads=16, kv_heads=8, head_dim=128, intermediate=3072, max_positions=40960),
    "4b": Shape(layers=36, hidden=2560, heads=32, kv_heads=8, head_dim=128, intermediate=9728, max_positions=40960),
    "8b": Shape(layers=36, hidden=4096, heads=32, kv_heads=8, head_dim=128, intermediate=12288, max_positions=40960),
}
ARCHITECTURES = {"reranker": "Qwen3ForCausalLM", "embedder": "Qwen3ForCausalLM", "seqcls": "Qwen3ForSequenceClassification"}


# -- the vocabulary -----------------------------------------------------------------------------------------------------


def build_tokenizer(ranks: Path) -> Tokenizer:
    """The Qwen tokenizer; ids 151643 and up are the added tokens, in Qwen's order."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    tokenizer: Tokenizer = TikTokenConverter(str(ranks), pattern=PATTERN).converted()  # type: ignore[no-untyped-call]
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=word.startswith("<|")) for word in ADDED])
    assert tokenizer.token_to_id("</think>") == VOCAB_SIZE - 1
    return tokenizer


def write_tokenizer(path: Path) -> Path:
    """Save the tokenizer as `tokenizer.json` at `path`. It is built once for all runs, as that takes seconds."""
    ranks = _ranks()
    inputs = ranks.read_bytes() + Path(__file__).read_bytes() + tokenizers.__version__.encode()
    kept = KEPT / f"qwen-tokenizer-{hashlib.sha256(inputs).hexdigest()[:16]}.json"
    KEPT.mkdir(exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            built = kept.with_suffix(".new")
            build_tokenizer(ranks).save(str(built), pretty=False)
            built.replace(kept)
    shutil.copyfile(kept, path)
    return path


def _ranks() -> Path:
    spec = importlib.util.find_spec("dashscope")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("dashscope is not installed", name="dashscope")
    return Path(spec.origin).parent / "resources" / "qwen.tiktoken"


def _write_embedder_tokenizer(source: Path, target: Path) -> None:
    """As in Qwen3-Embedding: the post-processor appends <|endoftext|>."""
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair=None, special_tokens=[("<|endoftext|>", FIRST_ADDED)]
    )
    tokenizer.save(str(target), pretty=False)


# -- the weights --------------------------------------------------------------------------------------------------------


def config_of(kind: Kind, shape: Shape, dtype: str, *, tied: bool) -> dict[str, Any]:
    """`config.json` in the style of transformers 5."""
    return {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": "qwen3",
        "vocab_size": VOCAB_SIZE,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "tie_word_embeddings": tied,
        "dtype": dtype,
        "pad_token_id": FIRST_ADDED,
        **({"num_labels": 1, "id2label": {"0": "LABEL_0"}} if kind == "seqcls" else {}),
    }


def _shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "embed_tokens.weight", (VOCAB_SIZE, shape.hidden)
    for layer in range(shape.layers):
        at = f"layers.{layer}."
        yield at + "input_layernorm.weight", (shape.hidden,)
        yield at + "self_attn.q_proj.weight", (shape.heads * shape.head_dim, shape.hidden)
        yield at + "self_attn.k_proj.weight", (shape.kv_heads * shape.head_dim, shape.hidden)
        yield at + "self_attn.v_proj.weight", (shape.kv_heads * shape.head_dim, shape.hidden)
        yield at + "self_attn.o_proj.weight", (shape.hidden, shape.heads * shape.head_dim)
        yield at + "self_attn.q_norm.weight", (shape.head_dim,)
        yield at + "self_attn.k_norm.weight", (shape.head_dim,)
        yield at + "post_attention_layernorm.weight", (shape.hidden,)
        yield at + "mlp.gate_proj.weight", (shape.intermediate, shape.hidden)
        yield at + "mlp.up_proj.weight", (shape.intermediate, shape.hidden)
        yield at + "mlp.down_proj.weight", (shape.hidden, shape.intermediate)
    yield "norm.weight", (shape.hidden,)


def random_weights(
    kind: Kind, shape: Shape, dtype: torch.dtype, *, tied: bool = True, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Weights whose scores spread: variance kept by every layer, noise on the norms."""
    import torch

    draw = torch.Generator().manual_seed(seed)

    def make(size: tuple[int, ...]) -> torch.Tensor:
        if len(size) == 1:
            return (1 + 0.2 * torch.randn(size, generator=draw)).to(dtype)
        return torch.randn(size, generator=draw).mul_(1 / math.sqrt(size[1])).to(dtype)

    prefix = "" if kind == "embedder" else "model."
    weights = {prefix + name: make(size) for name, size in _shapes(shape)}
    if kind == "seqcls":
        weights["score.weight"] = make((1, shape.hidden))
    elif not tied:
        weights["lm_head.weight"] = make((VOCAB_SIZE, shape.hidden))
    return weights


def save_weights(folder: Path, weights: Mapping[str, torch.Tensor], *, shards: int = 1) -> None:
    """Write one safetensors file, or several with an index, as large checkpoints come."""
    from safetensors.torch import save_file

    if shards == 1:
        save_file(dict(weights), str(folder / "model.safetensors"), metadata={"format": "pt"})
        return
    names = list(weights)
    index: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        mine = {name: weights[name] for name in names[shard::shards]}
        save_file(mine, str(folder / file), metadata={"format": "pt"})
        index |= dict.fromkeys(mine, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


# -- the folder ---------------------------------------------------------------------------------------------------------


def write_model(
    folder: Path,
    *,
    kind: Kind = "reranker",
    shape: str = "tiny",
    dtype: str = "float32",
    tied: bool = True,
    shards: int = 1,
    seed: int = 0,
    tokenizer: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a complete model folder and return it.

    Args:
        tokenizer: A `tokenizer.json` made before; building one takes seconds.
        config: Fields of `config.json` to replace.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    fields = config_of(kind, SHAPES[shape], dtype, tied=tied) | dict(config or {})
    (folder / "config.json").write_text(json.dumps(fields, indent=2))
    weights = random_weights(kind, SHAPES[shape], getattr(torch, dtype), tied=tied, seed=seed)
    save_weights(folder, weights, shards=shards)
    _write_tokenizer_files(folder, kind, tokenizer or write_tokenizer(folder / "tokenizer.json"))
    if kind == "embedder":
        _write_pooling(folder, SHAPES[shape].hidden)
    return folder


def _write_tokenizer_files(folder: Path, kind: Kind, source: Path) -> None:
    target = folder / "tokenizer.json"
    if kind == "embedder":
        _write_embedder_tokenizer(source, target)
    elif source != target:
        shutil.copyfile(source, target)
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))


def _write_pooling(folder: Path, width: int) -> None:
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    listed = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (name, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, "pooling_mode_lasttoken": True, "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    task = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    prompts = {"prompts": {"query": task, "document": ""}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))


def main() -> None:
    """Write one model folder, as asked for on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--kind", choices=sorted(ARCHITECTURES), default="reranker")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    write_model(asked.folder, kind=asked.kind, shape=asked.shape, dtype=asked.dtype, seed=asked.seed)


if __name__ == "__main__":
    main()
