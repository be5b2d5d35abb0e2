"""Ollama's client: what it asks before it embeds, both of its embedding routes, and what is not here."""

from __future__ import annotations

import asyncio

from ollama import AsyncClient, Client
from telling import MODEL, TEXTS, UNKNOWN, Teller

tell = Teller("ollama", "ollama")
ours = tell.servers
texts = list(TEXTS)
client = Client(host=ours.open)


def with_key(url: str, key: str) -> Client:
    return Client(host=url, headers={"Authorization": f"Bearer {key}"})


async def vectors_of_async_client() -> list[list[float]]:
    return (await AsyncClient(host=ours.open).embed(MODEL, texts)).embeddings


tell.vectors("embed", lambda: client.embed(MODEL, texts).embeddings)
tell.vectors("embed, one text", lambda: client.embed(MODEL, TEXTS[0]).embeddings)
tell.vectors("embed, dimensions=64", lambda: client.embed(MODEL, texts, dimensions=64).embeddings, dimensions=64)
tell.vectors("embed, MODEL:latest", lambda: client.embed(f"{MODEL}:latest", texts).embeddings)
tell.vectors("embed, keep_alive=0", lambda: client.embed(MODEL, texts, keep_alive=0).embeddings)
tell.vectors("embed, options={'num_ctx': 512}", lambda: client.embed(MODEL, texts, options={"num_ctx": 512}).embeddings)
tell.vectors("AsyncClient.embed", lambda: asyncio.run(vectors_of_async_client()))
tell.vectors("embeddings, one prompt", lambda: [client.embeddings(MODEL, TEXTS[0]).embedding])
tell.value("list", lambda: MODEL in [each.model for each in client.list().models], True)
tell.value("list, an alias", lambda: "gte-rerank" in [each.model for each in client.list().models], True)
tell.value("ps", lambda: MODEL in [each.model for each in client.ps().models], True)
tell.value("show, capabilities", lambda: "embedding" in client.show(MODEL).capabilities, True)

tell.vectors("embed, with a key", lambda: with_key(ours.locked, ours.key).embed(MODEL, texts).embeddings)
tell.refused(
    "embed, truncate=False on a long text", lambda: client.embed(MODEL, "word " * 20000, truncate=False), "ResponseError", "400"
)
tell.refused("unknown model", lambda: client.embed(UNKNOWN, texts), "ResponseError", "404")
tell.refused("unknown model, embeddings", lambda: client.embeddings(UNKNOWN, TEXTS[0]), "ResponseError", "404")
tell.refused("unknown model, show", lambda: client.show(UNKNOWN), "ResponseError", "404")
tell.refused("pull, which is not here", lambda: client.pull(MODEL), "ResponseError", "404")
tell.refused("chat, which is not here", lambda: client.chat(MODEL, []), "ResponseError", "404")
tell.refused("wrong key", lambda: with_key(ours.locked, "wrong").embed(MODEL, texts), "ResponseError", "401")
tell.refused("wrong key, list", lambda: with_key(ours.locked, "wrong").list(), "ResponseError", "401")
tell.refused("overload", lambda: Client(host=ours.busy).embed(MODEL, texts), "ResponseError", "429")
