"""What each dialect's clients read, besides rankings: vectors, tokens, descriptions and errors."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from shortlist.errors import EngineError, EngineUnavailable
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK, Batch
from tests.support.apps import http, runtime, served, settings
from tests.support.fake_engine import FakeEngine

TEXTS = ["first text", "second text"]


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with http(runtime()) as client:
        yield client


async def vectors(client: httpx2.AsyncClient, texts: list[str], **more: object) -> list[list[float]]:
    """Return the vectors as OpenAI's dialect tells them."""
    answer = (await client.post("/v1/embeddings", json={"input": texts, **more})).json()
    return [each["embedding"] for each in answer["data"]]


async def post(client: httpx2.AsyncClient, path: str, body: object) -> httpx2.Response:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response


# -- vectors ------------------------------------------------------------------------------------------------------------


async def test_same_texts_get_the_same_vectors_through_every_dialect(client: httpx2.AsyncClient) -> None:
    truth = await vectors(client, TEXTS)
    native = (
        await post(client, "/api/v1/services/embeddings/text-embedding/text-embedding", {"input": {"texts": TEXTS}})
    ).json()
    assert [each["embedding"] for each in native["output"]["embeddings"]] == truth
    assert [each["text_index"] for each in native["output"]["embeddings"]] == [0, 1]
    assert native["usage"]["total_tokens"] > 0
    for path in ("/embed", "/"):
        assert (await post(client, path, {"inputs": TEXTS})).json() == truth
    assert (await post(client, "/embed", {"inputs": TEXTS[0]})).json() == truth[:1]
    assert (await post(client, "/embedding", {"texts": TEXTS})).json() == truth
    assert (await post(client, "/api/embed", {"input": TEXTS, "truncate": True})).json()["embeddings"] == truth
    pooled = (await post(client, "/pooling", {"input": TEXTS})).json()
    assert [(each["object"], each["data"]) for each in pooled["data"]] == [("pooling", each) for each in truth]
    weaviate = (await post(client, "/vectors", {"text": TEXTS[0], "dims": 0, "vector": [], "config": None})).json()
    assert (weaviate["vector"], weaviate["dim"], weaviate["text"]) == (truth[0], len(truth[0]), TEXTS[0])
    assert (await post(client, "/v1/embed", {"texts": TEXTS})).json()["embeddings"] == truth
    assert (await post(client, "/v2/embed", {"texts": TEXTS})).json()["embeddings"] == {"float": truth}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": TEXTS, "input_type": "query"}),
        ("/v1/embeddings", {"input": TEXTS, "task": "retrieval.query"}),
        ("/v1/embeddings", {"input": TEXTS, "text_type": "query"}),
        ("/v2/embed", {"texts": TEXTS, "input_type": "search_query"}),
        ("/embed", {"inputs": TEXTS, "prompt_name": "query"}),
        (
            "/api/v1/services/embeddings/text-embedding/text-embedding",
            {"input": {"texts": TEXTS}, "parameters": {"text_type": "query"}},
        ),
    ],
)
async def test_queries_are_embedded_as_queries(client: httpx2.AsyncClient, path: str, body: dict[str, object]) -> None:
    told = (await post(client, path, body)).json()
    query, plain = await vectors(client, TEXTS, prompt_name="query"), await vectors(client, TEXTS)
    assert query != plain
    assert str(query[0])[1:-1] in str(told)
    assert str(plain[0])[1:-1] not in str(told)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/embeddings", {"input": TEXTS}, "output_dimension"),
        ("/v1/embeddings", {"input": TEXTS}, "dimension"),
        ("/embed", {"inputs": TEXTS}, "dimensions"),
        ("/api/embed", {"input": TEXTS}, "dimensions"),
        ("/pooling", {"input": TEXTS}, "dimensions"),
    ],
)
async def test_dimensions_field_of_every_dialect_truncates_vectors(
    client: httpx2.AsyncClient, path: str, body: dict[str, object], field: str
) -> None:
    told = (await post(client, path, {**body, field: 2})).json()
    [first, _] = await vectors(client, TEXTS, dimensions=2)
    assert len(first) == 2
    assert str(first) in str(told)


@pytest.mark.parametrize(("path", "field"), [("/v2/embed", "output_dimension"), ("/v1/embeddings", "dimensions")])
async def test_too_many_dimensions_are_refused_by_the_name_of_the_dialect(
    client: httpx2.AsyncClient, path: str, field: str
) -> None:
    body = {"texts" if path == "/v2/embed" else "input": TEXTS, "input_type": "search_query", field: 100_000}
    refused = await client.post(path, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field
    assert refused.json()["error"]["message"].startswith(f"{field} must be at most")


async def test_cohere_gets_every_type_that_it_asks_for(client: httpx2.AsyncClient) -> None:
    body = {"texts": TEXTS, "embedding_types": ["float", "base64", "ubinary", "binary"]}
    told = (await post(client, "/v1/embed", body)).json()
    assert told["response_type"] == "embeddings_by_type"
    truth = np.array(await vectors(client, TEXTS), np.float32)
    by_type = told["embeddings"]
    np.testing.assert_array_equal(np.array(by_type["float"], np.float32), truth)
    packed = [np.frombuffer(base64.b64decode(each), "<f4") for each in by_type["base64"]]
    np.testing.assert_array_equal(np.array(packed), truth)
    bits = np.unpackbits(np.array(by_type["ubinary"], np.uint8), axis=1)[:, : truth.shape[1]]
    np.testing.assert_array_equal(bits.astype(bool), truth > 0)
    np.testing.assert_array_equal(np.array(by_type["binary"]) + 128, by_type["ubinary"])
    assert (await post(client, "/v1/embed", {"texts": TEXTS})).json()["response_type"] == "embeddings_floats"
    refused = await client.post("/v2/embed", json={"texts": TEXTS, "embedding_types": ["float", "int8"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "embedding_types[1]")


async def test_bits_are_packed_in_every_spelling(client: httpx2.AsyncClient) -> None:
    by_type = (await post(client, "/v1/embed", {"texts": TEXTS, "embedding_types": ["ubinary", "binary"]})).json()["embeddings"]
    for form, dtype in (("ubinary", np.uint8), ("binary", np.int8)):
        for asked in ({"output_dtype": form}, {"embedding_type": form}, {"embedding_type": [form]}):
            assert await vectors(client, TEXTS, **asked) == by_type[form]
        packed = await vectors(client, TEXTS, output_dtype=form, encoding_format="base64")
        assert [np.frombuffer(base64.b64decode(each), dtype).tolist() for each in packed] == by_type[form]  # type: ignore[arg-type]


async def test_contents_of_cohere_inputs_are_texts(client: httpx2.AsyncClient) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    told = (await post(client, "/v2/embed", {"inputs": inputs})).json()
    assert told["embeddings"] == (await post(client, "/v2/embed", {"texts": TEXTS})).json()["embeddings"]
    assert told["texts"] == TEXTS


async def test_limit_of_cohere_cuts_only_where_it_may(tokenizer_path: Path) -> None:
    embedder = served(encoder=QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64), operations=frozenset({EMBED}))
    async with http(Runtime([embedder], settings=settings(), metrics=Metrics())) as client:
        body = {"texts": ["red fox " * 9], "max_tokens": 5}
        cut = await post(client, "/v2/embed", body)
        assert cut.json()["meta"]["warnings"] == ["texts[0] was too long, and its end was cut."]
        assert cut.headers["x-truncated-texts"] == "1"
        assert (await client.post("/v2/embed", json={**body, "truncate": "NONE"})).status_code == httpx2.codes.BAD_REQUEST
        assert (
            await post(client, "/v2/embed", {**body, "max_tokens": 9999, "truncate": "NONE"})
        ).status_code == httpx2.codes.OK


async def test_base64_can_be_requested_by_two_fields(client: httpx2.AsyncClient) -> None:
    one, other = [
        (await post(client, "/v1/embeddings", {"input": TEXTS, name: "base64"})).json()["data"]
        for name in ("encoding_format", "embedding_type")
    ]
    assert one == other
    assert isinstance(one[0]["embedding"], str)


async def test_similarity_is_the_cosine(client: httpx2.AsyncClient) -> None:
    one, other = (np.array(each) for each in await vectors(client, TEXTS))
    for path in ("/similarity", "/"):
        body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}, "parameters": {}}
        told = (await post(client, path, body)).json()
        assert told == pytest.approx([1, float(one @ other)], abs=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/embed", {"inputs": [[1, 2, 3]]}, "token ids"),
        ("/predict", {"inputs": "one text alone"}, "pair"),
        ("/predict", {"inputs": [[" ", "d"]]}, "query"),
        ("/rerank", {"query": "q", "texts": []}, "texts"),
        ("/classify", {"input": ["one text alone"]}, "whole prompt"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "equally many"),
        ("/score", {"text_1": " ", "text_2": ["c"]}, "text_1"),
        ("/score", {"text_1": "a"}, "required"),
        ("/v1/embeddings", {"input": TEXTS, "input_type": "serch_qury"}, "input_type must be one of"),
        ("/v1/rerank", {"query": "q", "documents": ["d"], "truncate": "nope"}, "truncate must be END, START or NONE"),
        (
            "/v1/rerank",
            {"query": "q", "documents": ["d"], "truncation_side": "left", "max_tokens_per_doc": 3},
            "truncation_side",
        ),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": "x"}]}, "chat messages are not read here"),
        ("/v1/embeddings", {"input": TEXTS, "truncate_prompt_tokens": 10**6}, "must be at most 8192"),
        ("/score", {"text_1": "q", "text_2": "d", "truncate_prompt_tokens": 10**6}, "must be at most 8192"),
        ("/v2/embed", {"texts": TEXTS, "images": ["data:image/png;base64,"]}, "images must be absent"),
        ("/", {"inputs": [{"text": "a", "text_pair": "b"}, {"text": "a"}]}, "text_pair"),
        ("/predict", {"inputs": {"text": "a", "text_pair": 5}}, "text_pair"),
    ],
)
async def test_unsupported_options_get_one_sentence(
    client: httpx2.AsyncClient, path: str, body: dict[str, object], param: str
) -> None:
    response = await client.post(path, json=body)
    assert response.status_code in {400, 422}
    assert param in response.text


# -- pairs --------------------------------------------------------------------------------------------------------------


async def test_single_pair_is_answered_as_one(client: httpx2.AsyncClient) -> None:
    alone = (await post(client, "/predict", {"inputs": ["red fox", "a cat"]})).json()
    among = (await post(client, "/predict", {"inputs": [["red fox", "a cat"]]})).json()
    assert [alone] == among
    assert alone[0]["label"] == "LABEL_0"


@pytest.mark.parametrize("path", ["/", "/predict", "/invocations"])
async def test_pairs_of_text_classification_are_scored(client: httpx2.AsyncClient, path: str) -> None:
    pairs = [{"text": "red fox", "text_pair": text} for text in ("a cat", "the red fox")]
    told = (await post(client, path, {"inputs": pairs})).json()
    official = (await post(client, "/predict", {"inputs": [["red fox", "a cat"], ["red fox", "the red fox"]]})).json()
    assert told == [only for [only] in official]
    assert (await post(client, path, {"inputs": pairs[0]})).json() == told[:1]


async def test_clients_of_ollama_find_models_and_embed(client: httpx2.AsyncClient) -> None:
    tags = (await client.get("/api/tags")).json()["models"]
    assert [each["name"] for each in tags] == [each["id"] for each in (await client.get("/v1/models")).json()["data"]]
    assert (await client.get("/api/ps")).json()["models"] == tags
    assert (await client.get("/api/version")).json() == (await client.get("/version")).json()
    name = tags[0]["name"]
    shown = (await post(client, "/api/show", {"model": f"{name}:latest"})).json()
    assert (shown["name"], shown["capabilities"]) == (name, ["rerank", "embedding"])
    assert (await post(client, "/api/show", {"name": name})).json() == shown
    assert "model is required" in (await client.post("/api/show", json={})).text
    assert (await client.post("/api/show", json={"model": "other"})).status_code == httpx2.codes.NOT_FOUND
    [vector] = (await post(client, "/api/embed", {"input": "a", "model": f"{name}:latest"})).json()["embeddings"]
    assert (await post(client, "/api/embeddings", {"prompt": "a", "model": name})).json() == {"embedding": vector}


async def test_clients_of_ollama_find_a_model_by_its_alias() -> None:
    async with http(Runtime([served(aliases=("other",))], settings=settings(), metrics=Metrics())) as client:
        listed = (await client.get("/api/tags")).json()["models"]
        assert [(each["name"], each["model"]) for each in listed] == [("fake", "fake"), ("other", "other")]
        assert (await post(client, "/api/embed", {"input": "a", "model": "other:latest"})).json()["embeddings"]


@pytest.mark.parametrize(
    ("dialect", "field"), [("voyage", "detail"), ("ollama", "error"), ("tei", "error_type"), ("jina", "code")]
)
async def test_a_named_dialect_has_its_errors_on_every_path(client: httpx2.AsyncClient, dialect: str, field: str) -> None:
    """Releases of voyageai before 0.5 fail over `error` when it is an object, and send embeddings to OpenAI's path."""
    for path, body in (
        ("/v1/embeddings", {"input": "a", "output_dtype": "int8"}),
        ("/v1/embeddings", {"input": "a", "model": "x"}),
    ):
        refused = (await client.post(f"/compat/{dialect}{path}", json=body)).json()
        told = refused["error"] if dialect == "jina" else refused
        assert field in told
        assert dialect == "jina" or not isinstance(refused.get("error"), dict)
    assert (await post(client, f"/compat/{dialect}/v1/embeddings", {"input": "a"})).json()["data"]


async def test_models_are_listed_embedders_first() -> None:
    models = [served(name=name, operations=frozenset({task})) for name, task in (("ranks", RERANK), ("embeds", EMBED))]
    async with http(Runtime(models, settings=settings(), metrics=Metrics())) as both:
        assert [each["id"] for each in (await both.get("/v1/models")).json()["data"]] == ["embeds", "ranks"]


async def test_bare_rerank_of_query_and_documents_alone_repeats_score_and_text(client: httpx2.AsyncClient) -> None:
    body = {"query": "red fox", "documents": ["a cat", "the red fox"]}
    for result in (await post(client, "/rerank", body)).json()["results"]:
        assert result["score"] == result["relevance_score"]
        assert result["text"] == result["document"]["text"]
    for path, fields in (("/v1/rerank", {}), ("/rerank", {"top_n": 2}), ("/rerank", {"model": "fake"})):
        results = (await post(client, path, {**body, **fields})).json()["results"]
        assert {key for result in results for key in result} == {"index", "relevance_score", "document"}


async def test_scores_of_pairs_say_yes_or_no_beside_the_data(client: httpx2.AsyncClient) -> None:
    told = (await post(client, "/score", {"text_1": "red fox", "text_2": ["the red fox", "a cat"]})).json()
    assert [each["score"] for each in told["scores"]] == [each["score"] for each in told["data"]]
    assert [each["label"] for each in told["scores"]] == ["yes" if each["score"] >= 0.5 else "no" for each in told["data"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"query": "red fox", "documents": ["a cat"]}),
        ("/score", {"text_1": "red fox", "text_2": ["a cat"]}),
        ("/score", {"queries": "red fox", "documents": ["a cat"]}),
        ("/v1/embeddings", {"input": TEXTS}),
        ("/embed", {"inputs": TEXTS}),
    ],
)
async def test_sagemakers_path_takes_the_bodies_of_all_routes(
    client: httpx2.AsyncClient, path: str, body: dict[str, object]
) -> None:
    direct, through = [(await post(client, each, body)).json() for each in (path, "/invocations")]
    if isinstance(direct, dict):
        direct, through = [{**each, "id": "", "created": 0} for each in (direct, through)]
    assert direct == through


async def test_priors_are_fused_with_scores_and_both_are_returned(client: httpx2.AsyncClient) -> None:
    body = {"query": "red fox", "documents": ["a cat", "the red fox", "a red dog"]}
    alone = {each["index"]: each["relevance_score"] for each in (await post(client, "/v1/rerank", body)).json()["results"]}
    priors = [1.0, 0.0, 0.5]
    told = (await post(client, "/v1/rerank", {**body, "priors": priors, "prior_weight": 0.9, "top_n": 2})).json()
    assert [each["index"] for each in told["results"]] == [0, 2]
    assert told["priors"] == [1.0, 0.5]
    assert told["model_scores"] == [alone[0], alone[2]]
    assert told["results"][0]["relevance_score"] == pytest.approx(0.1 * alone[0] + 0.9)
    default = (await post(client, "/v1/rerank", {**body, "priors": priors})).json()["results"]
    assert {each["index"]: each["relevance_score"] for each in default}[0] == pytest.approx(0.7 * alone[0] + 0.3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"priors": [1]}, "as many numbers as there are documents"),
        ({"priors": [0.5, 1.5]}, "priors[1]"),
        ({"priors": [0.5, "much"]}, "priors[1]"),
        ({"prior_weight": 0.5}, "prior_weight needs priors"),
        ({"priors": [0, 1], "prior_weight": 2}, "prior_weight"),
        ({"priors": [0, 1], "raw_scores": True}, "leave out raw_scores"),
    ],
)
async def test_wrong_priors_are_refused_by_name(client: httpx2.AsyncClient, fields: dict[str, object], message: str) -> None:
    answer = await client.post("/v1/rerank", json={"query": "q", "documents": ["a", "b"], **fields})
    assert (answer.status_code, message in answer.json()["error"]["message"]) == (400, True), answer.text


async def test_pooling_returns_base64_on_request(client: httpx2.AsyncClient) -> None:
    numbers = (await post(client, "/pooling", {"input": TEXTS, "task": "embed"})).json()["data"]
    coded = (await post(client, "/pooling", {"input": TEXTS, "encoding_format": "base64"})).json()["data"]
    for one, other in zip(numbers, coded, strict=True):
        np.testing.assert_allclose(np.frombuffer(base64.b64decode(other["data"]), "<f4"), one["data"], rtol=1e-6)


async def test_prompt_of_a_request_goes_before_every_text(client: httpx2.AsyncClient) -> None:
    assert await vectors(client, ["b", "c"], prompt="a ") == await vectors(client, ["a b", "a c"], prompt_name="document")


async def test_key_can_be_checked(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/check-api-key")).json() == {"valid": True}


async def test_raw_scores_can_be_requested_in_every_dialect(client: httpx2.AsyncClient) -> None:
    body = {"query": "red fox", "documents": ["the red fox"]}
    raw = (await post(client, "/v1/rerank", {**body, "return_logits": True})).json()["logits"][0]
    assert (await post(client, "/v1/rerank", {**body, "use_activation": False})).json()["results"][0]["relevance_score"] == raw
    assert (await post(client, "/rerank", {**body, "raw_scores": True})).json()["results"][0]["relevance_score"] == raw
    pair = {"text_1": "red fox", "text_2": "the red fox", "use_activation": False}
    assert (await post(client, "/score", pair)).json()["data"][0]["score"] == raw
    assert (await post(client, "/predict", {"inputs": ["red fox", "the red fox"], "raw_scores": True})).json()[0][
        "score"
    ] == raw
    tei = {"query": "red fox", "texts": ["the red fox"], "raw_scores": True}
    assert (await post(client, "/rerank", tei)).json()[0]["score"] == raw


async def test_score_takes_the_instruction_as_vllm_does(client: httpx2.AsyncClient) -> None:
    pair = {"text_1": "red fox", "text_2": "a cat"}
    plain = (await post(client, "/score", pair)).json()["data"][0]["score"]
    told = [
        (await post(client, "/score", {**pair, **more})).json()["data"][0]["score"]
        for more in ({"instruction": "cat"}, {"instruction": "x", "chat_template_kwargs": {"instruction": "cat"}})
    ]
    assert told[0] == told[1] != plain


# -- tokens -------------------------------------------------------------------------------------------------------------


async def test_tokens_are_returned_in_three_dialects(client: httpx2.AsyncClient) -> None:
    [tei] = (await post(client, "/tokenize", {"inputs": "red fox"})).json()
    assert [each["text"] for each in tei] == ["red", "fox", "<end>"]
    assert [each["special"] for each in tei] == [False, False, True]
    assert [(each["start"], each["stop"]) for each in tei] == [(0, 3), (4, 7), (None, None)]
    vllm = (await post(client, "/tokenize", {"prompt": "red fox", "return_token_strs": True})).json()
    assert vllm == {"count": 3, "max_model_len": 8192, "tokens": [3, 3, 0], "token_strs": ["red", "fox", "<end>"]}
    assert (await post(client, "/tokenize", {"prompt": "red", "add_special_tokens": False})).json()["count"] == 1
    cohere = (await post(client, "/v1/tokenize", {"text": "red fox", "model": "fake"})).json()
    assert cohere == {"tokens": [3, 3], "token_strings": ["red", "fox"]}


async def test_ids_are_written_as_text(client: httpx2.AsyncClient) -> None:
    assert (await post(client, "/decode", {"ids": [3, 0, 2]})).json() == ["xxx xx"]
    assert (await post(client, "/decode", {"ids": [[3], [0, 2]], "skip_special_tokens": False})).json() == ["xxx", " xx"]
    assert (await post(client, "/detokenize", {"tokens": [3]})).json() == {"prompt": "xxx", "text": "xxx"}


# -- descriptions -------------------------------------------------------------------------------------------------------


async def test_tei_info_has_the_model_and_its_limits(client: httpx2.AsyncClient) -> None:
    told = (await client.get("/info")).json()
    assert next(iter(told["model_type"])) == "reranker"
    assert (told["model_id"], told["max_input_length"]) == ("fake", 8192)
    assert told["max_client_batch_size"] == settings().server.max_client_batch_size
    async with http(runtime(FakeEngine(), FakeEngine())) as two:
        assert (await two.get("/m/fake-1/info")).json()["model_id"] == "fake-1"
        assert (await two.get("/m/unknown/info")).status_code == 404


async def test_embedder_is_listed_as_an_embedder() -> None:
    service = Runtime([served(operations=frozenset({EMBED}))], settings=settings(), metrics=Metrics())
    async with http(service) as client:
        assert next(iter((await client.get("/info")).json()["model_type"])) == "embedding"
        assert (await client.get("/v1/models/fake")).json()["model_type"] == "embedding"
        # Text Embeddings Inference has words of its own for a model that does something else.
        refused = await client.post("/rerank", json={"query": "q", "texts": ["t"], "model": "fake"})
        assert (refused.status_code, refused.json()["error_type"]) == (424, "Backend")


async def test_xinference_clients_learn_whether_a_key_is_needed(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/cluster/auth")).json() == {"auth": False}
    async with http(runtime(api_key=["one"])) as guarded:
        assert (await guarded.get("/v1/cluster/auth")).json() == {"auth": True}


async def test_probes_of_every_server_are_answered(client: httpx2.AsyncClient) -> None:
    for path in ("/health", "/ready", "/ping", "/.well-known/live", "/.well-known/ready", "/load", "/meta", "/models"):
        assert (await client.get(path)).status_code == 200, path
    assert (await client.post("/ping")).status_code == 200
    assert isinstance((await client.get("/health")).json()["unix"], float)
    assert (await client.get("/load")).json() == {"server_load": 0}


# -- errors -------------------------------------------------------------------------------------------------------------


TEI = {"query": "red fox", "texts": ["a cat"]}
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"


async def test_errors_are_in_the_callers_words(client: httpx2.AsyncClient) -> None:
    tei = await client.post("/rerank", json={**TEI, "truncate": "perhaps"})
    assert (tei.status_code, tei.json()["error_type"]) == (422, "Validation")
    assert isinstance(tei.json()["error"], str)
    empty = await client.post("/embed", json={"inputs": []})
    assert (empty.status_code, empty.json()["error_type"]) == (400, "Empty")
    native = await client.post(NATIVE, json={"model": "unknown", "input": {"query": "q", "documents": ["d"]}})
    assert (native.status_code, native.json()["code"]) == (404, "Model.NotExist")
    assert native.json()["request_id"]
    weaviate = await client.post("/rerank", json={"query": "q", "documents": [5], "property": ""})
    assert (weaviate.status_code, type(weaviate.json()["error"])) == (400, str)
    sglang = await client.post("/compat/sglang/v1/rerank", json={"query": "", "documents": ["d"]})
    assert (sglang.json()["object"], sglang.json()["code"]) == ("error", 400)
    voyage = await client.post("/v1/rerank", json={"query": "q", "documents": [5], "top_k": 1})
    assert "error" not in voyage.json()
    assert voyage.json()["detail"]
    openai = await client.post("/v1/embeddings", json={"input": "a", "model": "unknown"})
    assert (openai.status_code, openai.json()["error"]["code"]) == (404, "model_not_found")


async def test_faults_of_the_engine_are_in_the_callers_words() -> None:
    def fault(_: Batch) -> None:
        raise EngineError("It failed.")

    async with http(runtime(FakeEngine(fault=fault))) as client:
        tei = await client.post("/rerank", json=TEI)
        assert (tei.status_code, tei.json()["error_type"]) == (424, "Backend")
        native = await client.post(NATIVE, json={"input": {"query": "q", "documents": ["d"]}})
        assert (native.status_code, native.json()["code"]) == (500, "InternalError")


async def test_unsupported_vectors_are_refused_with_the_supported_ones(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/embed_all", json={"inputs": TEXTS})
    assert refused.status_code == 404
    assert "/embed makes one" in refused.json()["error"]
    refused = await client.post("/embed_sparse", json={"inputs": TEXTS})
    assert (refused.status_code, refused.json()["error"]) == (404, "No model here can embed_sparse. Served here: fake.")


async def test_failed_engine_is_unhealthy_in_tei_terms() -> None:
    def fault(_: Batch) -> None:
        raise EngineUnavailable("It is gone.")

    async with http(runtime(FakeEngine(fault=fault))) as client:
        tei = await client.post("/rerank", json=TEI)
        assert (tei.status_code, tei.json()["error_type"]) == (503, "Unhealthy")


async def test_too_many_are_refused_in_every_dialect() -> None:
    async with http(runtime(max_client_batch_size=2)) as client:
        three = ["a", "b", "c"]
        for path, body, field in (
            ("/rerank", {"query": "q", "texts": three}, "texts"),
            (NATIVE, {"input": {"query": "q", "documents": three}}, "input.documents"),
            ("/score", {"text_1": "q", "text_2": three}, "text_2"),
            ("/embed", {"inputs": three}, "inputs"),
            ("/similarity", {"inputs": {"source_sentence": "q", "sentences": three}}, "inputs.sentences"),
        ):
            response = await client.post(path, json=body)
            assert response.status_code in {400, 422}
            assert f"{field} has" in response.text
            assert "max_client_batch_size" in response.text
