"""What LightRAG calls for each of its rerank bindings. All take a full URL, and the aliyun binding posts DashScope's body to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from lightrag.rerank import ali_rerank, cohere_rerank, jina_rerank
from telling import DOCUMENTS, MODEL, QUERY, UNKNOWN, Item, Teller, by_position

tell = Teller("lightrag-hku", "lightrag-hku")
ours = tell.servers
Binding = Callable[..., Awaitable[Sequence[dict]]]


def ranked(binding: Binding, url: str = ours.open, *, key: str = "none", model: str = MODEL, **how: object) -> list[Item]:
    wanted = binding(query=QUERY, documents=list(DOCUMENTS), api_key=key, model=model, base_url=f"{url}/v1/rerank", **how)
    return by_position((each["index"], each["relevance_score"]) for each in asyncio.run(wanted))


for name, binding in (("jina", jina_rerank), ("cohere", cohere_rerank), ("aliyun", ali_rerank)):
    tell.ranking(f"rerank, {name}", lambda binding=binding: ranked(binding))
    tell.ranking(f"rerank, {name}, top_n=2", lambda binding=binding: ranked(binding, top_n=2), of=2)
    tell.ranking(f"rerank, {name}, with a key", lambda binding=binding: ranked(binding, ours.locked, key=ours.key))
tell.refused("unknown model", lambda: ranked(jina_rerank, model=UNKNOWN), "RetryError", "ClientResponseError")
tell.refused("wrong key", lambda: ranked(ali_rerank, ours.locked, key="wrong"), "RetryError", "ClientResponseError")
