"""Chroma's embedding functions: OpenAI's, Ollama's, and the one for TEI, called by themselves and by a collection."""

from __future__ import annotations

import chromadb
from chromadb.utils.embedding_functions import (
    HuggingFaceEmbeddingServer,
    OllamaEmbeddingFunction,
    OpenAIEmbeddingFunction,
)
from telling import DOCUMENTS, MODEL, QUERY, RIGHT, TEXTS, UNKNOWN, Teller

tell = Teller("chromadb", "chromadb")
ours = tell.servers
texts = list(TEXTS)
NAME_WITH_DIMENSIONS = "text-embedding-3-small"
"""The function sends `dimensions` only if the model's name contains `text-embedding-3`; the server has it as an alias."""


def openai(url: str = ours.open, key: str = "none", model: str = MODEL, **how: object) -> OpenAIEmbeddingFunction:
    return OpenAIEmbeddingFunction(api_key=key, api_base=f"{url}/v1", model_name=model, **how)


def first_of_collection() -> int:
    """Return the document that a collection finds for the query."""
    collection = chromadb.EphemeralClient().create_collection("documents", embedding_function=openai())
    collection.add(ids=["0", "1", "2"], documents=list(DOCUMENTS))
    return int(collection.query(query_texts=[QUERY], n_results=1)["ids"][0][0])


tell.vectors("OpenAIEmbeddingFunction", lambda: openai()(texts))
tell.vectors(
    "OpenAIEmbeddingFunction, dimensions=64, an alias",
    lambda: openai(model=NAME_WITH_DIMENSIONS, dimensions=64)(texts),
    dimensions=64,
)
tell.vectors("HuggingFaceEmbeddingServer, at /embed", lambda: HuggingFaceEmbeddingServer(url=f"{ours.open}/embed")(texts))
tell.vectors("HuggingFaceEmbeddingServer, host alone", lambda: HuggingFaceEmbeddingServer(url=ours.open)(texts))
tell.vectors("OllamaEmbeddingFunction", lambda: OllamaEmbeddingFunction(ours.open, MODEL)(texts))
tell.vectors(
    "OllamaEmbeddingFunction, at /api/embeddings", lambda: OllamaEmbeddingFunction(f"{ours.open}/api/embeddings", MODEL)(texts)
)
tell.value("Collection.query, the right document", first_of_collection, RIGHT)

tell.vectors("OpenAIEmbeddingFunction, with a key", lambda: openai(ours.locked, ours.key)(texts))
tell.vectors(
    "HuggingFaceEmbeddingServer, with a key", lambda: HuggingFaceEmbeddingServer(url=ours.locked, api_key=ours.key)(texts)
)
tell.refused("unknown model", lambda: openai(model=UNKNOWN)(texts), "NotFoundError")
tell.refused("unknown model, Ollama", lambda: OllamaEmbeddingFunction(ours.open, UNKNOWN)(texts), "ResponseError", "404")
tell.refused("wrong key", lambda: openai(ours.locked, "wrong")(texts), "AuthenticationError")
