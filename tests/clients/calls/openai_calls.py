"""OpenAI's SDK, of any major."""

from __future__ import annotations

import openai
from telling import MODEL, TEXTS, UNKNOWN, Teller

tell = Teller("openai", "openai")
ours = tell.servers
client = openai.OpenAI(base_url=f"{ours.open}/v1", api_key="none", max_retries=0)
texts = list(TEXTS)


def vectors(answer: openai.types.CreateEmbeddingResponse) -> list[list[float]]:
    return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]


tell.vectors("embeddings.create", lambda: vectors(client.embeddings.create(model=MODEL, input=texts)))
tell.vectors(
    "embeddings.create, encoding_format=float",
    lambda: vectors(client.embeddings.create(model=MODEL, input=texts, encoding_format="float")),
)
tell.vectors("embeddings.create, one text", lambda: vectors(client.embeddings.create(model=MODEL, input=texts[0])))
tell.vectors(
    "embeddings.create, dimensions=64",
    lambda: vectors(client.embeddings.create(model=MODEL, input=texts, dimensions=64)),
    dimensions=64,
)
tell.value("models.list", lambda: [model.id for model in client.models.list()], [MODEL])
tell.value("models.retrieve", lambda: client.models.retrieve(MODEL).object, "model")

tell.refused(
    "embeddings.create, token ids of another tokenizer",
    lambda: client.embeddings.create(model=MODEL, input=[[1, 2, 3]]),
    "BadRequestError",
    "check_embedding_ctx_length",
)

locked = openai.OpenAI(base_url=f"{ours.locked}/v1", api_key=ours.key)
tell.vectors("embeddings.create, with a key", lambda: vectors(locked.embeddings.create(model=MODEL, input=texts)))
tell.refused("unknown model", lambda: client.embeddings.create(model=UNKNOWN, input=texts), "NotFoundError")
tell.refused("no texts", lambda: client.embeddings.create(model=MODEL, input=[]), "BadRequestError")
stranger = openai.OpenAI(base_url=f"{ours.locked}/v1", api_key="wrong")
tell.refused("wrong key", lambda: stranger.embeddings.create(model=MODEL, input=texts), "AuthenticationError")
busy = openai.OpenAI(base_url=f"{ours.busy}/v1", api_key="none", max_retries=1)
tell.refused("overload, after a retry", lambda: busy.embeddings.create(model=MODEL, input=texts), "RateLimitError")
