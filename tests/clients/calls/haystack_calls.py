"""Haystack's rankers and embedders."""

from __future__ import annotations

from haystack import Document
from haystack.components.embedders import OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.cohere import CohereTextEmbedder
from haystack_integrations.components.embedders.huggingface_api import HuggingFaceAPITextEmbedder
from haystack_integrations.components.embedders.jina import JinaTextEmbedder
from haystack_integrations.components.embedders.nvidia import NvidiaTextEmbedder
from haystack_integrations.components.embedders.ollama import OllamaDocumentEmbedder, OllamaTextEmbedder
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.nvidia import NvidiaRanker
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_text

ours = Teller("", "pip").servers
NONE = Secret.from_token("none")
KEY = Secret.from_token(ours.key)
WRONG = Secret.from_token("wrong")


def teller(package: str) -> Teller:
    return Teller(package, package, ours)


def ranked(ranker: object) -> list[Item]:
    found = ranker.run(query=QUERY, documents=[Document(content=text) for text in DOCUMENTS])["documents"]
    return by_text((document.content, document.score) for document in found)


def vector(embedder: object) -> list[list[float]]:
    return [embedder.run(text=TEXTS[0])["embedding"]]


tell = teller("huggingface-api-haystack")


def tei(url: str = ours.open, token: Secret | None = None) -> HuggingFaceTEIRanker:
    return HuggingFaceTEIRanker(url=url, token=token, max_retries=0)


tell.ranking("HuggingFaceTEIRanker", lambda: ranked(tei()))
tell.ranking("HuggingFaceTEIRanker, with a key", lambda: ranked(tei(ours.locked, KEY)))
tell.refused("wrong key", lambda: ranked(tei(ours.locked, WRONG)), "RuntimeError", "401")
tell.refused("overload", lambda: ranked(tei(ours.busy)), "RuntimeError", "429")
tell.vectors(
    "HuggingFaceAPITextEmbedder",
    lambda: vector(HuggingFaceAPITextEmbedder(api_type="text_embeddings_inference", api_params={"url": ours.open}, token=NONE)),
)

tell = teller("cohere-haystack")


def cohere(url: str = ours.open, key: Secret = NONE, model: str = MODEL) -> CohereRanker:
    return CohereRanker(model=model, api_base_url=url, api_key=key)


tell.ranking("CohereRanker", lambda: ranked(cohere()))
tell.ranking("CohereRanker, with a key", lambda: ranked(cohere(ours.locked, KEY)))
tell.refused("unknown model", lambda: ranked(cohere(model=UNKNOWN)), "NotFoundError")
tell.refused("wrong key", lambda: ranked(cohere(ours.locked, WRONG)), "UnauthorizedError")
tell.vectors(
    "CohereTextEmbedder, input_type=search_document",
    lambda: vector(CohereTextEmbedder(model=MODEL, api_base_url=ours.open, api_key=NONE, input_type="search_document")),
)

tell = teller("jina-haystack")


def jina(url: str = ours.open, key: Secret = NONE, model: str = MODEL) -> JinaRanker:
    return JinaRanker(model=model, base_url=f"{url}/v1/rerank", api_key=key)


tell.ranking("JinaRanker", lambda: ranked(jina()))
tell.ranking("JinaRanker, with a key", lambda: ranked(jina(ours.locked, KEY)))
tell.refused("unknown model", lambda: ranked(jina(model=UNKNOWN)), "RuntimeError")
tell.refused("wrong key", lambda: ranked(jina(ours.locked, WRONG)), "RuntimeError")
tell.vectors(
    "JinaTextEmbedder", lambda: vector(JinaTextEmbedder(model=MODEL, base_url=f"{ours.open}/v1/embeddings", api_key=NONE))
)

tell = teller("nvidia-haystack")


def nvidia(url: str = ours.open, key: Secret = NONE, model: str = MODEL) -> NvidiaRanker:
    return NvidiaRanker(model=model, api_url=f"{url}/v1", api_key=key)


tell.logits("NvidiaRanker", lambda: ranked(nvidia()))
tell.logits("NvidiaRanker, with a key", lambda: ranked(nvidia(ours.locked, KEY)))
tell.refused("unknown model", lambda: ranked(nvidia(model=UNKNOWN)), "ValueError")
tell.refused("wrong key", lambda: ranked(nvidia(ours.locked, WRONG)), "ValueError")
tell.vectors("NvidiaTextEmbedder", lambda: vector(NvidiaTextEmbedder(model=MODEL, api_url=f"{ours.open}/v1", api_key=NONE)))
tell.refused(
    "NvidiaTextEmbedder, truncate=NONE on a long text",
    lambda: NvidiaTextEmbedder(model=MODEL, api_url=f"{ours.open}/v1", api_key=NONE, truncate="NONE").run(text="word " * 20000),
    "ValueError",
    "may not be truncated",
)

tell = teller("ollama-haystack")


def ollama(url: str = ours.open, model: str = MODEL, **how: object) -> OllamaTextEmbedder:
    return OllamaTextEmbedder(model=model, url=url, **how)


def documents_by_ollama() -> list[list[float]]:
    embedder = OllamaDocumentEmbedder(model=MODEL, url=ours.open, progress_bar=False)
    return [each.embedding for each in embedder.run(documents=[Document(content=text) for text in TEXTS])["documents"]]


tell.vectors("OllamaTextEmbedder", lambda: vector(ollama()))
tell.vectors("OllamaTextEmbedder, dimensions=64", lambda: vector(ollama(dimensions=64)), dimensions=64)
tell.vectors("OllamaDocumentEmbedder", documents_by_ollama)
tell.refused("unknown model", lambda: vector(ollama(model=UNKNOWN)), "ResponseError", "404")
tell.refused("wrong key, which it cannot send", lambda: vector(ollama(ours.locked)), "ResponseError", "401")

tell = teller("haystack-ai")
tell.vectors(
    "OpenAITextEmbedder", lambda: vector(OpenAITextEmbedder(model=MODEL, api_base_url=f"{ours.open}/v1", api_key=NONE))
)
