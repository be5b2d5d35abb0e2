"""A server that answers as Shortlist does and scores by shared words: enough to drive the page, with no model.

python -m tests.support.standin --port PORT
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from shortlist.ui import mount_page
from tests.support.script import fault

MODEL = "stand-in-reranker"
MAX_CHARS = 400


def build_app() -> FastAPI:
    """Return the stand-in with the page mounted. A query "busy", "slow" or "gone" gets the refusal of that name."""
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> Response:
        rerankers = [{"id": name, "object": "model", "tasks": ["rerank"]} for name in (MODEL, "other-reranker")]
        embedder = {"id": "stand-in-embedder", "object": "model", "tasks": ["embed"]}
        return JSONResponse({"object": "list", "data": [*rerankers, embedder]})

    @app.get("/ready")
    async def ready() -> Response:
        return JSONResponse({})

    @app.post("/v1/rerank")
    async def rerank(request: Request) -> Response:
        body = await request.json()
        return REFUSALS.get(body["query"]) or _ranked(body)

    mount_page(app)
    return app


REFUSALS = {
    "busy": JSONResponse(fault("The queue is full."), 429, {"retry-after": "12"}),
    "slow": JSONResponse(fault("The deadline passed."), 504),
    "gone": JSONResponse(fault("The <b>engine</b> is gone.", kind="server_error"), 503, {"retry-after": "60"}),
}


def _ranked(body: dict[str, Any]) -> Response:
    started_s = time.perf_counter()
    documents = body["documents"]
    scores = [_score(body["query"], text) for text in documents]
    order = sorted((i for i, text in enumerate(documents) if "#fail" not in text), key=lambda i: -scores[i])
    answer = {
        "model": body.get("model") or MODEL,
        "results": [{"index": i, "relevance_score": scores[i]} for i in order[: body.get("top_n")]],
        "usage": {"total_tokens": sum(len(text) // 3 + 40 for text in documents)},
        "truncated_documents": [i for i, text in enumerate(documents) if len(text) > MAX_CHARS],
        "failed_documents": [{"index": i, "message": "It did not fit."} for i, text in enumerate(documents) if "#fail" in text],
    }
    spent_ms = 1000 * (time.perf_counter() - started_s)
    headers = {
        "x-tokenization-time": "0.8",
        "x-queue-time": "0.3",
        "x-inference-time": f"{spent_ms:.1f}",
        "x-total-time": f"{spent_ms + 1.4:.1f}",
    }
    return JSONResponse(answer, headers=headers)


def _score(query: str, text: str) -> float:
    wanted, found = _words(query), _words(text)
    return round(min(0.997, 0.0021 + len(wanted & found) / max(1, len(wanted)) * 1.1), 6)


def _words(text: str) -> set[str]:
    """Return the words of a text; a Chinese character counts as one."""
    words = {word.rstrip("s") for word in re.findall(r"[a-z]{4,}|[0-9]+", text.lower())}
    return words | set(re.findall(r"[\u4e00-\u9fff]", text))


def serve(port: int) -> None:
    """Serve the stand-in on a loopback port until the process is told to end."""
    uvicorn.run(build_app(), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    serve(int(sys.argv[-1]))
