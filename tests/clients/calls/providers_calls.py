"""SDKs of providers whose servers have OpenAI's or TEI's API: Mistral, Together, Baseten."""

from __future__ import annotations

from baseten_performance_client import PerformanceClient, RequestProcessingPreference
from mistralai import Mistral
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_position, signs
from together import Together

tell_mistral = Teller("mistralai", "mistralai")
tell_together = Teller("together", "together")
tell_baseten = Teller("baseten_performance_client", "baseten-performance-client")
ours = tell_mistral.servers
documents, texts = list(DOCUMENTS), list(TEXTS)


def by_mistral(url: str = ours.open, key: str = "none", *, model: str = MODEL, **how: object) -> list[list[float]]:
    with Mistral(api_key=key, server_url=url) as client:
        answer = client.embeddings.create(model=model, inputs=texts, **how)
    return [each.embedding for each in answer.data]


def models_of_mistral() -> object:
    with Mistral(api_key="none", server_url=ours.open) as client:
        return client.models.list()


tell_mistral.vectors("embeddings.create", by_mistral)
tell_mistral.vectors("embeddings.create, server_url ends in /v1", lambda: by_mistral(f"{ours.open}/v1"))
tell_mistral.vectors("embeddings.create, output_dimension=64", lambda: by_mistral(output_dimension=64), dimensions=64)
tell_mistral.value(
    "embeddings.create, output_dtype=ubinary, the packed signs",
    lambda: by_mistral(output_dtype="ubinary") == [signs(vector) for vector in by_mistral()],
    True,
)
tell_mistral.value(
    "embeddings.create, output_dtype=binary, the packed signs",
    lambda: by_mistral(output_dtype="binary") == [[byte - 128 for byte in signs(vector)] for vector in by_mistral()],
    True,
)
tell_mistral.refused(
    "embeddings.create, output_dtype=int8", lambda: by_mistral(output_dtype="int8"), "SDKError", "output_dtype"
)
tell_mistral.refused("models.list, which its SDK cannot parse", models_of_mistral, "ResponseValidationError")
tell_mistral.vectors("embeddings.create, with a key", lambda: by_mistral(ours.locked, ours.key))
tell_mistral.refused("unknown model", lambda: by_mistral(model=UNKNOWN), "SDKError", "404")
tell_mistral.refused("wrong key", lambda: by_mistral(ours.locked, "wrong"), "SDKError", "401")


def together(url: str = ours.open, key: str = "none") -> Together:
    return Together(base_url=f"{url}/v1", api_key=key, max_retries=0)


def by_together(client: Together, *, model: str = MODEL, **how: object) -> list[Item]:
    answer = client.rerank.create(**{"model": model, "query": QUERY, "documents": documents, **how})
    return by_position((each.index, each.relevance_score) for each in answer.results)


fields = {"documents": [{"body": text, "number": "7"} for text in DOCUMENTS], "rank_fields": ["body"]}
tell_together.ranking("rerank.create", lambda: by_together(together()))
tell_together.ranking("rerank.create, top_n=2", lambda: by_together(together(), top_n=2), of=2)
tell_together.ranking("rerank.create, return_documents=True", lambda: by_together(together(), return_documents=True))
tell_together.ranking("rerank.create, rank_fields", lambda: by_together(together(), **fields))
tell_together.vectors(
    "embeddings.create",
    lambda: [each.embedding for each in together().embeddings.create(model=MODEL, input=texts).data],
)
tell_together.ranking("rerank.create, with a key", lambda: by_together(together(ours.locked, ours.key)))
tell_together.refused("unknown model", lambda: by_together(together(), model=UNKNOWN), "NotFoundError")
tell_together.refused("no documents", lambda: by_together(together(), documents=[]), "BadRequestError")
tell_together.refused("wrong key", lambda: by_together(together(ours.locked, "wrong")), "AuthenticationError")
tell_together.refused("overload", lambda: by_together(together(ours.busy)), "RateLimitError")


def baseten(url: str = ours.open, key: str = "none") -> PerformanceClient:
    return PerformanceClient(base_url=url, api_key=key)


once = RequestProcessingPreference(max_retries=0)


def reranked(client: PerformanceClient, **how: object) -> list[Item]:
    """The order is the server's as long as all documents are in one batch of the client, which has 8 at most."""
    answer = client.rerank(query=QUERY, texts=documents, preference=once, **how)
    return [(each.index, each.score, each.text) for each in answer.data]


def embedded(client: PerformanceClient, model: str = MODEL, **how: object) -> list[list[float]]:
    return [each.embedding for each in client.embed(input=texts, model=model, preference=once, **how).data]


def posted() -> list[Item]:
    body = {"model": MODEL, "query": QUERY, "documents": documents}
    [answer] = baseten().batch_post("/v1/rerank", [body]).data
    return by_position((each["index"], each["relevance_score"]) for each in answer["results"])


tell_baseten.ranking("rerank", lambda: reranked(baseten()))
tell_baseten.ranking("rerank, return_text=True, truncate=True", lambda: reranked(baseten(), return_text=True, truncate=True))
tell_baseten.ranking("batch_post, /v1/rerank", posted)
tell_baseten.vectors("embed", lambda: embedded(baseten()))
tell_baseten.vectors("embed, dimensions=64", lambda: embedded(baseten(), dimensions=64), dimensions=64)
tell_baseten.ranking("rerank, with a key", lambda: reranked(baseten(ours.locked, ours.key)))
tell_baseten.refused("unknown model", lambda: embedded(baseten(), UNKNOWN), "HTTPError", "404")
tell_baseten.refused("wrong key", lambda: reranked(baseten(ours.locked, "wrong")), "HTTPError", "401")
tell_baseten.refused("overload", lambda: reranked(baseten(ours.busy)), "HTTPError", "429")
