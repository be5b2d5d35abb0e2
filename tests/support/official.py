"""The official procedures for Qwen3-Reranker and Qwen3-Embedding, as their model cards give them for transformers.

Written here in their own few lines, in fp32, sharing nothing with the package but the model's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from shortlist.types import Vector

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
MAX_LENGTH = 8192


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What decides a score besides query and document.

    Attributes:
        max_length: Tokens that the model reads; the body is cut to what the frame leaves.
        max_document: Tokens of the document that are read. The card knows no such limit: the body is cut there.
        is_spelled_safely: Whether special tokens in the texts are escaped. The card does not.
    """

    instruction: str = INSTRUCTION
    max_length: int = MAX_LENGTH
    max_document: int | None = None
    is_spelled_safely: bool = False


DEFAULT = Asked()


class Official:
    """What the model card's script says of a reranker's folder, or of one converted to a classifier."""

    def __init__(self, folder: Path, *, is_classifier: bool = False) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._bare = without_added_tokens(folder)
        self._is_classifier = is_classifier
        kind: Any = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
        self.model: Any = kind.from_pretrained(folder, dtype=torch.float32).eval()

    def probabilities(self, query: str, documents: Sequence[str], asked: Asked = DEFAULT) -> list[float]:
        """Return P(yes) of every document."""
        return [float(chance) for chance in self._log_chances(query, documents, asked)[:, 1].exp()]

    def log_odds(self, query: str, documents: Sequence[str], asked: Asked = DEFAULT) -> list[float]:
        """Return logit(yes) - logit(no) of every document."""
        chances = self._log_chances(query, documents, asked)
        return [float(odds) for odds in chances[:, 1] - chances[:, 0]]

    def ids(self, query: str, documents: Sequence[str], asked: Asked = DEFAULT) -> list[list[int]]:
        """Return the ids of every prompt."""
        before, after = (self.tokenizer.encode(text, add_special_tokens=False) for text in (PREFIX, SUFFIX))
        tokenizer = self._bare if asked.is_spelled_safely else self.tokenizer
        start = f"<Instruct>: {asked.instruction}\n<Query>: {query}\n<Document>:"
        bodies = tokenizer(
            [f"{start} {document}" for document in documents],
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=asked.max_length - len(before) - len(after),
        )["input_ids"]
        if asked.max_document is not None:
            most = len(tokenizer.encode(start, add_special_tokens=False)) + asked.max_document
            bodies = [body[:most] for body in bodies]
        return [before + body + after for body in bodies]

    @torch.inference_mode()
    def _log_chances(self, query: str, documents: Sequence[str], asked: Asked) -> Tensor:
        ids = self.ids(query, documents, asked)
        if self._is_classifier:
            # The converted checkpoint's one output is the log-odds; one prompt at a time, so that nothing is padded.
            odds = torch.cat([self.model(torch.tensor([each])).logits[:, 0] for each in ids])
            return torch.nn.functional.logsigmoid(torch.stack([-odds, odds], dim=1))
        padded = self.tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
        logits = self.model(**padded, logits_to_keep=1).logits[:, -1]
        yes, no = (self.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        return torch.log_softmax(torch.stack([logits[:, no], logits[:, yes]], dim=1), dim=1)


class OfficialEmbedder:
    """What the model card's script says of an embedder's folder."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._bare = without_added_tokens(folder)
        self.model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def queries(self, texts: Sequence[str], asked: Asked = DEFAULT) -> Vector:
        """Return one unit vector per query."""
        return self.documents([f"Instruct: {asked.instruction}\nQuery:{text}" for text in texts], asked)

    @torch.inference_mode()
    def documents(self, texts: Sequence[str], asked: Asked = DEFAULT) -> Vector:
        """Return one unit vector per document."""
        padded = self.tokenizer.pad({"input_ids": self.ids(texts, asked)}, padding=True, return_tensors="pt")
        states = self.model(**padded).last_hidden_state[:, -1]
        return np.asarray(torch.nn.functional.normalize(states, p=2, dim=1).numpy(), dtype=np.float32)

    def ids(self, texts: Sequence[str], asked: Asked = DEFAULT) -> list[list[int]]:
        """Return the ids of every text; the tokenizer's own file has <|endoftext|> appended."""
        if not asked.is_spelled_safely:
            ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=asked.max_length)["input_ids"]
            return ids
        bodies = self._bare(list(texts), truncation=True, max_length=asked.max_length - 1)["input_ids"]
        return [[*body, self.tokenizer.convert_tokens_to_ids("<|endoftext|>")] for body in bodies]


def without_added_tokens(folder: Path) -> Any:
    """Return the folder's tokenizer without its added tokens: whatever looks like one is characters."""
    full = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare = Tokenizer(full.model)
    bare.normalizer, bare.pre_tokenizer, bare.decoder = full.normalizer, full.pre_tokenizer, full.decoder
    return PreTrainedTokenizerFast(tokenizer_object=bare)  # type: ignore[no-untyped-call]
