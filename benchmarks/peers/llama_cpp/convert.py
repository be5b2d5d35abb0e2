"""Converts a Qwen3 folder to a GGUF file for llama.cpp, because llama.cpp's own converter is in no package.

The file has no vocabulary: the engine gets prompts as token ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gguf.utility import SafetensorsLocal

KINDS: Final = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}


def convert(folder: Path, target: Path, weights: str) -> None:
    """Write the model of a folder to a file; matrices get the type `weights`, vectors stay fp32."""
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.QWEN3])
    describe(writer, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, layers)
    for name, values in tensors(folder):
        kind = KINDS[weights] if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        short = names.get_name(name, try_suffixes=(".weight",))
        if short is None:
            raise ValueError(f"{name} is not a tensor of a Qwen3 model")
        writer.add_tensor(short, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """Write the metadata of the model's architecture."""
    # transformers 5 moved the base of the rotary embedding to rope_parameters.
    rope = config.get("rope_parameters") or config
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])


def tensors(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every tensor of the folder's files, as fp32."""
    for path in sorted(folder.glob("*.safetensors")):
        with SafetensorsLocal(path) as file:
            for name, tensor in file.items():
                yield name, as_fp32(tensor.mmap_bytes(), tensor.dtype).reshape(tensor.shape)


def as_fp32(data: np.ndarray, dtype: str) -> np.ndarray:
    """Decode the bytes of a tensor to fp32."""
    if dtype == "BF16":
        # numpy has no bfloat16; it is the upper half of a float32.
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return data.view({"F16": np.float16, "F32": np.float32}[dtype]).astype(np.float32)
