"""Weights from safetensors files: memory-mapped, checked by name and shape, converted at most once.

It supports three kinds of Qwen3 checkpoints: rerankers with an LM head, rerankers converted to one-output classifiers,
and embedders. No other file format: a pickle can run code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shortlist.engine.native.linears import Matrices, PlainLinears, Prepare
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import LayerWeights, Qwen3Weights
from shortlist.errors import ModelRefused
from shortlist.types import EMBED, RERANK, Operation

_INDEX: Final = "model.safetensors.index.json"
_SINGLE: Final = "model.safetensors"
_FLOATS: Final = frozenset({torch.float32, torch.bfloat16, torch.float16})
_HEAD: Final = "lm_head.weight"
_DERIVED: Final = ".rotary_emb.inv_freq"
"""Computed from config.json, but still stored by old releases of transformers."""

AnswerIds = Callable[[], tuple[int, int]]
"""Returns the token ids of "yes" and "no"."""


@dataclass(frozen=True, slots=True)
class KnownAnswerIds:
    """`AnswerIds` with fixed ids, which can be sent to another process."""

    yes: int
    no: int

    def __call__(self) -> tuple[int, int]:
        """Return the ids."""
        return self.yes, self.no


def published_answer_ids() -> tuple[int, int]:
    """Return the ids of "yes" and "no" in Qwen3's vocabulary; the encoder checks them against the model's tokenizer file."""
    return 9693, 2152


class Checkpoint:
    """The tensors of a model folder, by name.

    Args:
        folder: The model folder, with `model.safetensors`, or several files and their index.
        dtype: The dtype of matrices; None keeps the stored one. On the CPU, unconverted matrices stay mapped from the file.
        device: Device of the tensors.

    Raises:
        ModelRefused: the folder has no safetensors files, or broken ones.
    """

    def __init__(self, folder: Path, *, dtype: torch.dtype | None, device: torch.device) -> None:
        self._dtype = dtype
        self._device = device
        self._folder = folder
        self._files = _by_name({path: _open(path) for path in weight_files(folder)})
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def matrix(self, name: str, *shape: int) -> Tensor:
        """Return a tensor in the compute dtype, on the device."""
        tensor = self._checked(name, shape)
        return tensor.to(device=self._device, dtype=self._dtype or tensor.dtype)

    def fp32(self, name: str, *shape: int) -> Tensor:
        """Return a small tensor in fp32, on the device."""
        return self._checked(name, shape).to(device=self._device, dtype=torch.float32)

    def fp32_row(self, name: str, row: int, *shape: int) -> Tensor:
        """Return one row of a matrix in fp32, on the device."""
        return self._checked(name, shape)[row].to(device=self._device, dtype=torch.float32)

    def release(self) -> None:
        """Drop the mapping of tensors that are not kept, so that a matrix copied elsewhere is in memory once."""
        self._files = _by_name({path: _open(path) for path in weight_files(self._folder)})

    def refusal(self, why: str) -> ModelRefused:
        """Return an error that refuses this folder for the given reason."""
        return ModelRefused(f"{self._folder}: {why}.")

    def refuse_rest(self, *allowed: str) -> None:
        """Refuse unexpected tensors: config.json and the weights describe different models."""
        rest = sorted(self._files.keys() - self._read - set(allowed))
        unexpected = [name for name in rest if not name.endswith(_DERIVED)]
        if unexpected:
            others = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
            raise self.refusal(f"the weights have {unexpected[0]}{others}, which config.json does not describe")

    def _checked(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in self._files:
            raise self.refusal(f"the weights lack {name}, which config.json requires")
        self._read.add(name)
        tensor: Tensor = self._files[name].get_tensor(name)
        if tuple(tensor.shape) != shape:
            raise self.refusal(f"{name} has shape {list(tensor.shape)}, but config.json requires {list(shape)}")
        if tensor.dtype not in _FLOATS:
            raise self.refusal(f"{name} is {tensor.dtype}; quantised weights are not supported")
        return tensor


_HAS_ANSWERS: Final = {RERANK: True, EMBED: False}
"""Whether the operation needs the rows of the answer tokens."""


def load_weights(
    folder: Path,
    config: Qwen3Config,
    *,
    operation: Operation,
    dtype: torch.dtype | None,
    device: torch.device,
    answer_ids: AnswerIds = published_answer_ids,
    prepare: Prepare = PlainLinears,
) -> Qwen3Weights:
    """Return a model's weights.

    Args:
        folder: The model's folder.
        config: The model's configuration.
        operation: Rerankers need rows that give a score; embedders do not.
        dtype: The compute dtype; None keeps matrices as stored.
        device: Device of the weights.
        answer_ids: Returns the token ids of "yes" and "no"; called last.
        prepare: Converts each layer's matrices to products.

    Raises:
        ModelRefused: a tensor is missing, unexpected, of the wrong shape or quantised, or the files are not readable
            safetensors.
    """
    files = Checkpoint(folder, dtype=dtype, device=device)
    prefix = "model." if "model.embed_tokens.weight" in files else ""
    embedding = files.matrix(f"{prefix}embed_tokens.weight", config.vocab_size, config.hidden_size)
    layers = tuple(_layer(files, f"{prefix}layers.{n}.", config, prepare) for n in range(config.num_layers))
    answers = _answers(files, prefix, config, answer_ids) if _HAS_ANSWERS[operation] else {}
    weights = Qwen3Weights(
        embedding=embedding,
        layers=layers,
        norm=files.fp32(f"{prefix}norm.weight", config.hidden_size),
        answer=_direction(answers) if answers else None,
        answers=answers,
    )
    files.refuse_rest(_HEAD)  # unused by embedders; for tied rerankers, checked above to be a copy
    return weights


def _layer(files: Checkpoint, at: str, config: Qwen3Config, prepare: Prepare) -> LayerWeights:
    width, inner = config.hidden_size, config.intermediate_size
    q_width, kv_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    matrices = Matrices(
        q=files.matrix(f"{at}self_attn.q_proj.weight", q_width, width),
        k=files.matrix(f"{at}self_attn.k_proj.weight", kv_width, width),
        v=files.matrix(f"{at}self_attn.v_proj.weight", kv_width, width),
        o=files.matrix(f"{at}self_attn.o_proj.weight", width, q_width),
        gate=files.matrix(f"{at}mlp.gate_proj.weight", inner, width),
        up=files.matrix(f"{at}mlp.up_proj.weight", inner, width),
        down=files.matrix(f"{at}mlp.down_proj.weight", width, inner),
    )
    weights = LayerWeights(
        attention_norm=files.fp32(f"{at}input_layernorm.weight", width),
        q_norm=files.fp32(f"{at}self_attn.q_norm.weight", config.head_dim),
        k_norm=files.fp32(f"{at}self_attn.k_norm.weight", config.head_dim),
        mlp_norm=files.fp32(f"{at}post_attention_layernorm.weight", width),
        linears=prepare(matrices),
    )
    files.release()
    return weights


def _answers(files: Checkpoint, prefix: str, config: Qwen3Config, get_answer_ids: AnswerIds) -> dict[str, Tensor]:
    """Return the rows whose products with a final state are the logits behind a score."""
    if config.is_classifier:
        return {"score": files.fp32_row("score.weight", 0, 1, config.hidden_size)}
    answer_ids = get_answer_ids()
    if max(answer_ids) >= config.vocab_size:
        raise files.refusal(f"the tokenizer's yes and no are {answer_ids}, but config.json has {config.vocab_size} tokens")
    embedding = f"{prefix}embed_tokens.weight"
    answers = _rows(files, embedding if config.is_tied else _HEAD, config, answer_ids)
    if config.is_tied and _HEAD in files:
        copies = _rows(files, _HEAD, config, answer_ids)
        if not all(torch.equal(answers[name], copies[name]) for name in answers):
            raise files.refusal(f"config.json ties {_HEAD} to {embedding} (tie_word_embeddings), but they differ")
    return answers


def _rows(files: Checkpoint, head: str, config: Qwen3Config, answer_ids: tuple[int, int]) -> dict[str, Tensor]:
    yes_W, no_W = (files.fp32_row(head, row, config.vocab_size, config.hidden_size) for row in answer_ids)
    return {"yes": yes_W, "no": no_W}


def _direction(answers: Mapping[str, Tensor]) -> Tensor:
    """Return the direction whose product with a final state is the score: logit(yes) - logit(no) if there are two answers."""
    return answers["score"] if "score" in answers else answers["yes"] - answers["no"]


# -- files --------------------------------------------------------------------------------------------------------------


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model, in a fixed order.

    Raises:
        ModelRefused: there are none, or the index names missing files.
    """
    names = [_SINGLE] if (folder / _SINGLE).is_file() else _indexed(folder / _INDEX)
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelRefused(f"{folder / _INDEX} names {name!r}, which is not a file in that folder.")
    return [folder / name for name in names]


def _indexed(index: Path) -> list[str]:
    if not index.is_file():
        raise ModelRefused(f"{index.parent} has neither {_SINGLE} nor {_INDEX}; other formats are not supported.")
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelRefused(f"{index} is not an index of safetensors files.") from error


def _open(path: Path) -> Any:
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelRefused(f"{path} is not a readable safetensors file.") from error


def _by_name(files: Mapping[Path, Any]) -> dict[str, Any]:
    """Return the file of every tensor."""
    by_name: dict[str, Any] = {}
    for path, file in files.items():
        names = set(file.keys())
        if not names.isdisjoint(by_name):
            raise ModelRefused(f"{path} holds {min(names & by_name.keys())} a second time; remove files of another download.")
        by_name |= dict.fromkeys(names, file)
    return by_name
