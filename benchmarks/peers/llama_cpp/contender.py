"""llama.cpp as a contender: evaluates every prompt, and compares the logits of "yes" and "no" at its last token.

The prefix that a prompt shares with the previous one of the request is not evaluated again, as in llama.cpp's own loop.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.peers.conversion import converted
from benchmarks.peers.prompt import MAX_LENGTH, NO, YES, Tokens
from benchmarks.peers.protocol import arguments, serve, versions


class LlamaCpp:
    """A loaded model and its one sequence."""

    def __init__(self, folder: Path, weights: str, threads: int) -> None:
        import llama_cpp

        from benchmarks.peers.llama_cpp.convert import convert

        self.at_once = 1
        self.name = f"llama.cpp {weights}"
        self.version = versions("llama-cpp-python")
        self.dtype = "bfloat16" if weights == "bf16" else weights
        self._tokens = Tokens(folder)
        self._yes, self._no = (self._tokens.id_of(word) for word in (YES, NO))
        self._library: Any = llama_cpp
        self._model: Any = llama_cpp.Llama(
            str(converted(folder, f"{weights}.gguf", lambda target: convert(folder, target, weights))),
            n_ctx=MAX_LENGTH,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        scores = []
        previous_ids: list[int] = []
        for ids in self._tokens.prompts(query, documents):
            # The last token is always evaluated, because its logits are the result.
            self._model.n_tokens = min(shared_prefix_length(previous_ids, ids), len(ids) - 1)
            self._model.eval(ids[self._model.n_tokens :])
            logits = self._library.llama_get_logits_ith(self._model.ctx, -1)
            scores.append(1 / (1 + math.exp(logits[self._no] - logits[self._yes])))
            previous_ids = ids
        return scores


def shared_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the shared prefix of two prompts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def main() -> int:
    """Run as a contender."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", choices=["bf16", "q8_0"], default="bf16")
    options = parser.parse_args()
    return serve(lambda: nullcontext(LlamaCpp(options.model, options.weights, options.threads)))


if __name__ == "__main__":
    sys.exit(main())
