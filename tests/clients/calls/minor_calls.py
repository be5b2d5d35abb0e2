"""SDKs of services with their own API and few users: Mixedbread, Isaacus, Pinecone."""

from __future__ import annotations

from isaacus import Isaacus
from mixedbread import Mixedbread
from pinecone import Pinecone
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_position

tell_mixedbread = Teller("mixedbread", "mixedbread")
tell_isaacus = Teller("isaacus", "isaacus")
tell_pinecone = Teller("pinecone", "pinecone")
ours = tell_mixedbread.servers
documents, texts = list(DOCUMENTS), list(TEXTS)


def by_mixedbread(url: str = ours.open, key: str = "none", *, model: str = MODEL, **how: object) -> list[Item]:
    answer = Mixedbread(base_url=url, api_key=key, max_retries=0).rerank(model=model, query=QUERY, input=documents, **how)
    return [(each.index, each.score, each.input) for each in answer.data]


def by_isaacus(url: str = ours.open, key: str = "none", *, model: str = MODEL, **how: object) -> list[Item]:
    client = Isaacus(base_url=f"{url}/v1", api_key=key, max_retries=0)
    answer = client.rerankings.create(model=model, query=QUERY, texts=documents, **how)
    return by_position((each.index, each.score) for each in answer.results)


def by_pinecone(url: str = ours.open, key: str = "none", *, model: str = MODEL, **how: object) -> list[Item]:
    answer = Pinecone(api_key=key, host=url).inference.rerank(model=model, query=QUERY, documents=documents, **how)
    return [(each.index, each.score, each.document["text"]) for each in answer.data]


tell_mixedbread.ranking("rerank", by_mixedbread)
tell_mixedbread.ranking("rerank, return_input=True, top_k=2", lambda: by_mixedbread(return_input=True, top_k=2), of=2)
tell_mixedbread.ranking("rerank, with a key", lambda: by_mixedbread(ours.locked, ours.key))
tell_mixedbread.vectors(
    "embed",
    lambda: [each.embedding for each in Mixedbread(base_url=ours.open, api_key="none").embed(model=MODEL, input=texts).data],
)
tell_mixedbread.refused("unknown model", lambda: by_mixedbread(model=UNKNOWN), "NotFoundError")
tell_mixedbread.refused("wrong key", lambda: by_mixedbread(ours.locked, "wrong"), "AuthenticationError")
tell_mixedbread.refused("overload", lambda: by_mixedbread(ours.busy), "RateLimitError")

tell_isaacus.ranking("rerankings.create", by_isaacus)
tell_isaacus.ranking("rerankings.create, top_n=2", lambda: by_isaacus(top_n=2), of=2)
tell_isaacus.ranking("rerankings.create, with a key", lambda: by_isaacus(ours.locked, ours.key))
tell_isaacus.refused("unknown model", lambda: by_isaacus(model=UNKNOWN), "NotFoundError")
tell_isaacus.refused("wrong key", lambda: by_isaacus(ours.locked, "wrong"), "AuthenticationError")
tell_isaacus.refused("overload", lambda: by_isaacus(ours.busy), "RateLimitError")

tell_pinecone.ranking("inference.rerank", by_pinecone)
tell_pinecone.ranking("inference.rerank, top_n=2", lambda: by_pinecone(top_n=2), of=2)
tell_pinecone.ranking("inference.rerank, with a key", lambda: by_pinecone(ours.locked, ours.key))
tell_pinecone.refused("unknown model", lambda: by_pinecone(model=UNKNOWN), "NotFoundError")
tell_pinecone.refused("wrong key", lambda: by_pinecone(ours.locked, "wrong"), "UnauthorizedError")
