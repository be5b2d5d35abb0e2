"""The rerankers package: one client for the APIs of seven providers, each at its own full URL. It ignores errors."""

from __future__ import annotations

from rerankers import Reranker
from telling import DOCUMENTS, MODEL, QUERY, Item, Teller

tell = Teller("rerankers", "rerankers")
ours = tell.servers

PATHS = {
    "cohere": "/v1/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
    "mixedbread.ai": "/v1/reranking",
    "isaacus": "/v1/rerankings",
    "pinecone": "/rerank",
    "text-embeddings-inference": "/rerank",
}


def ranked(provider: str, url: str, key: str = "none") -> list[Item]:
    how = {"api_provider": provider, "api_key": key, "url": f"{url}{PATHS[provider]}", "verbose": 0}
    ranker = Reranker(MODEL, model_type="APIRanker", **how)
    return [(each.document.doc_id, each.score, each.document.text) for each in ranker.rank(QUERY, list(DOCUMENTS)).results]


for provider in PATHS:
    tell.ranking(f"rank, {provider}", lambda provider=provider: ranked(provider, ours.open))
    tell.ranking(f"rank, {provider}, with a key", lambda provider=provider: ranked(provider, ours.locked, ours.key))
tell.refused("wrong key", lambda: ranked("cohere", ours.locked, "wrong"), "KeyError", "results")
