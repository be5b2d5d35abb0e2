"""The model card's script for transformers as a contender: all documents as one padded batch, logits of every position.

Deviations: the folder, the dtype, the device, the maximum length and the number of threads are options.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.peers.prompt import NO, PREFIX, SUFFIX, YES, body
from benchmarks.peers.protocol import gpu_arguments, serve, versions


class Official:
    """The tokenizer and the model, used as in the model card."""

    name = "official"
    at_once = 1

    def __init__(self, folder: Path, dtype: str, threads: int, device: str, max_length: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self.version = versions("transformers", "torch")
        self.dtype = dtype
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self._model = model.to(device).eval()
        self._max_length = max_length
        self._no, self._yes = (self._tokenizer.convert_tokens_to_ids(word) for word in (NO, YES))
        self._prefix, self._suffix = (self._tokenizer.encode(text, add_special_tokens=False) for text in (PREFIX, SUFFIX))

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        inputs = self._inputs([body(query, document) for document in documents])
        torch = self._torch
        with torch.no_grad():
            last = self._model(**inputs).logits[:, -1, :]
            log_probabilities = torch.nn.functional.log_softmax(
                torch.stack([last[:, self._no], last[:, self._yes]], dim=1), dim=1
            )
            probabilities: list[float] = log_probabilities[:, 1].exp().tolist()
        return probabilities

    def _inputs(self, bodies: list[str]) -> Any:
        inputs = self._tokenizer(
            bodies,
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=self._max_length - len(self._prefix) - len(self._suffix),
        )
        inputs["input_ids"] = [self._prefix + ids + self._suffix for ids in inputs["input_ids"]]
        padded = self._tokenizer.pad(inputs, padding=True, return_tensors="pt", max_length=self._max_length)
        return padded.to(self._model.device)


def main() -> int:
    """Run as a contender."""
    parser = gpu_arguments(__doc__)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options = parser.parse_args()
    arguments = options.model, options.dtype, options.threads, options.device, options.max_model_len
    return serve(lambda: nullcontext(Official(*arguments)))


if __name__ == "__main__":
    sys.exit(main())
