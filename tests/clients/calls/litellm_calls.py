"""LiteLLM: eight providers of rerankers and four of embeddings, each with its own way of making a URL out of `api_base`."""

from __future__ import annotations

import litellm
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller

tell = Teller("litellm", "litellm")
ours = tell.servers
litellm.suppress_debug_info = True

BASES = {
    "hosted_vllm": "/v1",
    "cohere": "",
    "jina_ai": "",
    "huggingface": "",
    "voyage": "/compat/voyage",
    "infinity": "/compat/infinity",
    "dashscope": "/compatible-api/v1",
    "nvidia_nim": "",
}
"""Paths after the server's address. The two at `/compat` send the same requests as other clients, and expect another answer."""


def rerank(
    provider: str, url: str = ours.open, *, model: str = MODEL, key: str = "none", **how: object
) -> litellm.RerankResponse:
    return litellm.rerank(
        model=f"{provider}/{model}",
        query=QUERY,
        documents=list(DOCUMENTS),
        api_base=f"{url}{BASES[provider]}",
        api_key=key,
        max_retries=0,
        **how,
    )


def ranked(answer: litellm.RerankResponse) -> list[Item]:
    return [(each["index"], each["relevance_score"], (each.get("document") or {}).get("text")) for each in answer.results]


for provider in BASES:
    kind = tell.logits if provider == "nvidia_nim" else tell.ranking
    kind(f"rerank, {provider}", lambda provider=provider: ranked(rerank(provider)))
    kind(f"rerank, {provider}, top_n=2", lambda provider=provider: ranked(rerank(provider, top_n=2)), of=2)
tell.ranking("rerank, hosted_vllm, with a key", lambda: ranked(rerank("hosted_vllm", ours.locked, key=ours.key)))

plain = {"input": list(TEXTS), "api_key": "none"}
embed = {**plain, "encoding_format": "float"}


def vectors(answer: litellm.EmbeddingResponse) -> list[list[float]]:
    return [each["embedding"] for each in answer.data]


tell.vectors("embedding, openai", lambda: vectors(litellm.embedding(f"openai/{MODEL}", api_base=f"{ours.open}/v1", **embed)))
tell.vectors(
    "embedding, hosted_vllm", lambda: vectors(litellm.embedding(f"hosted_vllm/{MODEL}", api_base=f"{ours.open}/v1", **embed))
)
tell.vectors(
    "embedding, cohere",
    lambda: vectors(
        litellm.embedding(f"cohere/{MODEL}", api_base=f"{ours.open}/v2/embed", input_type="search_document", **plain)
    ),
)
tell.vectors(
    "embedding, huggingface, input_type=feature-extraction",
    lambda: vectors(litellm.embedding(f"huggingface/{MODEL}", api_base=ours.open, input_type="feature-extraction", **plain)),
)
tell.refused("unknown model", lambda: rerank("cohere", model=UNKNOWN), "NotFoundError")
tell.refused(
    "unknown model, embedding",
    lambda: litellm.embedding(f"openai/{UNKNOWN}", api_base=f"{ours.open}/v1", **embed),
    "NotFoundError",
)
tell.refused("wrong key", lambda: rerank("cohere", ours.locked, key="wrong"), "AuthenticationError")
tell.refused(
    "no query",
    lambda: litellm.rerank(f"cohere/{MODEL}", "", list(DOCUMENTS), api_base=ours.open, api_key="none"),
    "BadRequestError",
)
tell.refused("overload", lambda: rerank("cohere", ours.busy), "RateLimitError")
