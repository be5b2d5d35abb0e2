"""OpenVINO GenAI's rerank pipeline as a contender, on a model converted by optimum-intel, with the official prompt.

The pipeline joins query and document as text. It has no limit of 8192 tokens, so longer texts are not truncated. It keeps the
logits of every position, over a megabyte per token: with little memory, many documents need `--batch`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.peers.conversion import converted
from benchmarks.peers.prompt import INSTRUCTION, PREFIX, SUFFIX
from benchmarks.peers.protocol import arguments, serve, versions

ALL_DOCUMENTS = 10_000
"""Default of the documents per batch. It must be set, because the pipeline returns the best three by default."""

WEIGHTS = {
    "bf16": [],  # as in the checkpoint
    "int8": ["--weight-format", "int8"],
}


class OpenVino:
    """A compiled pipeline."""

    def __init__(self, folder: Path, weights: str, batch: int, threads: int) -> None:
        import openvino_genai

        self.at_once = 1
        self.name = f"openvino {weights}"
        self.version = versions("openvino-genai", "optimum-intel")
        self.dtype = "bfloat16" if weights == "bf16" else weights
        self._batch = batch
        config: Any = openvino_genai.TextRerankPipeline.Config()
        config.top_n = batch
        model = converted(folder, f"openvino-{weights}", lambda target: export(folder, target, weights))
        self._pipeline: Any = openvino_genai.TextRerankPipeline(
            model, "CPU", config, INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY"
        )

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        before = f"{PREFIX}<Instruct>: {INSTRUCTION}\n<Query>: {query}\n"
        after = [f"<Document>: {document}{SUFFIX}" for document in documents]
        ranked = [self._pipeline.rerank(before, after[at : at + self._batch]) for at in range(0, len(after), self._batch)]
        return [score for batch in ranked for _, score in sorted(batch)]


def export(folder: Path, target: Path, weights: str) -> None:
    """Write the model and its tokenizer in OpenVINO's format."""
    program = Path(sys.executable).with_name("optimum-cli")
    task = ["export", "openvino", "--task", "text-generation", *WEIGHTS[weights]]
    subprocess.run([program, *task, "--model", folder, target], stdin=subprocess.DEVNULL, check=True)


def main() -> int:
    """Run as a contender."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", choices=sorted(WEIGHTS), default="bf16")
    parser.add_argument("--batch", type=int, default=ALL_DOCUMENTS, help="documents per batch; default: all documents")
    options = parser.parse_args()
    return serve(lambda: nullcontext(OpenVino(options.model, options.weights, options.batch, options.threads)))


if __name__ == "__main__":
    sys.exit(main())
