"""mem0's embedders; Ollama's asks for the list of models first."""

from __future__ import annotations

from mem0.configs.embeddings.base import BaseEmbedderConfig
from mem0.embeddings.lmstudio import LMStudioEmbedding
from mem0.embeddings.ollama import OllamaEmbedding
from mem0.embeddings.openai import OpenAIEmbedding
from telling import MODEL, TEXTS, UNKNOWN, Teller

tell = Teller("mem0ai", "mem0ai")
ours = tell.servers


def openai(url: str = ours.open, key: str = "none", model: str = MODEL) -> OpenAIEmbedding:
    return OpenAIEmbedding(BaseEmbedderConfig(model=model, api_key=key, openai_base_url=f"{url}/v1"))


def lmstudio() -> LMStudioEmbedding:
    return LMStudioEmbedding(BaseEmbedderConfig(model=MODEL, api_key="none", lmstudio_base_url=f"{ours.open}/v1"))


def ollama(model: str = MODEL) -> OllamaEmbedding:
    return OllamaEmbedding(BaseEmbedderConfig(model=model, ollama_base_url=ours.open))


tell.vectors("OllamaEmbedding", lambda: [ollama().embed(TEXTS[0])])
tell.vectors("OllamaEmbedding, an alias", lambda: [ollama("text-embedding-3-small").embed(TEXTS[0])])
tell.vectors("OllamaEmbedding.embed_batch", lambda: ollama().embed_batch(list(TEXTS)))
tell.vectors("OpenAIEmbedding", lambda: [openai().embed(TEXTS[0])])
tell.vectors("OpenAIEmbedding, with a key", lambda: [openai(ours.locked, ours.key).embed(TEXTS[0])])
tell.vectors("LMStudioEmbedding", lambda: [lmstudio().embed(TEXTS[0])])
tell.refused("unknown model, which it would pull", lambda: ollama(UNKNOWN), "ResponseError", "404")
tell.refused("unknown model, OpenAI", lambda: openai(model=UNKNOWN).embed(TEXTS[0]), "NotFoundError")
tell.refused("wrong key", lambda: openai(ours.locked, "wrong").embed(TEXTS[0]), "AuthenticationError")
