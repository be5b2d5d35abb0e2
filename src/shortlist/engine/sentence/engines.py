"""Any other cross-encoder or embedding model, through sentence-transformers.

The library tokenizes, pads and pools as the model's files specify, and truncates at the model's limit. It runs on its own
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
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
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Normalize, Router
from transformers.utils.logging import disable_progress_bar

from shortlist.engine.base import Engine, EngineInfo, ScoreScale, content_name
from shortlist.engine.device import pick_device
from shortlist.engine.sentence.loaded_model import (
    TASKS,
    LoadReports,
    Route,
    by_route,
    own_limit,
    prompts_of,
    rules_of,
    set_pad_token,
    similarity,
)
from shortlist.errors import EngineOutOfMemory, EngineUnavailable, ModelRefused
from shortlist.text.model_prompts import Prompts
from shortlist.text.text_rules import TextRules
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, InputType, Operation, Prompt, SparseVector, TextPrompt, Vector

BATCH_ITEMS = 32
"""Texts that the library pads and computes together; larger batches are sorted by length and split."""

SPARSE_HEAD = "sparse_linear.safetensors"
"""The head of `SparseHeadEngine`."""

SCALES = {
    "cosine": ScoreScale.COSINE,
    "dot": ScoreScale.DOT,
    "euclidean": ScoreScale.DISTANCE,
    "manhattan": ScoreScale.DISTANCE,
}
"""The scale of each similarity function of the library."""

Compute = Callable[[Sequence[TextPrompt]], list[Any]]
"""Computes one value per prompt."""

disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller reports loading


class SentenceEngine(Engine):
    """Base of the engines: one thread, and conversion of memory errors.

    Attributes:
        rules: How the model reads texts, as the library found it in the model's folder.
    """

    def __init__(self, info: EngineInfo, rules: TextRules) -> None:
        self._info = info
        self.rules = rules
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
        limit = own_limit(self._model)
        self._model.max_seq_length = _limit(limit, max_model_len)
        self._batch_items = BATCH_ITEMS if set_pad_token(self._model) else 1
        name = self._model.default_prompt_name
        prompts = Prompts() if name is None else Prompts({name: self._model.prompts[name]}, name)
        with _loading(path):
            rules = rules_of(self._model, prompts, reads_pairs=True)
        super().__init__(
            EngineInfo(
                fingerprint=f"cross-encoder:{content_name(digest)}",
                operations=frozenset({RERANK}),
                max_model_len=self._model.max_seq_length,
                model_limit=limit,
                device=str(self._model.device),
                dtype=_dtype(self._model),
            ),
            rules,
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {RERANK: self._score}

    def _score(self, prompts: Sequence[TextPrompt]) -> list[float]:
        logits: list[float] = []
        for prompt, group in groupby(prompts, key=lambda each: each.prefix.prompt):
            found = self._model.predict(
                [(each.prefix.text, each.text) for each in group],
                prompt=prompt,
                batch_size=self._batch_items,
                activation_fn=torch.nn.Identity(),
                show_progress_bar=False,
                convert_to_numpy=True,
            )
            logits += map(float, found)
        return logits


class BiEncoderEngine(SentenceEngine):
    """Embeds texts; scores a pair by the similarity of its two vectors, which is the cosine unless the model says otherwise.

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
        limit = own_limit(self._model)
        self._model.max_seq_length = _limit(limit, max_model_len)
        self._batch_items = BATCH_ITEMS if set_pad_token(self._model) else 1
        # On the left, padding would move the tokens that some poolings pick by their place.
        self._model.tokenizer.padding_side = "right"
        with _loading(path):
            rules = rules_of(self._model, prompts_of(self._model), reads_pairs=False)
        super().__init__(
            EngineInfo(
                fingerprint=f"bi-encoder:{content_name(digest)}",
                operations=frozenset({RERANK, EMBED}),
                max_model_len=self._model.max_seq_length,
                model_limit=limit,
                score_scale=SCALES[self._model.similarity_fn_name],
                dimensions=self._model.get_embedding_dimension(),
                has_unit_vectors=any(isinstance(module, Normalize) for module in self._model),
                device=str(self._model.device),
                dtype=_dtype(self._model),
            ),
            rules,
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {RERANK: self._score, EMBED: self._embed}

    def _score(self, prompts: Sequence[TextPrompt]) -> list[float]:
        prefixes = {(prompt.prefix.prompt, prompt.prefix.text): prompt.prefix for prompt in prompts}
        queries = [TextPrompt(each, each.text, 0, each.prompt, InputType.QUERY) for each in prefixes.values()]
        of_query = dict(zip(prefixes, self._embed(queries), strict=True))
        documents = self._embed([replace(prompt, input_type=InputType.DOCUMENT) for prompt in prompts])
        return [
            similarity(of_query[prompt.prefix.prompt, prompt.prefix.text], vector, self._model.similarity_fn_name)
            for prompt, vector in zip(prompts, documents, strict=True)
        ]

    def _embed(self, prompts: Sequence[TextPrompt]) -> list[Vector]:
        return [
            vector.copy()  # a copy, so that a kept vector does not keep the batch
            for group, texts in by_route(prompts)
            for vector in np.asarray(self._encode(texts, group, convert_to_numpy=True), dtype=np.float32)
        ]

    def _encode(self, texts: list[str], route: Route, **options: Any) -> Any:
        return self._model.encode(
            texts,
            prompt=route.prompt,
            task=TASKS.get(route.input_type, self._default_task),
            batch_size=self._batch_items,
            show_progress_bar=False,
            **options,
        )

    @property
    def _default_task(self) -> str | None:
        """The route of texts of unstated type: the model's default, or else that for documents."""
        routers = [module for module in self._model if isinstance(module, Router)]
        return "document" if any(router.default_route is None for router in routers) else None


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
        return [
            self._token_weights(outputs)
            for route, texts in by_route(prompts)
            for outputs in self._encode(texts, route, output_value=None)
        ]

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
        limit = own_limit(self._model)
        self._model.max_seq_length = _limit(limit, max_model_len)
        with _loading(path):
            rules = rules_of(self._model, prompts_of(self._model), reads_pairs=False)
        super().__init__(
            EngineInfo(
                fingerprint=f"sparse-encoder:{content_name(digest)}",
                operations=frozenset({EMBED_SPARSE}),
                max_model_len=self._model.max_seq_length,
                model_limit=limit,
                device=str(self._model.device),
                dtype=_dtype(self._model),
            ),
            rules,
        )

    @property
    def _computes(self) -> Mapping[Operation, Compute]:
        return {EMBED_SPARSE: self._embed}

    def _embed(self, prompts: Sequence[TextPrompt]) -> list[SparseVector]:
        return [
            _sparse(tensor)
            for route, texts in by_route(prompts)
            for tensor in self._model.encode(
                texts,
                prompt=route.prompt,
                task=TASKS.get(route.input_type),
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
    """Convert the library's errors about broken files into `ModelRefused`, and its warnings about missing weights."""
    reports = LoadReports()
    library = logging.getLogger("transformers")
    library.addHandler(reports)
    try:
        yield
    except ModelRefused:
        raise
    except Exception as error:  # over wrong files, the libraries raise anything
        raise ModelRefused(f"{path} cannot be loaded ({type(error).__name__}): {_first_line(error)}") from error
    finally:
        library.removeHandler(reports)
    if reports.missing:
        more = f" and {len(reports.missing) - 1} more" if len(reports.missing) > 1 else ""
        raise ModelRefused(f"{path} lacks weights, which would be random: {reports.missing[0]}{more}")


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
