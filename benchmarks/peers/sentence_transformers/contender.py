"""sentence-transformers' CrossEncoder as a contender. It uses a causal model as a reranker: the last token's log-odds of "yes".

The official prompt is passed as a chat template of the query and document roles. All other settings are defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.peers.prompt import INSTRUCTION, PREFIX, SUFFIX
from benchmarks.peers.protocol import gpu_arguments, serve, versions


def constant(text: str) -> str:
    """Return a template expression of a text; plain text in a template loses its last newline."""
    return "{{ " + repr(text) + " }}"


def role(name: str) -> str:
    """Return a template expression of the content of a role's message."""
    return "{{ messages | selectattr('role', 'eq', '" + name + "') | map(attribute='content') | first }}"


TEMPLATE = (
    constant(f"{PREFIX}<Instruct>: {INSTRUCTION}\n<Query>: ")
    + role("query")
    + constant("\n<Document>: ")
    + role("document")
    + constant(SUFFIX)
)


class SentenceTransformers:
    """A loaded CrossEncoder."""

    name = "sentence-transformers"
    dtype = "bfloat16"
    at_once = 1

    def __init__(self, folder: Path, threads: int, device: str, max_length: int) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(threads)
        self.version = versions("sentence-transformers", "transformers", "torch")
        self._encoder: Any = CrossEncoder(
            str(folder),
            device=device,
            max_length=max_length,
            model_kwargs={"dtype": self.dtype},
            processor_kwargs={"chat_template": TEMPLATE},
            local_files_only=True,
        )
        # Set explicitly, because the model's configuration may select another activation.
        self._activation: Any = torch.nn.Sigmoid()

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        pairs = [(query, document) for document in documents]
        scores: list[float] = self._encoder.predict(pairs, activation_fn=self._activation).tolist()
        return scores


def main() -> int:
    """Run as a contender."""
    options = gpu_arguments(__doc__).parse_args()
    arguments = options.model, options.threads, options.device, options.max_model_len
    return serve(lambda: nullcontext(SentenceTransformers(*arguments)))


if __name__ == "__main__":
    sys.exit(main())
