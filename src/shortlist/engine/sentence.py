"""Any other cross-encoder or embedding model, through sentence-transformers.

The library tokenizes, pads and pools as the model's files specify, and truncates at the model's limit. It runs on its own
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from transformers.utils.logging import disable_progress_bar

from shortlist.engine.base import Engine, EngineInfo, ScoreScale, content_name
from shortlist.engine.device import pick_device
from shortlist.errors import EngineOutOfMemory, EngineUnavailable, ModelRefused
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Operation, Prompt, SparseVector, TextPrompt, Vector

BATCH_ITEMS = 32
"""Texts that the library pads and computes together; larger batches are sorted by length and split."""

SPARSE_HEAD = "sparse_linear.safetensors"
"""The head of `SparseHeadEngine`."""

Compute = Callable[[Sequence[TextPrompt]], list[Any]]
"""Computes one value per prompt."""

disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller reports loading


class SentenceEngine(Engine):
    """Base of both engines: one thread, and conversion of memory errors."""

    def __init__(self, info: EngineInfo) -> None:
        self._info = info
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sentence")
        self._is_closed = False

    @property
    def info(self) -> EngineInfo:
        """The engine's properties."""
        return self._info

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Return one value per prompt. See `Engine`."""
        self._require(operation)
        if self._is_closed:
            raise EngineUnavailable("The engine is closed.")
        call = partial(self._computes[operation], [_text(prompt) for prompt in prompts])
        with contextlib.suppress(torch.OutOfMemoryError, MemoryError):  # raised below, where no frame references the tensors
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        raise EngineOutOfMemory(f"A batch of {len(prompts)} texts did not fit into the device's memory.")

    def close(self) -> None:
        """Stop the thread after its running batch."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    @abstractmethod
    def _computes(self) -> Mapping[Operation, Compute]:
        """The function of every supported operation; called on the engine's thread."""


class CrossEncoderEngine(SentenceEngine):
    """Scores pairs; the raw score is the model's logit, without the activation in its files.

    Args:
        path: The model's folder.
        device: cpu, cuda, cuda:N, or auto.
        max_model_len: Longest pair in tokens; the model's own limit applies if it is lower.
        digest: Digest of the model's files; see `content_name`.

    Raises:
        BadSetting: the device is not on this machine.
        ModelRefused: the model has more than one label.
    """

    def __init__(self, path: Path, *, device: str, max_model_len: int, digest: str | None = None) -> None:
        place = str(pick_device(device))
        with _loading(path):
            self._model = CrossEncoder(str(path), device=place, local_files_only=True)
        if self._model.num_labels != 1:
            raise ModelRefused(f"{path.name} has {self._model.num_labels} labels; a reranker has one.")
        own_limit = self._model.max_seq_length
        self._model.max_seq_length = _limit(own_limit, max_model_len)
        super().__init__(
            EngineInfo(
                fingerprint=f"cross-encoder:{content_name(digest)}",
                operations=frozenset({RERANK}),
                max_model_len=self._model.max_seq_length,
                model_limit=own_limit,
                device=str(self._model.device),
                dtype=_dtype(self._model),
            )
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {RERANK: self._score}

    def _score(self, prompts: Sequence[TextPrompt]) -> list[float]:
        pairs = [(prompt.prefix.text, prompt.text) for prompt in prompts]
        logits = self._model.predict(
            pairs, batch_size=BATCH_ITEMS, activation_fn=torch.nn.Identity(), show_progress_bar=False, convert_to_numpy=True
        )
        return [float(logit) for logit in logits]


class BiEncoderEngine(SentenceEngine):
    """Embeds texts; scores a pair by the cosine of its two vectors.

    Args:
        path: The model's folder.
        device: cpu, cuda, cuda:N, or auto.
        max_model_len: Longest text in tokens; the model's own limit applies if it is lower.
        digest: Digest of the model's files; see `content_name`.

    Raises:
        BadSetting: the device is not on this machine.
    """

    def __init__(self, path: Path, *, device: str, max_model_len: int, digest: str | None = None) -> None:
        place = str(pick_device(device))
        with _loading(path):
            self._model = SentenceTransformer(str(path), device=place, local_files_only=True)
        own_limit = self._model.max_seq_length
        self._model.max_seq_length = _limit(own_limit, max_model_len)
        super().__init__(
            EngineInfo(
                fingerprint=f"bi-encoder:{content_name(digest)}",
                operations=frozenset({RERANK, EMBED}),
                max_model_len=self._model.max_seq_length,
                model_limit=own_limit,
                score_scale=ScoreScale.COSINE,
                dimensions=self._model.get_embedding_dimension(),
                device=str(self._model.device),
                dtype=_dtype(self._model),
            )
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {RERANK: self._score, EMBED: self._embed}

    def _score(self, prompts: Sequence[TextPrompt]) -> list[float]:
        queries = list(dict.fromkeys(prompt.prefix.text for prompt in prompts))
        vectors = self._encode([*queries, *(prompt.text for prompt in prompts)])
        of_query = dict(zip(queries, vectors, strict=False))
        documents = vectors[len(queries) :]
        return [float(of_query[prompt.prefix.text] @ vector) for prompt, vector in zip(prompts, documents, strict=True)]

    def _embed(self, prompts: Sequence[TextPrompt]) -> list[Vector]:
        return [
            vector.copy()  # a copy, so that a kept vector does not keep the batch
            for head, group in groupby(prompts, key=lambda prompt: prompt.prefix.text)
            for vector in self._encode([prompt.text for prompt in group], prompt=head)
        ]

    def _encode(self, texts: list[str], *, prompt: str = "") -> Vector:
        vectors = self._model.encode(
            texts,
            prompt=prompt,
            batch_size=BATCH_ITEMS,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(vectors, dtype=np.float32)


class SparseHeadEngine(BiEncoderEngine):
    """A bi-encoder with a second head, as BGE-M3 has it: it gives every token a weight, for sparse vectors.

    The weight of a token id is its largest one in the text; special tokens have none. The head is a linear layer from the token
    vectors to one number, with a ReLU: `weight` [1, hidden size] and `bias` [1] in `SPARSE_HEAD`.

    Args:
        path: The model's folder.
        device: cpu, cuda, cuda:N, or auto.
        max_model_len: Longest text in tokens; the model's own limit applies if it is lower.
        digest: Digest of the model's files; see `content_name`.

    Raises:
        BadSetting: the device is not on this machine.
        ModelRefused: the head cannot be read, or does not fit the model.

    Source: FlagEmbedding 1.3, `inference/embedder/encoder_only/m3.py`: sparse_linear, and its token weights.
    """

    def __init__(self, path: Path, *, device: str, max_model_len: int, digest: str | None = None) -> None:
        super().__init__(path, device=device, max_model_len=max_model_len, digest=digest)
        with _loading(path):
            head = load_file(path / SPARSE_HEAD, device=str(self._model.device))
        transformer: Any = self._model[0]
        hidden = transformer.get_embedding_dimension()
        if {name: tuple(tensor.shape) for name, tensor in head.items()} != {"weight": (1, hidden), "bias": (1,)}:
            raise ModelRefused(f"{path / SPARSE_HEAD} must have weight [1, {hidden}] and bias [1].")
        self._head = {name: tensor.float() for name, tensor in head.items()}
        tokenizer = self._model.tokenizer
        special = (tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        self._special_ids = np.array([each for each in (*special, tokenizer.unk_token_id) if each is not None])
        self._info = replace(self._info, operations=self._info.operations | {EMBED_SPARSE})

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {**super()._computes, EMBED_SPARSE: self._embed_sparse}

    def _embed_sparse(self, prompts: Sequence[TextPrompt]) -> list[SparseVector]:
        vectors: list[SparseVector] = []
        for prefix, group in groupby(prompts, key=lambda prompt: prompt.prefix.text):
            texts = [prompt.text for prompt in group]
            outputs: Any = self._model.encode(
                texts, prompt=prefix, batch_size=BATCH_ITEMS, show_progress_bar=False, output_value=None
            )
            vectors += map(self._token_weights, outputs)
        return vectors

    def _token_weights(self, outputs: Mapping[str, torch.Tensor]) -> SparseVector:
        """Return the largest weight of every token id of one text.

        Shapes:
            outputs: input_ids and attention_mask [tokens], token_embeddings [tokens, hidden size].
        """
        logits = torch.nn.functional.linear(outputs["token_embeddings"].float(), self._head["weight"], self._head["bias"])
        weights = torch.relu(logits).squeeze(-1).cpu().numpy()
        num_tokens = int(outputs["attention_mask"].sum())
        ids, positions = np.unique(outputs["input_ids"].cpu().numpy()[:num_tokens], return_inverse=True)
        largest = np.zeros(len(ids), np.float32)
        np.maximum.at(largest, positions, weights[:num_tokens])
        kept = (largest > 0) & ~np.isin(ids, self._special_ids)
        return SparseVector(ids[kept].astype(np.int32), largest[kept])


class SparseEncoderEngine(SentenceEngine):
    """Embeds texts as sparse vectors over the vocabulary (SPLADE and similar models).

    Args:
        path: The model's folder.
        device: cpu, cuda, cuda:N, or auto.
        max_model_len: Longest text in tokens; the model's own limit applies if it is lower.
        digest: Digest of the model's files; see `content_name`.

    Raises:
        BadSetting: the device is not on this machine.
    """

    def __init__(self, path: Path, *, device: str, max_model_len: int, digest: str | None = None) -> None:
        place = str(pick_device(device))
        with _loading(path):
            self._model = SparseEncoder(str(path), device=place, local_files_only=True)
        own_limit = self._model.max_seq_length
        self._model.max_seq_length = _limit(own_limit, max_model_len)
        super().__init__(
            EngineInfo(
                fingerprint=f"sparse-encoder:{content_name(digest)}",
                operations=frozenset({EMBED_SPARSE}),
                max_model_len=self._model.max_seq_length,
                model_limit=own_limit,
                device=str(self._model.device),
                dtype=_dtype(self._model),
            )
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {EMBED_SPARSE: self._embed}

    def _embed(self, prompts: Sequence[TextPrompt]) -> list[SparseVector]:
        return [
            _sparse(tensor)
            for prefix, group in groupby(prompts, key=lambda prompt: prompt.prefix.text)
            for tensor in self._model.encode(
                [prompt.text for prompt in group],
                prompt=prefix,
                batch_size=BATCH_ITEMS,
                show_progress_bar=False,
                convert_to_tensor=False,
                save_to_cpu=True,
            )
        ]


def _sparse(tensor: torch.Tensor) -> SparseVector:
    """Return the positive components of a sparse tensor, by ascending index."""
    tensor = tensor.coalesce()
    indices, values = tensor.indices()[0].numpy(), tensor.values().float().numpy()
    kept = values != 0
    return SparseVector(indices[kept].astype(np.int32), values[kept].astype(np.float32))


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Convert the library's errors about broken files into `ModelRefused`."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelRefused(f"{path} cannot be loaded ({type(error).__name__}): {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason was given")


def _text(prompt: object) -> TextPrompt:
    assert isinstance(prompt, TextPrompt), "This engine is paired with a text encoder. This is a bug."
    return prompt


def _limit(of_model: int | None, wanted: int) -> int:
    return min(of_model, wanted) if of_model else wanted


def _dtype(model: torch.nn.Module) -> str:
    """Return the dtype of the loaded weights, which is that of their file."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")
