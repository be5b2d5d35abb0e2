"""The class behind Dify's plugins for servers with OpenAI's or Jina's API.

Its embedding class downloads a tokenizer to count tokens, so only its credentials check runs here.
"""

from __future__ import annotations

from dify_plugin.interfaces.model.openai_compatible.rerank import OAICompatRerankModel
from dify_plugin.interfaces.model.openai_compatible.text_embedding import OAICompatEmbeddingModel
from telling import DOCUMENTS, MODEL, QUERY, UNKNOWN, Item, Teller

tell = Teller("dify-plugin", "dify-plugin")
ours = tell.servers


def credentials(url: str = f"{ours.open}/v1", key: str | None = None) -> dict[str, str | None]:
    return {"endpoint_url": url, "api_key": key}


def ranked(how: dict[str, str | None], model: str = MODEL, top_n: int | None = None) -> list[Item]:
    """Dify rescales the scores of a request to 0..1. After an error a model cannot be used again."""
    found = OAICompatRerankModel(model_schemas=[]).invoke(model, how, QUERY, list(DOCUMENTS), top_n=top_n)
    return [(document.index, document.score, document.text) for document in found.docs]


tell.ranking("rerank, no key, top_n=None", lambda: ranked(credentials()))
tell.ranking("rerank, endpoint without /v1", lambda: ranked(credentials(ours.open)))
tell.ranking("rerank, top_n=2", lambda: ranked(credentials(), top_n=2), of=2)
tell.ranking("rerank, with a key", lambda: ranked(credentials(f"{ours.locked}/v1", ours.key)))
tell.value("rerank, validate_credentials", lambda: OAICompatRerankModel([]).validate_credentials(MODEL, credentials()), None)
tell.value(
    "embedding, validate_credentials", lambda: OAICompatEmbeddingModel([]).validate_credentials(MODEL, credentials()), None
)
tell.refused("unknown model", lambda: ranked(credentials(), UNKNOWN), "InvokeError", "404")
tell.refused("wrong key", lambda: ranked(credentials(f"{ours.locked}/v1", "wrong")), "InvokeError", "401")
tell.refused("overload", lambda: ranked(credentials(f"{ours.busy}/v1")), "InvokeError", "429")
