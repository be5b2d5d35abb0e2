"""LangChain's integrations that need its previous major, or an older httpx."""

from __future__ import annotations

from infinity_client import Client
from langchain_community.document_compressors import InfinityRerank
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_huggingface import HuggingFaceEndpointEmbeddings
from langchain_xinference.reranks import XinferenceRerank
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, Item, Teller, by_text

tell_community = Teller("langchain-community", "langchain-community")
tell_xinference = Teller("langchain-xinference", "langchain-xinference")
tell_huggingface = Teller("langchain-huggingface", "langchain-huggingface")
ours = tell_community.servers


def ranked(compressor: BaseDocumentCompressor) -> list[Item]:
    found = compressor.compress_documents([Document(text) for text in DOCUMENTS], QUERY)
    return by_text((document.page_content, document.metadata["relevance_score"]) for document in found)


tell_community.ranking("InfinityRerank", lambda: ranked(InfinityRerank(client=Client(base_url=ours.open), model=MODEL)))
tell_xinference.ranking("XinferenceRerank", lambda: ranked(XinferenceRerank(ours.open, MODEL)))
tell_xinference.ranking("XinferenceRerank, with a key", lambda: ranked(XinferenceRerank(ours.locked, MODEL, ours.key)))
tell_xinference.refused("wrong key", lambda: ranked(XinferenceRerank(ours.locked, MODEL, "wrong")), "RuntimeError", "key")
tell_huggingface.vectors(
    "HuggingFaceEndpointEmbeddings, model=URL",
    lambda: HuggingFaceEndpointEmbeddings(model=ours.open).embed_documents(list(TEXTS)),
)
