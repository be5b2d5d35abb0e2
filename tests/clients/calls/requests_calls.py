"""Plain HTTP calls with requests, in the formats of vLLM and of Text Embeddings Inference."""

from __future__ import annotations

from typing import Any

import requests
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller

tell = Teller("requests", "requests")
ours = tell.servers
documents, texts = list(DOCUMENTS), list(TEXTS)


def post(path: str, body: object, url: str = ours.open, key: str | None = None) -> Any:
    answer = requests.post(f"{url}{path}", json=body, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def ranked(answer: dict) -> list[Item]:
    return [(each["index"], each["relevance_score"], each["document"]["text"]) for each in answer["results"]]


def ranked_by_tei(answer: list) -> list[Item]:
    return [(each["index"], each["score"], each["text"]) for each in answer]


rerank = {"model": MODEL.upper(), "query": QUERY, "documents": documents}
texts_of_tei = {"query": QUERY, "texts": documents, "return_text": True}
for path in ("/rerank", "/v1/rerank", "/v2/rerank", "/v1/rerank/", "//v1/rerank", "/v1/v2/rerank"):
    tell.ranking(f"POST {path}", lambda path=path: ranked(post(path, rerank)))
tell.ranking("POST /v1/rerank, with a key", lambda: ranked(post("/v1/rerank", rerank, ours.locked, ours.key)))
tell.ranking("POST /rerank, texts", lambda: ranked_by_tei(post("/rerank", texts_of_tei)))
tell.scores(
    "POST /score",
    lambda: [each["score"] for each in post("/score", {"model": MODEL, "text_1": QUERY, "text_2": documents})["data"]],
)
tell.vectors("POST /embed", lambda: post("/embed", {"inputs": texts}))
tell.vectors("POST /v1/embeddings", lambda: [each["embedding"] for each in post("/v1/embeddings", {"input": texts})["data"]])
tell.refused("unknown model", lambda: post("/v1/rerank", {**rerank, "model": UNKNOWN}), "HTTPError", "404")
tell.refused("wrong key", lambda: post("/v1/rerank", rerank, ours.locked, "wrong"), "HTTPError", "401")
tell.refused("no documents", lambda: post("/v1/rerank", {**rerank, "documents": []}), "HTTPError", "400")
tell.refused("overload", lambda: post("/v1/rerank", rerank, ours.busy), "HTTPError", "429")
