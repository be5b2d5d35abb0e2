"""The official procedure for Qwen3-Reranker, as its model card gives it for transformers, in its own few lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


class Official:
    """What the model card's script says of a folder, in fp32, one padded batch per query."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def probabilities(self, query: str, documents: Sequence[str], instruction: str = INSTRUCTION) -> list[float]:
        """Return P(yes) of every document."""
        bodies = [f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}" for document in documents]
        before, after = (self.tokenizer.encode(text, add_special_tokens=False) for text in (PREFIX, SUFFIX))
        ids = [before + self.tokenizer.encode(body, add_special_tokens=False) + after for body in bodies]
        padded = self.tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
        logits = self.model(**padded).logits[:, -1]
        yes, no = (self.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        chances = torch.log_softmax(torch.stack([logits[:, no], logits[:, yes]], dim=1), dim=1)
        return [float(chance) for chance in chances[:, 1].exp()]
