"""OpenVINO GenAI's rerank pipeline, on a model that optimum-intel converted once; the official prompt is put around its texts.

The pipeline joins query and document as text. It knows no limit of 8192 tokens here, so longer texts are not cut.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.peers.prompt import INSTRUCTION, PREFIX, SUFFIX
from benchmarks.peers.protocol import arguments, serve, versions

CONVERTED = Path(__file__).parents[2] / ".environments" / "openvino-models"

MOST_DOCUMENTS = 10_000
"""The pipeline answers for the best three if it is not told otherwise."""

WEIGHTS = {
    "bf16": [],  # as the checkpoint has them
    "int8": ["--weight-format", "int8"],
}


class OpenVino:
    """A compiled pipeline."""

    def __init__(self, folder: Path, weights: str, threads: int) -> None:
        import openvino_genai

        self.name = f"openvino {weights}"
        self.version = versions("openvino-genai", "optimum-intel")
        self.dtype = "bfloat16" if weights == "bf16" else weights
        config: Any = openvino_genai.TextRerankPipeline.Config()
        config.top_n = MOST_DOCUMENTS
        self._pipeline: Any = openvino_genai.TextRerankPipeline(
            converted(folder, weights), "CPU", config, INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY"
        )

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        before = f"{PREFIX}<Instruct>: {INSTRUCTION}\n<Query>: {query}\n"
        ranked = self._pipeline.rerank(before, [f"<Document>: {document}{SUFFIX}" for document in documents])
        return [score for _, score in sorted(ranked)]


def converted(folder: Path, weights: str) -> Path:
    """Return the folder of the converted model, which is made the first time and kept."""
    marks = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.resolve().iterdir())]
    target = CONVERTED / f"{folder.name}-{sha256(repr(marks).encode()).hexdigest()[:12]}-{weights}"
    if not target.exists():
        # Made under another name, so that what was interrupted is never taken for a model.
        unfinished = target.with_suffix(".unfinished")
        program = Path(sys.executable).with_name("optimum-cli")
        task = ["export", "openvino", "--task", "text-generation", *WEIGHTS[weights]]
        subprocess.run([program, *task, "--model", folder, unfinished], stdin=subprocess.DEVNULL, check=True)
        unfinished.rename(target)
    return target


def main() -> int:
    """Run as a contender."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", choices=sorted(WEIGHTS), default="bf16")
    options = parser.parse_args()
    return serve(lambda: nullcontext(OpenVino(options.model, options.weights, options.threads)))


if __name__ == "__main__":
    sys.exit(main())
