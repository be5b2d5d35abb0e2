"""Pydantic AI's embeddings, by the SDKs of OpenAI, Cohere and Voyage."""

from __future__ import annotations

import cohere
import voyageai
from pydantic_ai import Embedder
from pydantic_ai.embeddings.cohere import CohereEmbeddingModel
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.embeddings.voyageai import VoyageAIEmbeddingModel
from pydantic_ai.providers.cohere import CohereProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.voyageai import VoyageAIProvider
from telling import MODEL, TEXTS, UNKNOWN, Teller

tell = Teller("pydantic-ai-slim", "pydantic-ai-slim")
ours = tell.servers
texts = list(TEXTS)


def openai(url: str = ours.open, key: str = "none", model: str = MODEL) -> Embedder:
    return Embedder(OpenAIEmbeddingModel(model, provider=OpenAIProvider(base_url=f"{url}/v1", api_key=key)))


def cohere_model(url: str = ours.open, model: str = MODEL) -> Embedder:
    client = cohere.AsyncClientV2(api_key="none", base_url=url)
    return Embedder(CohereEmbeddingModel(model, provider=CohereProvider(cohere_client=client)))


def voyage(model: str = MODEL) -> Embedder:
    client = voyageai.AsyncClient(api_key="none", base_url=f"{ours.open}/v1")
    return Embedder(VoyageAIEmbeddingModel(model, provider=VoyageAIProvider(voyageai_client=client)))


def vectors(embedder: Embedder, **settings: object) -> list[list[float]]:
    return embedder.embed_documents_sync(texts, settings=settings).embeddings


tell.vectors("OpenAIEmbeddingModel", lambda: vectors(openai()))
tell.vectors("OpenAIEmbeddingModel, dimensions=64", lambda: vectors(openai(), dimensions=64), dimensions=64)
tell.vectors("OpenAIEmbeddingModel, embed_query", lambda: openai().embed_query_sync(TEXTS[0]).embeddings)
tell.vectors("CohereEmbeddingModel", lambda: vectors(cohere_model()))
tell.vectors("CohereEmbeddingModel, dimensions=64", lambda: vectors(cohere_model(), dimensions=64), dimensions=64)
tell.vectors("VoyageAIEmbeddingModel", lambda: vectors(voyage()))
tell.vectors("OpenAIEmbeddingModel, with a key", lambda: vectors(openai(ours.locked, ours.key)))
tell.refused("unknown model", lambda: vectors(openai(model=UNKNOWN)), "ModelHTTPError", "404")
tell.refused("unknown model, Cohere", lambda: vectors(cohere_model(model=UNKNOWN)), "ModelHTTPError", "404")
tell.refused("unknown model, Voyage", lambda: vectors(voyage(UNKNOWN)), "ModelAPIError")
tell.refused("wrong key", lambda: vectors(openai(ours.locked, "wrong")), "ModelHTTPError", "401")
