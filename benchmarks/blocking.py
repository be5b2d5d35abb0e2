"""The design of a first version: one blocking thread per request, and nothing shared between requests.

    python -m benchmarks.blocking MODEL --port PORT [--engine transformers] [--serial]

Every connection has a thread; a request is read, tokenized, computed and answered on it, all of its documents in one forward
pass, while other threads do the same with theirs and all of them compete for the processor. There is no queue, no batch across
requests, no limit and no cache. This is how a model is usually put behind HTTP at first, and what the load benchmark compares
our server with. Kernels use as many threads as they like, as they do in `shortlist serve`.

--engine native has the weights, the kernels, the prompt and the tokenizer of `shortlist serve`, so that nothing differs but the
design. --engine transformers computes as the model card's script does, with the library that one usually begins with: prompts
padded to the longest of them, but only the logits that are needed, because those of every position would fill the memory.

--serial lets one request compute at a time, which is kinder to the processor: still one request a pass, but no competition.
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
from shortlist.hub import resolve
from shortlist.service.rerank import relevance
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.types import Batch, Task, WorkItem

Score = Callable[[str, Sequence[str]], list[float]]
BACKLOG = 1024
"""Connections that may wait to be accepted: refusing them is not what this is about."""


def native(folder: Path, dtype: str, computing: AbstractContextManager[object]) -> Score:
    """Return what scores the documents of one request on the thread that calls it, with our kernels."""
    config = Qwen3Config.read(folder)
    limit = min(ModelSettings().max_model_len, config.max_positions)
    encoder = QwenEncoder(folder / "tokenizer.json", task=Task.RERANK, max_model_len=limit)
    place = pick_device("auto")
    forms = select_kernels(config, pick_dtype(dtype, place), place)
    weights = load_weights(
        folder,
        config,
        task=Task.RERANK,
        dtype=forms.dtype,
        device=place,
        answer_ids=lambda: encoder.answer_ids,
        prepare=forms.prepare,
    )
    runner = forms.runner(config, weights, max_model_len=limit)

    def score(query: str, documents: Sequence[str]) -> list[float]:
        prompts = [each.prompts[0] for each in encoder.encode_pairs(query, documents)]
        items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts))
        with computing:
            found = runner.run(Batch(Task.RERANK, items))
        return [relevance(float(raw), ScoreScale.LOG_ODDS) for raw in found]

    return score


def transformers(folder: Path, dtype: str, computing: AbstractContextManager[object]) -> Score:
    """Return what scores the documents of one request on the thread that calls it, with transformers."""
    tokens = Tokens(folder)
    place = pick_device("auto")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=pick_dtype(dtype, place))
    model.to(place).eval()
    answers = [tokens.id_of(word) for word in (NO, YES)]

    def score(query: str, documents: Sequence[str]) -> list[float]:
        prompts = tokens.prompts(query, documents)
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        with computing, torch.inference_mode():
            logits = model(input_ids=ids.to(place), attention_mask=mask.to(place), logits_to_keep=1).logits[:, -1]
            found: list[float] = torch.softmax(logits[:, answers].float(), dim=1)[:, 1].tolist()
        return found

    return score


ENGINES = {"native": native, "transformers": transformers}


class BlockingServer(ThreadingHTTPServer):
    """A thread per connection."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, score: Score) -> None:
        self.score = score
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection, on its own thread."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or head and body of an answer would wait for each other

    def do_GET(self) -> None:
        self._answer(200 if self.path in {"/health", "/ready"} else 404, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/rerank":
            self._answer(404, {"error": "There is only /v1/rerank."})
            return
        assert isinstance(self.server, BlockingServer), "Only BlockingServer uses this handler. This is a bug."
        scores = self.server.score(asked["query"], asked["documents"])
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        self._answer(200, {"results": [{"index": index, "relevance_score": scores[index]} for index in order]})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until it is ended; the port is taken when the model is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a reranker: a folder, or the id of a model on a hub")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", default="auto", help="what to compute in, as for shortlist serve")
    parser.add_argument("--engine", choices=list(ENGINES), default="native", help="what computes")
    parser.add_argument("--serial", action="store_true", help="compute one request at a time")
    given = parser.parse_args()
    folder = resolve(given.model, declared=Task.RERANK).path
    score = ENGINES[given.engine](folder, given.dtype, threading.Lock() if given.serial else nullcontext())
    with BlockingServer(given.port, score) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
