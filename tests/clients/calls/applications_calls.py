"""Rerankers of agent frameworks that build Cohere's client themselves: `CO_API_URL` sets the server."""

from __future__ import annotations

import os

from telling import DOCUMENTS, MODEL, QUERY, Item, Teller, by_text

tell_agno = Teller("agno", "agno")
tell_mem0 = Teller("mem0ai", "mem0ai")
ours = tell_agno.servers
os.environ["CO_API_URL"] = ours.open  # noqa: TID251 - the test sets the variable

from agno.knowledge.document import Document  # noqa: E402 - Cohere's client reads the variable when it is imported
from agno.knowledge.reranker.cohere import CohereReranker as AgnoReranker  # noqa: E402
from mem0.configs.rerankers.cohere import CohereRerankerConfig  # noqa: E402
from mem0.reranker.cohere_reranker import CohereReranker as Mem0Reranker  # noqa: E402


def ranked_by_agno() -> list[Item]:
    found = AgnoReranker(model=MODEL, api_key="none").rerank(QUERY, [Document(content=text) for text in DOCUMENTS])
    return by_text((document.content, document.reranking_score) for document in found)


def ranked_by_mem0(top_k: int | None = None) -> list[Item]:
    reranker = Mem0Reranker(CohereRerankerConfig(model=MODEL, api_key="none"))
    found = reranker.rerank(QUERY, [{"memory": text} for text in DOCUMENTS], top_k=top_k)
    return by_text((each["memory"], each["rerank_score"]) for each in found)


tell_agno.ranking("CohereReranker, CO_API_URL", ranked_by_agno)
tell_mem0.ranking("CohereReranker, CO_API_URL", ranked_by_mem0)
tell_mem0.ranking("CohereReranker, CO_API_URL, top_k=2", lambda: ranked_by_mem0(2), of=2)
