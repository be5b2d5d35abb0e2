"""A baseline server for the load benchmark: one blocking thread per connection, without a queue, batching, limits or a cache.

    python -m benchmarks.blocking MODEL --port PORT [--engine transformers] [--serial]

The thread of a connection reads, tokenizes, computes and answers each request. All documents of a request form one forward
pass. The threads compete for the CPU. A model is often first served this way. The kernels use their default number of threads,
as in `shortlist serve`.

--engine native uses the weights, kernels, prompt and tokenizer of `shortlist serve`, so that only the design differs.
--engine transformers computes as the model card's script does: it pads prompts to the longest one. It keeps only the needed
logits, because the logits of every position would fill the memory.

--serial computes one request at a time: still one request per forward pass, but no competition for the CPU.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.peers.prompt import NO, YES, Tokens
from shortlist.config import ModelSettings
from shortlist.engine.base import ScoreScale
from shortlist.engine.device import pick_device, pick_dtype
from shortlist.engine.native.kernel_selection import select_kernels
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import load_weights
from shortlist.models import resolve
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.rerank import relevance
from shortlist.types import RERANK

Score = Callable[[str, Sequence[str]], list[float]]
BACKLOG = 1024
"""Connections that may wait to be accepted; high, because this benchmark does not measure refused connections."""


def native(folder: Path, dtype: str, compute_lock: AbstractContextManager[object]) -> Score:
    """Return a function that scores the documents of one request on the calling thread, with Shortlist's kernels."""
    config = Qwen3Config.read(folder)
    limit = min(ModelSettings().max_model_len, config.max_positions)
    encoder = QwenEncoder(folder / "tokenizer.json", operation=RERANK, max_model_len=limit)
    device = pick_device("auto")
    kernels = select_kernels(config, pick_dtype(dtype, device), device)
    weights = load_weights(
        folder,
        config,
        operation=RERANK,
        dtype=kernels.dtype,
        device=device,
        answer_ids=lambda: encoder.answer_ids,
        prepare=kernels.prepare,
    )
    runner = kernels.runner(config, weights, max_model_len=limit)

    def score(query: str, documents: Sequence[str]) -> list[float]:
        prompts = [each.prompts[0] for each in encoder.encode_pairs(query, documents)]
        with compute_lock:
            scores = runner.run(RERANK, prompts)
        return [relevance(float(raw), ScoreScale.LOG_ODDS) for raw in scores]

    return score


def transformers(folder: Path, dtype: str, compute_lock: AbstractContextManager[object]) -> Score:
    """Return a function that scores the documents of one request on the calling thread, with transformers."""
    tokens = Tokens(folder)
    device = pick_device("auto")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=pick_dtype(dtype, device))
    model.to(device).eval()
    answers = [tokens.id_of(word) for word in (NO, YES)]

    def score(query: str, documents: Sequence[str]) -> list[float]:
        prompts = tokens.prompts(query, documents)
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        with compute_lock, torch.inference_mode():
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=1).logits[:, -1]
            scores: list[float] = torch.softmax(logits[:, answers].float(), dim=1)[:, 1].tolist()
        return scores

    return score


ENGINES = {"native": native, "transformers": transformers}


class BlockingServer(ThreadingHTTPServer):
    """An HTTP server with one thread per connection."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, score: Score) -> None:
        self.score = score
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    """Handles one connection on its own thread."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Nagle's algorithm delays the body of an answer after its headers

    def do_GET(self) -> None:
        self._answer(200 if self.path in {"/health", "/ready"} else 404, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/rerank":
            self._answer(404, {"error": "The only path is /v1/rerank."})
            return
        assert isinstance(self.server, BlockingServer), "Only BlockingServer uses this handler. This is a bug."
        scores = self.server.score(request["query"], request["documents"])
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        self._answer(200, {"results": [{"index": index, "relevance_score": scores[index]} for index in order]})

    def log_message(self, *_: object) -> None:
        """Write no log line."""

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until the process ends; the port opens after the model is loaded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a reranker: a folder, or the id of a model on a hub")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", default="auto", help="dtype of the computation, as for shortlist serve")
    parser.add_argument("--engine", choices=list(ENGINES), default="native", help="engine that computes")
    parser.add_argument("--serial", action="store_true", help="compute one request at a time")
    given = parser.parse_args()
    folder = resolve(given.model, declared=RERANK).path
    score = ENGINES[given.engine](folder, given.dtype, threading.Lock() if given.serial else nullcontext())
    with BlockingServer(given.port, score) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
