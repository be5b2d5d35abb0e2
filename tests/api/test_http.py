"""The HTTP layer in process: tasks, models, errors, and what bad input gets."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.parse import unquote

import httpx2
import numpy as np
import pytest

from shortlist import __version__
from shortlist.errors import EngineUnavailable
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import Batch
from tests.support.apps import http, runtime, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulated

ASK = {"query": "red fox", "documents": ["a cat", "the red fox", "a red cat"]}


async def post(body: object, path: str = "/v1/rerank", *, engine: FakeEngine | None = None, **flat: object) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http(runtime(*([engine] if engine else []), **flat)) as client:
        return await client.post(path, content=content)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_rerank_answers_in_the_shared_shape(path: str) -> None:
    response = await post(ASK, path)
    assert response.status_code == 200
    body = response.json()
    assert [result["index"] for result in body["results"]] == [1, 2, 0]
    assert body["results"][0]["document"] == {"text": "the red fox"}
    assert body["id"] == f"rerank-{response.headers['x-request-id']}"


async def test_times_and_the_serving_model_are_in_the_headers() -> None:
    response = await post(ASK, engine=FakeEngine(step_s=0.02))
    for name in ("x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert int(response.headers[name]) >= 0
    assert 20 <= int(response.headers["x-inference-time"]) <= int(response.headers["x-total-time"])
    assert response.headers["x-served-model"] == "fake"


@pytest.mark.parametrize(("path", "field"), [("/v1/rerank", "documents"), ("/v1/embeddings", "input")])
async def test_cache_hits_are_in_the_headers(path: str, field: str) -> None:
    async with http(runtime()) as client:
        for texts, num_hits in ((["a", "b"], 0), (["b", "c", "a", "b"], 3)):
            response = await client.post(path, json={field: texts, "query": "q"} if field == "documents" else {field: texts})
            assert response.headers["x-cache-hits"] == str(num_hits)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-Reranker-0.6B", "重排模型", "a\r\nset-cookie: b"])
async def test_model_of_any_name_answers(name: str) -> None:
    metrics = Metrics()
    async with http(Runtime([served(name=name, metrics=metrics)], settings=settings(), metrics=metrics)) as client:
        response = await client.post("/v1/rerank", json=ASK)
    assert response.status_code == 200
    assert response.json()["model"] == name
    assert unquote(response.headers["x-served-model"]) == name
    assert "set-cookie" not in response.headers
    assert name != "Qwen/Qwen3-Reranker-0.6B" or response.headers["x-served-model"] == name


async def test_scores_are_always_written_as_floats() -> None:
    response = await post({"query": "a", "documents": ["a b", "b"]})
    assert '"relevance_score":0.9' in response.text
    cached = await post({"query": "x", "documents": ["a"], "raw_scores": True})
    assert '"relevance_score":-8.0' in cached.text


async def test_embeddings_answer_in_openais_shape() -> None:
    body = (await post({"input": ["a", "b"]}, "/v1/embeddings")).json()
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert np.linalg.norm(body["data"][0]["embedding"]) == pytest.approx(1, abs=1e-6)


async def test_explanation_shows_prompt_logits_and_token_counts() -> None:
    response = await post(ASK, "/v1/explain", explain=True)
    assert response.status_code == 200
    body = response.json()
    assert body["prompt"] == {"template": "words/1", "preset": "default", "instruction": None}
    second = body["documents"][1]
    assert second["prompt"] == "red fox | the red fox"
    assert second["logits"]["yes"] - second["logits"]["no"] == pytest.approx(second["log_odds"])
    assert (second["tokens_used"], second["truncated"], second["cached"]) == (3, False, False)


async def test_explaining_is_off_unless_enabled_and_for_a_few_documents() -> None:
    assert (await post(ASK, "/v1/explain")).status_code == 404
    many = await post({"query": "q", "documents": ["a"] * 33}, "/v1/explain", explain=True)
    assert (many.status_code, many.json()["error"]["param"]) == (400, "documents")


async def test_models_are_listed_and_described() -> None:
    async with http(runtime()) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        one = (await client.get("/v1/models/fake")).json()
        missing = await client.get("/v1/models/some/body")
    assert [card["id"] for card in listed] == ["fake"]
    assert one == listed[0]
    assert one["tasks"] == ["rerank", "embed"]
    assert missing.status_code == 404


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/docs", "/openapi.json", "/metrics", "/"])
async def test_service_routes_answer(path: str) -> None:
    async with http(runtime()) as client:
        response = await client.get(path)
    assert response.status_code == 200
    if path == "/version":
        assert response.json() == {"version": __version__}


async def test_docs_load_nothing_from_elsewhere() -> None:
    async with http(runtime()) as client:
        page = (await client.get("/docs")).text
        script = await client.get("/docs/static/swagger-ui-bundle.js")
    assert "http://" not in page
    assert "https://" not in page
    assert script.status_code == 200


async def test_openapi_shows_shapes_and_examples() -> None:
    async with http(runtime()) as client:
        document = (await client.get("/openapi.json")).json()
    content = document["paths"]["/v1/rerank"]["post"]["requestBody"]["content"]["application/json"]
    assert {"query", "documents", "top_n", "instruction"} <= set(content["schema"]["properties"])
    assert content["schema"]["required"] == ["query", "documents"]
    assert "$ref" not in json.dumps(content)
    assert content["examples"]
    tags = {path: methods["post"]["tags"] for path, methods in document["paths"].items() if "post" in methods}
    usual = {path for path, tag in tags.items() if tag == ["tasks"]}
    assert usual == {"/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/embeddings", "/v1/explain"}
    assert tags["/v1/ranking"] == ["other dialects"]


async def test_metrics_count_requests_documents_and_tokens() -> None:
    async with http(runtime()) as client:
        await client.post("/v1/rerank", json=ASK)
        await client.post("/v1/rerank", json=ASK)
        await client.post("/v1/rerank", json={})
        text = (await client.get("/metrics")).text
    assert 'shortlist_requests_total{dialect="superset",model="fake",route="/v1/rerank",status="200",task="rerank"} 2.0' in text
    assert 'shortlist_requests_total{dialect="",model="",route="/v1/rerank",status="400",task=""} 1.0' in text
    assert 'shortlist_cache_hits_total{model="fake"} 3.0' in text
    assert 'shortlist_documents_total{model="fake",task="rerank"} 6.0' in text
    assert 'shortlist_neutralised_tokens_total{model="fake"} 0.0' in text
    assert "shortlist_ready 1.0" in text
    assert 'shortlist_model_info{device="none",dtype="none",fingerprint="fake",model="fake"} 1.0' in text


@pytest.mark.parametrize("sent", ["abc-1", "A.b:c_d"])
async def test_request_id_is_echoed(sent: str) -> None:
    async with http(runtime()) as client:
        response = await client.post("/v1/rerank", json=ASK, headers={"x-request-id": sent})
    assert response.headers["x-request-id"] == sent


async def test_request_id_that_could_be_smuggled_into_logs_is_replaced() -> None:
    async with http(runtime()) as client:
        response = await client.post("/v1/rerank", json=ASK, headers={"x-request-id": "a b=c"})
    assert response.headers["x-request-id"] != "a b=c"


BAD_BODIES: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"canary", None),
    (b'"canary"', None),
    (b"[]", None),
    (b"{}", "documents"),
    (b'{"query": "canary"}', "documents"),
    (b'{"query": "canary", "documents": []}', "documents"),
    (b'{"query": "", "documents": ["canary"]}', "query"),
    (b'{"query": "canary", "documents": ["canary", null]}', "documents[1]"),
    (b'{"query": "q", "documents": ["canary"], "top_n": -1}', "top_n"),
    (b'{"query": "q", "documents": ["canary"], "top_n": NaN}', None),
    (b'{"query": "q", "documents": ["canary"], "top_n": Infinity}', None),
    (b'{"query": "q", "documents": ["canary"], "top_n": "canary"}', "top_n"),
    (b'{"query": "q", "documents": ["canary"], "top_n": 1e400}', None),
    (b'{"query": "canary\xff", "documents": ["a"]}', None),
    (b'{"query": "canary", "documents": ["a"]', None),
    (b"[" * 100_000, None),
    (b'{"query": ' + b"9" * 5000 + b', "documents": ["canary"]}', None),
    (json.dumps({"query": "q", "documents": ["canary"] * 10_000}).encode(), "documents"),
]


@pytest.mark.parametrize(("body", "param"), BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_bad_body_gets_a_clear_400_that_names_the_field_and_echoes_nothing(body: bytes, param: str | None) -> None:
    response = await post(body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert "canary" not in response.text
    assert len(response.content) < 2000


async def test_wrong_type_in_a_large_body_is_not_sent_back() -> None:
    response = await post({"query": "q", "documents": {"canary": "x" * 3_000_000}})
    assert response.status_code == 400
    assert len(response.content) < 2000


async def test_nul_bidi_and_combining_marks_are_text_like_any_other() -> None:
    documents = ["a\0b", "\u202eabc", "e" + "\u0301" * 500, "\U0001f600", ""]
    response = await post({"query": "a\0", "documents": documents})
    assert response.status_code == 200
    assert {result["document"]["text"] for result in response.json()["results"]} == set(documents)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({**ASK, "model": "canary"}, 404, "model"),
        ({"input": "a", "dimensions": 9}, 400, "dimensions"),
        ({"input": ["a"] * 3000}, 400, "input"),
    ],
)
async def test_service_errors_have_their_status(body: dict[str, object], status: int, param: str) -> None:
    response = await post(body, "/v1/embeddings" if "input" in body else "/v1/rerank")
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert "canary" not in response.text


async def test_unknown_path_and_method_have_our_body() -> None:
    async with http(runtime()) as client:
        missing = await client.get("/nowhere")
        wrong = await client.get("/v1/rerank")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    for response in (missing, wrong):
        assert response.json()["request_id"] == response.headers["x-request-id"]


@simulated
async def test_overload_is_a_429_with_retry_after() -> None:
    async with http(runtime(FakeEngine(step_s=0.1), max_concurrent_requests=1)) as client:
        first = asyncio.create_task(client.post("/v1/rerank", json=ASK))
        await asyncio.sleep(0.03)
        second = await client.post("/v1/rerank", json={**ASK, "query": "other"})
        assert (await first).status_code == 200
    assert second.status_code == 429
    assert int(second.headers["retry-after"]) >= 1


async def test_deadline_is_a_504() -> None:
    response = await post({**ASK, "timeout_ms": 20}, engine=FakeEngine(step_s=1))
    assert response.status_code == 504


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/embeddings"])
async def test_deadline_in_a_header_is_a_504_whatever_the_dialect(path: str) -> None:
    body = ASK if path == "/v1/rerank" else {"input": "a"}
    async with http(runtime(FakeEngine(step_s=1))) as client:
        response = await client.post(path, json=body, headers={"X-Request-Timeout-Ms": "20"})
    assert response.status_code == 504


async def test_partial_request_returns_the_documents_scored_in_time() -> None:
    documents = [f"fox number {number}" for number in range(8)]
    body = {"query": "fox", "documents": documents, "timeout_ms": 120, "partial": True, "return_documents": False}
    engine = FakeEngine(step_s=0.05)
    answer = (await post(body, engine=engine, max_batch_tokens=9, max_model_len=9)).json()
    scored = [result["index"] for result in answer["results"]]
    late = [each["index"] for each in answer["failed_documents"]]
    assert scored
    assert late
    assert sorted(scored + late) == list(range(8))
    assert all("deadline" in each["message"] for each in answer["failed_documents"])


async def test_nothing_scored_in_time_is_a_504_all_the_same() -> None:
    response = await post({**ASK, "timeout_ms": 20, "partial": True}, engine=FakeEngine(step_s=1))
    assert response.status_code == 504


@pytest.mark.parametrize(("name", "value"), [("X-Request-Timeout-Ms", "soon"), ("X-Request-Priority", "urgent")])
async def test_header_that_cannot_be_read_is_a_400_that_names_it(name: str, value: str) -> None:
    async with http(runtime()) as client:
        response = await client.post("/v1/rerank", json=ASK, headers={name: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name
    assert value not in response.text


async def test_batch_request_is_answered_like_any_other() -> None:
    async with http(runtime()) as client:
        urgent, patient = [
            await client.post("/v1/rerank", json=ASK, headers={"X-Request-Priority": priority})
            for priority in ("interactive", "batch")
        ]
    assert urgent.json()["results"] == patient.json()["results"]


async def test_dead_engine_is_a_503_everywhere() -> None:
    def fault(_: Batch) -> None:
        raise EngineUnavailable("it died")

    async with http(runtime(FakeEngine(fault=fault))) as client:
        statuses = [(await client.post("/v1/rerank", json=ASK)).status_code for _ in range(2)]
        probes = [(await client.get(path)).status_code for path in ("/ready", "/health")]
    assert statuses == [503, 503]
    assert probes == [503, 503]


async def test_compressed_body_is_a_415() -> None:
    async with http(runtime()) as client:
        response = await client.post("/v1/rerank", content=b"x", headers={"content-encoding": "gzip"})
    assert response.status_code == 415


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "text/text_encoder", "application/x-www-form-urlencoded"]
)
async def test_json_is_accepted_under_any_content_type(content_type: str) -> None:
    async with http(runtime()) as client:
        response = await client.post("/v1/rerank", content=json.dumps(ASK), headers={"content-type": content_type})
    assert response.status_code == 200


async def test_bug_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    service = runtime()

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("canary")

    service.run = broken  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.ERROR, "shortlist"):
        async with http(service) as client:
            response = await client.post("/v1/rerank", json=ASK)
    assert response.status_code == 500
    assert "canary" not in response.text
    assert "unexpected error" in caplog.text


async def test_server_with_keys_refuses_requests_without_one() -> None:
    async with http(runtime(api_key=["key-1", "key-2"])) as client:
        refused = await client.post("/v1/rerank", json=ASK)
        allowed = await client.post("/v1/rerank", json=ASK, headers={"authorization": "Bearer key-2"})
        probe = await client.get("/ready")
    assert (refused.status_code, allowed.status_code, probe.status_code) == (401, 200, 200)
    assert refused.headers["www-authenticate"] == 'Basic realm="Shortlist"'


async def test_root_redirects_browsers_and_describes_the_server_to_programs() -> None:
    async with http(runtime()) as client:
        person = await client.get("/", headers={"accept": "text/html,*/*"})
        program = await client.get("/")
    assert person.headers["location"] == "docs"
    assert program.json()["name"] == "shortlist"


@pytest.mark.parametrize(
    ("path", "body", "dialect", "num_ignored"),
    [
        ("/v1/rerank", {"query": "q", "documents": ["a"], "top_n": 1}, "superset", 0),
        ("/v1/rerank", {"query": "q", "documents": ["a"], "priority": 3, "user": "me", "tempo": 1}, "superset", 1),
        ("/rerank", {"query": "q", "texts": ["a"], "raw_scores": False, "top_k": 1}, "tei", 1),
        ("/v1/score", {"queries": "q", "items": ["a"], "instruction": "find"}, "vllm", 0),
        ("/v1/embeddings", {"input": ["a"], "task": "retrieval.query", "late_chunking": False, "dtype": "x"}, "openai", 1),
    ],
)
async def test_ignored_fields_are_counted(path: str, body: object, dialect: str, num_ignored: int) -> None:
    async with http(runtime()) as client:
        assert (await client.post(path, json=body)).status_code == 200
        text = (await client.get("/metrics")).text
    assert f'shortlist_ignored_fields_total{{dialect="{dialect}"}} {float(num_ignored)}' in text
