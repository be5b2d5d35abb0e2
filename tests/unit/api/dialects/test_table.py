"""Which dialect a request is taken for: all collisions on one path, in the order that clients depend on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from shortlist.api.dialects import table
from shortlist.api.dialects.dialect import RequestView
from shortlist.errors import InvalidInput, NotFound

Q: Mapping[str, object] = {"query": "q"}
DOCUMENTS: Mapping[str, object] = {**Q, "documents": ["d"]}
PINECONE = {b"x-pinecone-api-version": b"2025-01"}

MEANT: tuple[tuple[str, Mapping[str, object], Mapping[bytes, bytes], str], ...] = (
    ("/rerank", DOCUMENTS, {}, "superset"),
    ("/v1/rerank", {**DOCUMENTS, "top_n": 1, "return_documents": True}, {}, "superset"),
    ("/v2/rerank", {**DOCUMENTS, "max_tokens_per_doc": None}, {}, "superset"),
    ("/rerank", {**DOCUMENTS, "top_n": 1, "top_k": 1}, {}, "superset"),
    ("/rerank", {**Q, "texts": ["d"]}, {}, "tei"),
    ("/v1/rerank", {**Q, "texts": ["d"], "top_n": 1}, {}, "tei"),
    ("/v1/rerankings", {**Q, "texts": ["d"]}, {}, "isaacus"),
    ("/rerank", {"input": {**DOCUMENTS}, "parameters": {}}, {}, "dashscope"),
    ("/v1/rerank", {"input": {**DOCUMENTS}}, {}, "dashscope"),
    ("/rerank", {**Q, "passages": ["d"]}, {}, "qanything"),
    ("/rerank", {"query": {"text": "q"}, "passages": [{"text": "d"}]}, {}, "nvidia"),
    ("/v1/ranking", {**Q, "passages": [{"text": "d"}]}, {}, "nvidia"),
    ("/v1/retrieval/{rest:path}/reranking", {**Q, "passages": []}, {}, "nvidia"),
    ("/v1/reranking", {**Q, "input": ["d"]}, {}, "mixedbread"),
    ("/v1/reranking", DOCUMENTS, {}, "superset"),
    ("/rerank", {**DOCUMENTS, "property": ""}, {}, "weaviate"),
    ("/rerank", DOCUMENTS, PINECONE, "pinecone"),
    ("/rerank", {**DOCUMENTS, "top_k": None}, {}, "voyage"),
    ("/v1/rerank", {**DOCUMENTS, "truncation": True}, {}, "voyage"),
    ("/rerank", {**DOCUMENTS, "raw_scores": False}, {}, "infinity"),
    ("/rerank", {**DOCUMENTS, "raw_scores": True, "instruction": "i"}, {}, "superset"),
    ("/rerank", {**DOCUMENTS, "raw_scores": True, "max_tokens_per_doc": 7}, {}, "superset"),
    ("/v1/rerank", {**DOCUMENTS, "truncation": False, "preset": "legal"}, {}, "superset"),
    ("/api/rerank", DOCUMENTS, {}, "ollama"),
    ("/tokenize", {"inputs": "t"}, {}, "tei"),
    ("/tokenize", {"text": "t"}, {}, "cohere"),
    ("/tokenize", {"prompt": "t"}, {}, "vllm"),
    ("/v1/embeddings", {"input": "t"}, {}, "openai"),
    ("/score", {"text_1": "q", "text_2": "d"}, {}, "vllm"),
)


@pytest.mark.parametrize(("path", "body", "headers", "name"), MEANT)
def test_dialect_of_every_clients_request_is_detected(
    path: str, body: Mapping[str, object], headers: Mapping[bytes, bytes], name: str
) -> None:
    dialect, request_model = table.find(path, RequestView(path, body, headers))
    assert dialect.name == name
    assert path in request_model.paths


@pytest.mark.parametrize(
    ("body", "request_model"),
    [
        ({"query": "q", "texts": ["d"]}, "TeiRerankRequest"),
        ({"inputs": "t"}, "TeiEmbedRequest"),
        ({"inputs": ["t", "u"]}, "TeiEmbedRequest"),
        ({"inputs": ["q", "d"], "parameters": {}}, "TeiPredictRequest"),
        ({"inputs": [["q", "d"]]}, "TeiPredictRequest"),
        ({"inputs": [{"text": "q", "text_pair": "d"}]}, "TeiNamedPairsRequest"),
        ({"inputs": {"text": "q", "text_pair": "d"}}, "TeiNamedPairsRequest"),
        ({"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {}}, "TeiSimilarityRequest"),
        ({"text_pairs": [["q", "d"]]}, "TeiTextPairsRequest"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/invocations"])
def test_dialect_at_the_root_path_is_detected_from_the_body(path: str, body: Mapping[str, object], request_model: str) -> None:
    assert table.find(path, RequestView(path, body))[1].__name__ == request_model


@pytest.mark.parametrize("name", sorted(table.NAMES))
def test_dialect_that_is_asked_for_by_name_is_taken(name: str) -> None:
    for path in table.ENTRIES:
        found = table.of_path(path, name)
        own = [entry for entry in table.ENTRIES[path] if entry[0].name == name]
        last, request_model = table.ENTRIES[path][-1]
        assert [each for _, each in found] == ([each for _, each in own] or [request_model])
        assert {dialect.name for dialect, _ in found} == {last.name if name in table.COMMON_ALIASES else name}


def test_ambiguous_dialect_is_never_detected() -> None:
    assert table.find("/v1/rerank", RequestView("/v1/rerank", DOCUMENTS), "sglang")[0].name == "sglang"
    assert table.find("/v1/rerank", RequestView("/v1/rerank", DOCUMENTS), "infinity")[0].name == "infinity"
    assert table.find("/v1/rerank", RequestView("/v1/rerank", {**DOCUMENTS, "top_k": 1}), "jina")[0].name == "superset"


def test_unknown_dialect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"cohere.*voyage"):
        table.find("/rerank", RequestView("/rerank", DOCUMENTS), "esperanto")


def test_two_shapes_at_once_are_refused() -> None:
    with pytest.raises(InvalidInput, match="different dialects") as refused:
        table.find("/rerank", RequestView("/rerank", {**DOCUMENTS, "texts": ["d"]}))
    assert refused.value.param == "texts"


def test_unmatched_body_is_refused_with_the_accepted_fields() -> None:
    with pytest.raises(InvalidInput, match=r"documents is required.*passages.*texts") as refused:
        table.find("/rerank", RequestView("/rerank", Q))
    assert refused.value.param == "documents"


def test_dialect_is_certain_where_only_one_is_spoken() -> None:
    def name(path: str, explicit_dialect: str | None = None) -> str | None:
        found = table.only_dialect_of(path, explicit_dialect)
        return found.name if found else None

    assert name("/embed") == "tei"
    assert name("/api/v1/services/rerank/text-rerank/text-rerank") == "dashscope"
    assert name("/rerank") is None
    assert name("/rerank", "weaviate") == "weaviate"
    assert name("/nowhere") is None
