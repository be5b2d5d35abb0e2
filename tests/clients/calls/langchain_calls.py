"""LangChain's integrations that exist in both of its major versions."""

from __future__ import annotations

from collections.abc import Sequence

import dashscope
import langchain_community.document_compressors.jina_rerank as jina
from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_community.document_compressors.dashscope_rerank import DashScopeRerank
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_openai import OpenAIEmbeddings
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_text

tell_cohere = Teller("langchain-cohere", "langchain-cohere")
tell_openai = Teller("langchain-openai", "langchain-openai")
tell_community = Teller("langchain-community", "langchain-community")
ours = tell_cohere.servers
texts = list(TEXTS)


def ranked(compressor: BaseDocumentCompressor) -> list[Item]:
    found: Sequence[Document] = compressor.compress_documents([Document(text) for text in DOCUMENTS], QUERY)
    return by_text((document.page_content, document.metadata["relevance_score"]) for document in found)


def cohere(url: str = ours.open, key: str = "none", model: str = MODEL) -> CohereRerank:
    return CohereRerank(model=model, base_url=url, cohere_api_key=key)


tell_cohere.ranking("CohereRerank", lambda: ranked(cohere()))
tell_cohere.ranking("CohereRerank, with a key", lambda: ranked(cohere(ours.locked, ours.key)))
tell_cohere.vectors(
    "CohereEmbeddings",
    lambda: CohereEmbeddings(model=MODEL, base_url=ours.open, cohere_api_key="none").embed_documents(texts),
)
tell_cohere.refused("unknown model", lambda: ranked(cohere(model=UNKNOWN)), "NotFoundError")
tell_cohere.refused("wrong key", lambda: ranked(cohere(ours.locked, "wrong")), "UnauthorizedError")
tell_cohere.refused("overload", lambda: ranked(cohere(ours.busy)), "TooManyRequestsError")


def openai(url: str = ours.open, key: str = "none", model: str = MODEL, **how: object) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(model=model, base_url=f"{url}/v1", api_key=key, max_retries=0, **how)


plain = {"check_embedding_ctx_length": False}
tell_openai.vectors("OpenAIEmbeddings, check_embedding_ctx_length=False", lambda: openai(**plain).embed_documents(texts))
tell_openai.vectors(
    "OpenAIEmbeddings, dimensions=64", lambda: openai(**plain, dimensions=64).embed_documents(texts), dimensions=64
)
tell_openai.vectors("OpenAIEmbeddings, with a key", lambda: openai(ours.locked, ours.key, **plain).embed_documents(texts))
tell_openai.refused("unknown model", lambda: openai(model=UNKNOWN, **plain).embed_documents(texts), "NotFoundError")
tell_openai.refused("wrong key", lambda: openai(ours.locked, "wrong", **plain).embed_documents(texts), "AuthenticationError")
tell_openai.refused("overload", lambda: openai(ours.busy, **plain).embed_documents(texts), "RateLimitError")

jina.JINA_API_URL = f"{ours.open}/v1/rerank"
tell_community.ranking("JinaRerank", lambda: ranked(jina.JinaRerank(model=MODEL, jina_api_key="none")))
tell_community.refused(
    "JinaRerank, unknown model", lambda: ranked(jina.JinaRerank(model=UNKNOWN, jina_api_key="none")), "RuntimeError"
)
jina.JINA_API_URL = f"{ours.locked}/v1/rerank"
tell_community.ranking("JinaRerank, with a key", lambda: ranked(jina.JinaRerank(model=MODEL, jina_api_key=ours.key)))
tell_community.refused(
    "JinaRerank, wrong key", lambda: ranked(jina.JinaRerank(model=MODEL, jina_api_key="wrong")), "RuntimeError", "key"
)
jina.JINA_API_URL = f"{ours.busy}/v1/rerank"
tell_community.refused(
    "JinaRerank, overload", lambda: ranked(jina.JinaRerank(model=MODEL, jina_api_key="none")), "RuntimeError", "busy"
)

dashscope.base_http_api_url = f"{ours.open}/api/v1"
tell_community.ranking(
    "DashScopeRerank, which always asks for gte-rerank", lambda: ranked(DashScopeRerank(dashscope_api_key="none"))
)
