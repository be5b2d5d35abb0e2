"""Infinity's generated client."""

from __future__ import annotations

from infinity_client import AuthenticatedClient, Client
from infinity_client.api.default import embeddings, health, models, rerank
from infinity_client.models import OpenAIEmbeddingInputText, RerankInput, ReRankResult
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller

tell = Teller("infinity-client", "infinity-client")
ours = tell.servers
client = Client(base_url=ours.open, raise_on_unexpected_status=True)


def body(**how: object) -> RerankInput:
    return RerankInput(**{"query": QUERY, "documents": list(DOCUMENTS), "model": MODEL, **how})


def ranked(answer: ReRankResult) -> list[Item]:
    return [(each.index, each.relevance_score, each.document or None) for each in answer.results]


def vectors(answer: object) -> list[list[float]]:
    return [each.embedding for each in answer.data]


tell.ranking("rerank", lambda: ranked(rerank.sync(client=client, body=body())))
tell.ranking("rerank, return_documents=True", lambda: ranked(rerank.sync(client=client, body=body(return_documents=True))))
tell.ranking("rerank, top_n=2", lambda: ranked(rerank.sync(client=client, body=body(top_n=2))), of=2)
tell.logits("rerank, raw_scores=True", lambda: ranked(rerank.sync(client=client, body=body(raw_scores=True))))
tell.vectors(
    "embeddings",
    lambda: vectors(embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=list(TEXTS), model=MODEL))),
)
tell.value("models", lambda: [each.id for each in models.sync(client=client).data], [MODEL])
tell.value("health", lambda: health.sync(client=client)["unix"] > 0, True)

locked = AuthenticatedClient(base_url=ours.locked, token=ours.key, raise_on_unexpected_status=True)
tell.ranking("rerank, with a key", lambda: ranked(rerank.sync(client=locked, body=body())))
tell.refused("unknown model", lambda: rerank.sync(client=client, body=body(model=UNKNOWN)), "UnexpectedStatus", "404")
tell.refused("no documents", lambda: rerank.sync(client=client, body=body(documents=[])), "UnexpectedStatus", "400")
stranger = AuthenticatedClient(base_url=ours.locked, token="wrong", raise_on_unexpected_status=True)
tell.refused("wrong key", lambda: rerank.sync(client=stranger, body=body()), "UnexpectedStatus", "401")
busy = Client(base_url=ours.busy, raise_on_unexpected_status=True)
tell.refused("overload", lambda: rerank.sync(client=busy, body=body()), "UnexpectedStatus", "429")
