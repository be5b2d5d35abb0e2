"""Two clients of Text Embeddings Inference.

tei-client asks `/info` for the kind of the model, and reads every answer as a good one: its errors are those of parsing.
"""

from __future__ import annotations

from tei_client import HttpClient
from telling import DOCUMENTS, QUERY, TEXTS, Item, Teller, by_position
from text_embeddings_inference_client import AuthenticatedClient, Client
from text_embeddings_inference_client.api.text_embeddings_inference import embed, openai_embed
from text_embeddings_inference_client.models import EmbedRequest, OpenAICompatRequest

tell_client = Teller("tei-client", "tei-client")
tell_generated = Teller("text-embeddings-inference-client", "text-embeddings-inference-client")
ours = tell_client.servers
texts = list(TEXTS)


def client(url: str = ours.open, key: str = "none") -> HttpClient:
    return HttpClient(url, headers={"Authorization": f"Bearer {key}"})


def ranked(client: HttpClient, documents: list[str]) -> list[Item]:
    return by_position((each.index, each.score) for each in client.rerank(QUERY, documents).ranks)


tell_client.ranking("rerank", lambda: ranked(client(), list(DOCUMENTS)))
tell_client.ranking("rerank, with a key", lambda: ranked(client(ours.locked, ours.key), list(DOCUMENTS)))
tell_client.value("health", lambda: client().health(), True)
tell_client.value("info", lambda: client().info().server_model_type.value, "reranker")
tell_client.refused("embed, which it asks of embedders only", lambda: client().embed(texts), "AssertionError", "Reranker")
tell_client.refused("no documents", lambda: ranked(client(), []), "ValidationError")
tell_client.refused("wrong key", lambda: ranked(client(ours.locked, "wrong"), list(DOCUMENTS)), "KeyError", "model_type")


def generated(url: str = ours.open, key: str = "none") -> AuthenticatedClient:
    return AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)


def vectors(client: Client | AuthenticatedClient) -> list[list[float]]:
    return embed.sync(client=client, json_body=EmbedRequest(inputs=texts))


def vectors_of_openai() -> list[list[float]]:
    answer = openai_embed.sync(client=Client(base_url=ours.open), json_body=OpenAICompatRequest(input_=texts))
    return [each.embedding for each in answer.data]


tell_generated.vectors("embed", lambda: vectors(Client(base_url=ours.open)))
tell_generated.vectors("openai_embed, at /openai", vectors_of_openai)
tell_generated.vectors("embed, with a key", lambda: vectors(generated(ours.locked, ours.key)))
tell_generated.refused("wrong key", lambda: vectors(generated(ours.locked, "wrong")), "UnexpectedStatus", "401")
