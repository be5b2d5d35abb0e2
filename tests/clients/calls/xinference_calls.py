"""Xinference's client. Every error is a RuntimeError with the server's message."""

from __future__ import annotations

from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller
from xinference_client import RESTfulClient
from xinference_client.client.restful.restful_client import RESTfulEmbeddingModelHandle, RESTfulRerankModelHandle

tell = Teller("xinference-client", "xinference-client")
ours = tell.servers
documents, texts = list(DOCUMENTS), list(TEXTS)


def reranker(url: str = ours.open, key: str | None = None, model: str = MODEL) -> RESTfulRerankModelHandle:
    return RESTfulClient(url, api_key=key).get_model(model)


def embedder() -> RESTfulEmbeddingModelHandle:
    """Return a handle of a model with both tasks, created by name because `get_model` checks only the first task."""
    return RESTfulEmbeddingModelHandle(MODEL, ours.open, auth_headers={})


def ranked(answer: dict) -> list[Item]:
    return [(each["index"], each["relevance_score"], (each.get("document") or {}).get("text")) for each in answer["results"]]


def vectors(answer: dict) -> list[list[float]]:
    return [each["embedding"] for each in answer["data"]]


tell.ranking("get_model, rerank", lambda: ranked(reranker().rerank(documents, QUERY)))
tell.ranking("rerank, return_documents=True", lambda: ranked(reranker().rerank(documents, QUERY, return_documents=True)))
tell.ranking("rerank, top_n=2", lambda: ranked(reranker().rerank(documents, QUERY, top_n=2, return_len=True)), of=2)
tell.vectors("create_embedding", lambda: vectors(embedder().create_embedding(texts)))

tell.ranking("rerank, with a key", lambda: ranked(reranker(ours.locked, ours.key).rerank(documents, QUERY)))
tell.refused("unknown model", lambda: reranker(model=UNKNOWN), "RuntimeError")
tell.refused("no documents", lambda: reranker().rerank([], QUERY), "RuntimeError", "documents")
tell.refused("wrong key", lambda: reranker(ours.locked, "wrong"), "RuntimeError", "key")
tell.refused("overload", lambda: reranker(ours.busy).rerank(documents, QUERY), "RuntimeError", "busy")
