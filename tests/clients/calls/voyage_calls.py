"""Voyage's SDK, of any version that has `base_url`."""

from __future__ import annotations

import voyageai
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, signs

tell = Teller("voyageai", "voyageai")
ours = tell.servers
client = voyageai.Client(api_key="none", base_url=f"{ours.open}/v1")
documents, texts = list(DOCUMENTS), list(TEXTS)


def ranked(answer: voyageai.object.RerankingObject) -> list[Item]:
    """The client takes texts from its own request, by index."""
    return [(result.index, result.relevance_score, result.document) for result in answer.results]


def embedded(dtype: str, by: voyageai.Client = client) -> list[list[float]]:
    return [list(vector) for vector in by.embed(texts, model=MODEL, output_dtype=dtype).embeddings]


tell.ranking("rerank", lambda: ranked(client.rerank(QUERY, documents, model=MODEL)))
tell.ranking("rerank, top_k=2", lambda: ranked(client.rerank(QUERY, documents, model=MODEL, top_k=2)), of=2)
tell.value("rerank, total_tokens", lambda: client.rerank(QUERY, documents, model=MODEL).total_tokens > 0, True)
tell.vectors("embed", lambda: client.embed(texts, model=MODEL).embeddings)
tell.vectors("embed, input_type=document", lambda: client.embed(texts, model=MODEL, input_type="document").embeddings)
tell.vectors(
    "embed, output_dimension=64", lambda: client.embed(texts, model=MODEL, output_dimension=64).embeddings, dimensions=64
)
tell.value(
    "embed, output_dtype=ubinary, the packed signs",
    lambda: embedded("ubinary") == [signs(vector) for vector in embedded("float")],
    True,
)
tell.value(
    "embed, output_dtype=binary, the packed signs",
    lambda: embedded("binary") == [[byte - 128 for byte in signs(vector)] for vector in embedded("float")],
    True,
)
# Only the body identifies a Voyage request, and version 0.3 fails on error bodies with an `error` object.
is_old = voyageai.__version__.startswith("0.3.")
tell.refused("embed, output_dtype=int8", lambda: embedded("int8"), "AttributeError" if is_old else "InvalidRequestError")
at_voyage = voyageai.Client(api_key="none", base_url=f"{ours.open}/compat/voyage/v1")
tell.refused(
    "embed, output_dtype=int8, at /compat/voyage", lambda: embedded("int8", at_voyage), "InvalidRequestError", "output_dtype"
)

locked = voyageai.Client(api_key=ours.key, base_url=f"{ours.locked}/v1")
tell.ranking("rerank, with a key", lambda: ranked(locked.rerank(QUERY, documents, model=MODEL)))
tell.refused("unknown model", lambda: client.rerank(QUERY, documents, model=UNKNOWN), "APIError")
tell.refused("no documents", lambda: client.rerank(QUERY, [], model=MODEL), "InvalidRequestError", "documents")
tell.refused(
    "truncation=False on a long document",
    lambda: client.rerank(QUERY, ["word " * 20000], model=MODEL, truncation=False),
    "InvalidRequestError",
)
stranger = voyageai.Client(api_key="wrong", base_url=f"{ours.locked}/v1")
tell.refused(
    "wrong key", lambda: stranger.rerank(QUERY, documents, model=MODEL), "AttributeError" if is_old else "AuthenticationError"
)
named = voyageai.Client(api_key="wrong", base_url=f"{ours.locked}/compat/voyage/v1")
tell.refused("wrong key, at /compat/voyage", lambda: named.rerank(QUERY, documents, model=MODEL), "AuthenticationError")
busy = voyageai.Client(api_key="none", base_url=f"{ours.busy}/v1", max_retries=1)
tell.refused("overload", lambda: busy.rerank(QUERY, documents, model=MODEL), "RateLimitError")
