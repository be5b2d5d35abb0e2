"""LangChain's integrations that only its current major has, or that behave differently there."""

from __future__ import annotations

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_huggingface import HuggingFaceEndpointEmbeddings
from langchain_nvidia_ai_endpoints import NVIDIAEmbeddings, NVIDIARerank
from langchain_ollama import OllamaEmbeddings
from langchain_siliconflow import SiliconFlowEmbeddings
from langchain_voyageai import VoyageAIRerank
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_text

tell_voyage = Teller("langchain-voyageai", "langchain-voyageai")
tell_nvidia = Teller("langchain-nvidia-ai-endpoints", "langchain-nvidia-ai-endpoints")
tell_siliconflow = Teller("langchain-siliconflow", "langchain-siliconflow")
tell_huggingface = Teller("langchain-huggingface", "langchain-huggingface")
tell_ollama = Teller("langchain-ollama", "langchain-ollama")
ours = tell_voyage.servers
texts = list(TEXTS)


def ranked(compressor: BaseDocumentCompressor) -> list[Item]:
    found = compressor.compress_documents([Document(text) for text in DOCUMENTS], QUERY)
    return by_text((document.page_content, document.metadata["relevance_score"]) for document in found)


def voyage(url: str = ours.open, key: str = "none", **how: object) -> VoyageAIRerank:
    return VoyageAIRerank(model=MODEL, base_url=f"{url}/v1", api_key=key, **how)


tell_voyage.ranking("VoyageAIRerank", lambda: ranked(voyage()))
tell_voyage.ranking("VoyageAIRerank, top_k=2", lambda: ranked(voyage(top_k=2)), of=2)
tell_voyage.ranking("VoyageAIRerank, with a key", lambda: ranked(voyage(ours.locked, ours.key)))
tell_voyage.refused("wrong key", lambda: ranked(voyage(ours.locked, "wrong")), "AuthenticationError")
tell_voyage.refused("overload", lambda: ranked(voyage(ours.busy)), "RateLimitError")


def nvidia(url: str = ours.open, key: str = "none") -> NVIDIARerank:
    return NVIDIARerank(model=MODEL, base_url=f"{url}/v1", api_key=key)


tell_nvidia.logits("NVIDIARerank", lambda: ranked(nvidia()))
tell_nvidia.logits("NVIDIARerank, with a key", lambda: ranked(nvidia(ours.locked, ours.key)))
tell_nvidia.vectors(
    "NVIDIAEmbeddings",
    lambda: NVIDIAEmbeddings(model=MODEL, base_url=f"{ours.open}/v1", api_key="none").embed_documents(texts),
)
tell_nvidia.refused("wrong key", lambda: ranked(nvidia(ours.locked, "wrong")), "Exception")

tell_siliconflow.vectors(
    "SiliconFlowEmbeddings",
    lambda: SiliconFlowEmbeddings(model=MODEL, base_url=f"{ours.open}/v1", siliconflow_api_key="none").embed_documents(texts),
)
tell_huggingface.vectors(
    "HuggingFaceEndpointEmbeddings, model_kwargs={'model': URL}",
    lambda: HuggingFaceEndpointEmbeddings(model=MODEL, model_kwargs={"model": ours.open}).embed_documents(texts),
)


def ollama(url: str = ours.open, key: str = "none", model: str = MODEL, **how: object) -> OllamaEmbeddings:
    client = {"headers": {"Authorization": f"Bearer {key}"}}
    return OllamaEmbeddings(model=model, base_url=url, client_kwargs=client, **how)


tell_nvidia.refused(
    "NVIDIAEmbeddings, truncate=NONE on a long text",
    lambda: NVIDIAEmbeddings(model=MODEL, base_url=f"{ours.open}/v1", api_key="none").embed_query("word " * 20000),
    "Exception",
    "400",
)
tell_ollama.vectors("OllamaEmbeddings", lambda: ollama().embed_documents(texts))
tell_ollama.vectors("OllamaEmbeddings, dimensions=64", lambda: ollama(dimensions=64).embed_documents(texts), dimensions=64)
tell_ollama.vectors(
    "OllamaEmbeddings, num_ctx=512, keep_alive=60", lambda: ollama(num_ctx=512, keep_alive=60).embed_documents(texts)
)
tell_ollama.vectors("validate_model_on_init=True", lambda: ollama(validate_model_on_init=True).embed_documents(texts))
tell_ollama.vectors("OllamaEmbeddings, with a key", lambda: ollama(ours.locked, ours.key).embed_documents(texts))
tell_ollama.refused("unknown model", lambda: ollama(model=UNKNOWN).embed_documents(texts), "ResponseError", "404")
tell_ollama.refused(
    "unknown model, validate_model_on_init=True", lambda: ollama(model=UNKNOWN, validate_model_on_init=True), "ValidationError"
)
tell_ollama.refused("wrong key", lambda: ollama(ours.locked, "wrong").embed_documents(texts), "ResponseError", "401")
