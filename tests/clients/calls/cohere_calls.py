"""Cohere's SDK, both of its clients, of any major."""

from __future__ import annotations

import cohere
from cohere.base_client import BaseCohere
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_position, signs

tell = Teller("cohere", "cohere")
ours = tell.servers
v2 = cohere.ClientV2(api_key="none", base_url=ours.open)
v1 = cohere.Client(api_key="none", base_url=ours.open)
ask = {"model": MODEL, "query": QUERY, "documents": list(DOCUMENTS)}


def ranked(answer: cohere.V2RerankResponse | cohere.RerankResponse) -> list[Item]:
    return by_position((result.index, result.relevance_score) for result in answer.results)


def with_texts(answer: cohere.RerankResponse) -> list[Item]:
    return [(result.index, result.relevance_score, result.document.text) for result in answer.results]


def with_extra_texts(answer: cohere.V2RerankResponse) -> list[Item]:
    """Parse a v2 answer as MaxKB does: the SDK has no `document` field, but the answer must have it."""
    return [(result.index, result.relevance_score, result.document["text"]) for result in answer.results]


def tokenized(answer: cohere.TokenizeResponse) -> bool:
    return len(answer.tokens) == len(answer.token_strings) > 0


def detokenized() -> str:
    ids = v1.tokenize(text=TEXTS[0], model=MODEL, offline=False).tokens
    return v1.detokenize(tokens=ids, model=MODEL, offline=False).text


tell.ranking("ClientV2.rerank", lambda: ranked(v2.rerank(**ask)))
tell.ranking("ClientV2.rerank, top_n=2", lambda: ranked(v2.rerank(**ask, top_n=2)), of=2)
tell.ranking("ClientV2.rerank, max_tokens_per_doc=None", lambda: ranked(v2.rerank(**ask, max_tokens_per_doc=None)))
tell.ranking("ClientV2.rerank, document of a result", lambda: with_extra_texts(v2.rerank(**ask)))
tell.ranking(
    "ClientV2.rerank, base_url ends in /v1",
    lambda: ranked(cohere.ClientV2(api_key="none", base_url=f"{ours.open}/v1").rerank(**ask)),
)
tell.ranking(
    "Client.rerank, base_url ends in /v1",
    lambda: ranked(cohere.Client(api_key="none", base_url=f"{ours.open}/v1").rerank(**ask)),
)
tell.value("ClientV2.rerank, billed units", lambda: v2.rerank(**ask).meta.billed_units.search_units, 1)
tell.ranking("Client.rerank, return_documents=True", lambda: with_texts(v1.rerank(**ask, return_documents=True)))
tell.ranking(
    "Client.rerank, documents are objects",
    lambda: ranked(v1.rerank(model=MODEL, query=QUERY, documents=[{"text": text} for text in DOCUMENTS])),
)
tell.ranking(
    "Client.rerank, rank_fields",
    lambda: ranked(
        v1.rerank(
            model=MODEL,
            query=QUERY,
            documents=[{"body": text, "number": "7"} for text in DOCUMENTS],
            rank_fields=["body"],
        )
    ),
)

embed = {"model": MODEL, "texts": list(TEXTS), "input_type": "search_document"}


def floats() -> list[list[float]]:
    return v2.embed(**embed, embedding_types=["float"]).embeddings.float_


tell.vectors("ClientV2.embed, float", floats)
tell.vectors("Client.embed", lambda: v1.embed(**embed).embeddings)
tell.vectors("Client.embed, by type", lambda: v1.embed(**embed, embedding_types=["float"]).embeddings.float_)
tell.value(
    "ClientV2.embed, base64",
    lambda: [len(text) for text in v2.embed(**embed, embedding_types=["base64"]).embeddings.base64],
    [2048, 2048],
)

tell.value(
    "ClientV2.embed, ubinary, the packed signs",
    lambda: v2.embed(**embed, embedding_types=["ubinary"]).embeddings.ubinary == [signs(each) for each in floats()],
    True,
)
tell.refused("ClientV2.embed, int8", lambda: v2.embed(**embed, embedding_types=["int8"]), "BadRequestError", "embedding_types")

tell.value(
    "Client.tokenize, as many ids as strings",
    lambda: tokenized(v1.tokenize(text=TEXTS[0], model=MODEL, offline=False)),
    True,
)
tell.value("Client.detokenize, the text of its ids", detokenized, TEXTS[0])
tell.value("BaseCohere.check_api_key", lambda: BaseCohere(token="none", base_url=ours.open).check_api_key().valid, True)

locked = cohere.ClientV2(api_key=ours.key, base_url=ours.locked)
tell.ranking("ClientV2.rerank, with a key", lambda: ranked(locked.rerank(**ask)))
tell.refused("unknown model", lambda: v2.rerank(**{**ask, "model": UNKNOWN}), "NotFoundError")
tell.refused("no documents", lambda: v2.rerank(**{**ask, "documents": []}), "BadRequestError")
stranger = cohere.ClientV2(api_key="wrong", base_url=ours.locked)
tell.refused("wrong key", lambda: stranger.rerank(**ask), "UnauthorizedError")
tell.refused(
    "wrong key, check_api_key",
    lambda: BaseCohere(token="wrong", base_url=ours.locked).check_api_key(),
    "UnauthorizedError",
)
tell.refused(
    "overload, after two retries",
    lambda: cohere.ClientV2(api_key="none", base_url=ours.busy).rerank(**ask),
    "TooManyRequestsError",
)
