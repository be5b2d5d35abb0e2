"""Alibaba's DashScope SDK. It never raises: an error is an answer with a status and a code."""

from __future__ import annotations

import dashscope
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller

tell = Teller("dashscope", "dashscope")
ours = tell.servers
dashscope.api_key = "none"
dashscope.base_http_api_url = f"{ours.open}/api/v1"
documents, texts = list(DOCUMENTS), list(TEXTS)


def rerank(**how: object) -> dashscope.api_entities.dashscope_response.ReRankResponse:
    return dashscope.TextReRank.call(**{"model": MODEL, "query": QUERY, "documents": documents, **how})


def ranked(answer: dashscope.api_entities.dashscope_response.ReRankResponse) -> list[Item]:
    assert answer.status_code == 200, answer
    results = answer.output.results
    return [(each.index, each.relevance_score, each["document"]["text"] if each.get("document") else None) for each in results]


def vectors(**how: object) -> list[list[float]]:
    answer = dashscope.TextEmbedding.call(**{"model": MODEL, "input": texts, **how})
    assert answer.status_code == 200, answer
    return [each["embedding"] for each in sorted(answer.output["embeddings"], key=lambda each: each["text_index"])]


def refusal(**how: object) -> list[object]:
    answer = rerank(**how)
    return [answer.status_code, answer.code]


tell.ranking("TextReRank.call", lambda: ranked(rerank()))
tell.ranking("TextReRank.call, return_documents, top_n=2", lambda: ranked(rerank(return_documents=True, top_n=2)), of=2)
tell.value("TextReRank.call, usage", lambda: rerank().usage.total_tokens > 0, True)
tell.value("TextReRank.call, request_id", lambda: bool(rerank().request_id), True)
tell.vectors("TextEmbedding.call", vectors)
tell.vectors("TextEmbedding.call, text_type=document", lambda: vectors(text_type="document"))
tell.vectors("TextEmbedding.call, dimension=64", lambda: vectors(dimension=64), dimensions=64)
tell.value("unknown model", lambda: refusal(model=UNKNOWN), [404, "Model.NotExist"])
tell.value("top_n=-1", lambda: refusal(top_n=-1), [400, "InvalidParameter"])

dashscope.base_http_api_url = f"{ours.locked}/api/v1"
tell.ranking("TextReRank.call, with a key", lambda: ranked(rerank(api_key=ours.key)))
tell.value("wrong key", lambda: refusal(api_key="wrong"), [401, "InvalidApiKey"])
dashscope.base_http_api_url = f"{ours.busy}/api/v1"
tell.value("overload", refusal, [429, "Throttling"])
