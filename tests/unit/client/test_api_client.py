"""Both clients over a real socket: requests, responses, retries."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import email.utils
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from shortlist import errors
from shortlist.client import AsyncClient, Client, Ranking
from tests.support.script import Answer, ScriptedServer, fault
from tests.support.serving import free_port, serving

RANKED = {
    "id": "rerank-1",
    "object": "list",
    "model": "m",
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.25}],
    "usage": {"prompt_tokens": 12, "total_tokens": 12},
    "meta": {},
}
TIMED = {
    "x-total-time": "12.5",
    "x-tokenization-time": "1",
    "x-queue-time": "0.5",
    "x-inference-time": "10",
    "x-request-id": "r-9",
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedServer, str]]:
    script = ScriptedServer()
    with serving(script) as url:
        yield script, url


@pytest.fixture
def script(served: tuple[ScriptedServer, str]) -> ScriptedServer:
    served[0].play(Answer(body=RANKED))
    return served[0]


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, served: tuple[ScriptedServer, str]) -> Ask:
    """Call a client's method by name, through either client."""
    url = served[1]

    def call(method: str, *args: Any, client: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        options = {"base_url": url, "timeout_s": 10.0, **(client or {})}
        if request.param == "sync":
            with Client(**options) as blocking:
                return getattr(blocking, method)(*args, **kwargs)

        async def run() -> Any:
            async with AsyncClient(**options) as waiting:
                return await getattr(waiting, method)(*args, **kwargs)

        return asyncio.run(run())

    return call


# -- answers ------------------------------------------------------------------------------------------------------------


def test_ranking_is_parsed_completely(script: ScriptedServer, ask: Ask) -> None:
    body = {**RANKED, "truncated_documents": [1], "failed_documents": [{"index": 2, "message": "It is too long."}]}
    script.play(Answer(body=body, headers=TIMED))
    ranking = ask("rerank", "q", ["a", "b", "c"])
    assert isinstance(ranking, Ranking)
    assert [(result.index, result.score, result.text) for result in ranking.results] == [(1, 0.9, "b"), (0, 0.25, "a")]
    assert (ranking.model, ranking.num_tokens, ranking.request_id) == ("m", 12, "r-9")
    assert tuple(ranking.truncated) == (1,)
    assert [(item.index, item.message) for item in ranking.failed] == [(2, "It is too long.")]
    timing = ranking.timing_ms
    assert (timing.total, timing.tokenize, timing.queue, timing.compute) == (12.5, 1.0, 0.5, 10.0)


def test_rerank_sends_only_given_arguments(script: ScriptedServer, ask: Ask) -> None:
    ask("rerank", "q", ["a", "b"])
    assert script.asked[0].body == {"query": "q", "documents": ["a", "b"], "return_documents": False}
    ask("rerank", "q", ("a", "b"), model="m", instruction="i", top_n=1)
    assert script.asked[1].body == {
        "query": "q",
        "documents": ["a", "b"],
        "return_documents": False,
        "model": "m",
        "instruction": "i",
        "top_n": 1,
    }
    assert (script.asked[1].method, script.asked[1].path) == ("POST", "/v1/rerank")
    assert "authorization" not in script.asked[1].headers


def test_texts_are_omitted_without_return_documents(script: ScriptedServer, ask: Ask) -> None:
    assert [result.text for result in ask("rerank", "q", ["a", "b"], return_documents=False).results] == [None, None]


def test_rank_returns_the_format_of_sentence_transformers(script: ScriptedServer, ask: Ask) -> None:
    assert ask("rank", "q", ["a", "b"]) == [{"corpus_id": 1, "score": 0.9}, {"corpus_id": 0, "score": 0.25}]
    assert ask("rank", "q", ["a", "b"], 2, True) == [
        {"corpus_id": 1, "score": 0.9, "text": "b"},
        {"corpus_id": 0, "score": 0.25, "text": "a"},
    ]
    assert script.asked[1].body["top_n"] == 2


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_rank_has_the_signature_of_sentence_transformers(client: type[Client | AsyncClient]) -> None:
    library = pytest.importorskip("sentence_transformers")
    expected, actual = (
        [(each.name, each.default) for each in inspect.signature(kind.rank).parameters.values()][:5]
        for kind in (library.CrossEncoder, client)
    )
    assert actual == expected


def test_embeddings_keep_the_order_of_the_texts(script: ScriptedServer, ask: Ask) -> None:
    def encoded(*values: float) -> str:
        return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()

    data = [{"index": 1, "embedding": encoded(0.0, 1.0)}, {"index": 0, "embedding": encoded(0.5, -0.5)}]
    script.play(Answer(body={"object": "list", "model": "e", "data": data, "usage": {"total_tokens": 7}}))
    answer = ask("embed", ["a", "b"], model="e", is_query=True, instruction="i", dimensions=2)
    assert [vector.tolist() for vector in answer.vectors] == [[0.5, -0.5], [0.0, 1.0]]
    assert all(vector.dtype == np.float32 and vector.flags.writeable for vector in answer.vectors)
    assert (answer.model, answer.num_tokens) == ("e", 7)
    assert script.asked[0].body == {
        "input": ["a", "b"],
        "encoding_format": "base64",
        "model": "e",
        "input_type": "query",
        "instruction": "i",
        "dimensions": 2,
    }
    assert script.asked[0].path == "/v1/embeddings"


def test_models_are_listed_with_their_tasks(script: ScriptedServer, ask: Ask) -> None:
    entry = {"id": "m", "object": "model", "tasks": ["rerank"], "max_model_len": 512, "aliases": ["small"]}
    script.play(Answer(body={"object": "list", "data": [entry, {"id": "e", "tasks": ["embed"]}]}))
    reranker, embedder = ask("models")
    assert (reranker.name, reranker.is_reranker, reranker.max_model_len, reranker.aliases) == ("m", True, 512, ("small",))
    assert (embedder.name, embedder.is_reranker, embedder.max_model_len) == ("e", False, None)


@pytest.mark.parametrize(("status", "is_ready"), [(200, True), (503, False), (404, False)])
def test_is_ready_follows_the_status(script: ScriptedServer, ask: Ask, status: int, is_ready: bool) -> None:
    script.play(Answer(status, {}))
    assert ask("is_ready") is is_ready
    assert len(script.asked) == 1


def test_unreachable_server_is_not_ready(ask: Ask) -> None:
    assert ask("is_ready", client={"base_url": f"http://127.0.0.1:{free_port()}"}) is False


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_url_may_end_in_v1(script: ScriptedServer, ask: Ask, served: tuple[ScriptedServer, str], suffix: str) -> None:
    ask("rerank", "q", ["a", "b"], client={"base_url": served[1] + suffix, "api_key": "secret"})
    assert script.asked[0].path == "/v1/rerank"
    assert script.asked[0].headers["authorization"] == "Bearer secret"


# -- errors -----------------------------------------------------------------------------------------------------------

REFUSALS = [
    (Answer(400, fault("`query` is empty.", param="query")), errors.InvalidInput),
    (Answer(400, fault("Too long.", code="context_length_exceeded", param="documents[3]")), errors.InputTooLong),
    (Answer(401, fault("The key is wrong.", kind="authentication_error")), errors.Unauthenticated),
    (Answer(403, fault("Not yours.")), errors.Unauthenticated),
    (Answer(404, fault("No such model.", kind="model_not_found")), errors.UnknownModel),
    (Answer(408, fault("Too slow.")), errors.BodyTooSlow),
    (Answer(413, fault("Too large.", kind="request_too_large")), errors.RequestTooLarge),
    (Answer(415, fault("Not JSON.")), errors.UnsupportedMedia),
    (Answer(422, fault("Not this.")), errors.InvalidInput),
    (Answer(429, fault("The queue is full.", kind="rate_limit_exceeded"), {"retry-after": "7"}), errors.Overloaded),
    (Answer(500, fault("The batch failed.", kind="server_error")), errors.EngineError),
    (Answer(502, fault("The upstream failed.")), errors.UpstreamError),
    (Answer(503, fault("The engine is unavailable.", kind="server_error")), errors.EngineUnavailable),
    (Answer(503, fault("Still loading.", kind="unavailable")), errors.Draining),
    (Answer(504, fault("The deadline passed.")), errors.DeadlineExceeded),
]


@pytest.mark.parametrize(("answer", "kind"), REFUSALS, ids=lambda value: getattr(value, "__name__", None))
def test_error_response_raises_the_servers_error(
    script: ScriptedServer, ask: Ask, answer: Answer, kind: type[errors.ServiceError]
) -> None:
    answer.headers["x-request-id"] = "r-4"
    script.play(answer)
    with pytest.raises(kind) as caught:
        ask("rerank", "q", ["a"], client={"max_retries": 0})
    assert type(caught.value) is kind
    assert caught.value.message == answer.body["message"]
    assert caught.value.__notes__ == ["request id: r-4"]
    if isinstance(caught.value, errors.CallerError):
        assert caught.value.param == answer.body["error"]["param"]
    if isinstance(caught.value, errors.Overloaded):
        assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("body", [b"<html>nginx</html>", b"", b"[1]", {"error": None}, {"error": {"message": 3}}])
def test_error_response_without_message_has_a_default_message(script: ScriptedServer, ask: Ask, body: Any) -> None:
    script.play(Answer(418, body))
    with pytest.raises(errors.UpstreamError, match="answered 418 without a message") as caught:
        ask("rerank", "q", ["a"])
    assert caught.value.is_retryable is False


def test_message_of_another_error_format_is_parsed(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(413, {"error": "Payload too large", "error_type": "Validation"}))
    with pytest.raises(errors.RequestTooLarge, match="Payload too large"):
        ask("rerank", "q", ["a"])


def test_redirect_is_not_followed(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(307, b"", {"location": "http://127.0.0.1:9/elsewhere"}))
    with pytest.raises(errors.UpstreamError, match="answered 307"):
        ask("rerank", "q", ["a"], client={"api_key": "secret"})
    assert len(script.asked) == 1


# -- invalid responses -----------------------------------------------------------------------------------------

HALF = b'{"model": "m", "results": [{"index": 0, "relev'


@pytest.mark.parametrize(
    "body",
    [
        HALF,
        b"",
        b"[]",
        {"model": "m"},
        {**RANKED, "results": [3]},
        {**RANKED, "results": [{"index": 9, "relevance_score": 1.0}]},
        {**RANKED, "results": [{"index": True, "relevance_score": 1.0}]},
        {**RANKED, "results": [{"index": 0, "relevance_score": None}]},
        {**RANKED, "model": None},
        {**RANKED, "truncated_documents": [-1]},
        {**RANKED, "failed_documents": [{"index": 0}]},
        b'{"model": "m", "results": [{"index": 0, "relevance_score": NaN}]}',
    ],
)
def test_invalid_ranking_is_an_error(script: ScriptedServer, ask: Ask, body: Any) -> None:
    script.play(Answer(body=body))
    with pytest.raises(errors.UpstreamError, match="response is invalid") as caught:
        ask("rerank", "q", ["a", "b"])
    assert caught.value.is_retryable is False


@pytest.mark.parametrize(
    "data", [[], [{"index": 0, "embedding": "AAA"}], [{"index": 0, "embedding": "AAAA"}], [{"index": 0, "embedding": 5}]]
)
def test_invalid_vector_is_an_error(script: ScriptedServer, ask: Ask, data: Any) -> None:
    script.play(Answer(body={"model": "e", "data": data}))
    with pytest.raises(errors.UpstreamError, match="response is invalid"):
        ask("embed", ["a"])


def test_invalid_timing_header_is_ignored(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(body={"model": "m", "results": RANKED["results"]}, headers={"x-total-time": "soon"}))
    ranking = ask("rerank", "q", ["a", "b"])
    assert (ranking.timing_ms.total, ranking.timing_ms.queue, ranking.num_tokens) == (None, None, 0)


def test_connection_closed_early_raises_engine_unavailable(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(body=HALF, promised_bytes=1000))
    with pytest.raises(errors.EngineUnavailable, match="closed before the response was complete"):
        ask("rerank", "q", ["a"])


def test_refused_connection_names_the_address(ask: Ask) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(errors.EngineUnavailable, match=url):
        ask("rerank", "q", ["a"], client={"base_url": url})


# -- retries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_refused_call_is_retried_after_retry_after(script: ScriptedServer, ask: Ask, status: int) -> None:
    script.play(Answer(status, fault("Full."), {"retry-after": "1"}), Answer(body=RANKED))
    started_s = time.monotonic()
    assert ask("rerank", "q", ["a", "b"]).model == "m"
    assert time.monotonic() - started_s >= 1.0
    assert len(script.asked) == 2


def test_retry_after_may_be_a_date(script: ScriptedServer, ask: Ask) -> None:
    past = email.utils.format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5), usegmt=True)
    script.play(Answer(503, fault("Loading."), {"retry-after": past}), Answer(body=RANKED))
    assert ask("rerank", "q", ["a", "b"]).model == "m"


def test_retries_are_bounded(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(503, fault("Unavailable.")))
    with pytest.raises(errors.EngineUnavailable, match="Unavailable"):
        ask("rerank", "q", ["a"], client={"max_retries": 2})
    assert len(script.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 504])
def test_other_errors_are_not_retried(script: ScriptedServer, ask: Ask, status: int) -> None:
    script.play(Answer(status, fault("No."), {"retry-after": "0"}))
    with pytest.raises(errors.ServiceError):
        ask("rerank", "q", ["a"])
    assert len(script.asked) == 1


@pytest.mark.parametrize("client", [{"max_pause_s": 5.0}, {"timeout_s": 5.0, "max_pause_s": 60.0}])
def test_too_long_retry_after_raises_overloaded(script: ScriptedServer, ask: Ask, client: dict[str, float]) -> None:
    script.play(Answer(429, fault("Full."), {"retry-after": "30"}))
    with pytest.raises(errors.Overloaded) as caught:
        ask("rerank", "q", ["a"], client=client)
    assert caught.value.retry_after_s == 30.0
    assert len(script.asked) == 1


def test_slow_answer_raises_deadline_exceeded(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(body=RANKED, delay_s=1.0))
    with pytest.raises(errors.DeadlineExceeded, match="did not answer in time"):
        ask("rerank", "q", ["a"], timeout_s=0.2)


def test_expired_timeout_sends_nothing(script: ScriptedServer, ask: Ask) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        ask("rerank", "q", ["a"], timeout_s=0.0)
    assert script.asked == []


# -- validation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "param"), [(("q", "one text"), "documents"), (("\ud800", ["a"]), None)])
def test_invalid_arguments_are_refused_before_sending(script: ScriptedServer, ask: Ask, args: Any, param: str | None) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        ask("rerank", *args)
    assert caught.value.param == param
    assert script.asked == []


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://[::1", ""])
def test_base_url_must_be_a_url(url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="address"):
        Client(url)


@pytest.mark.parametrize("key", ["schlüssel", "two\r\nlines"])
def test_key_must_be_printable_ascii(key: str) -> None:
    with pytest.raises(errors.InvalidInput, match="API key") as caught:
        AsyncClient(api_key=key)
    assert key not in str(caught.value)


def test_both_clients_have_the_same_methods() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            twin = getattr(AsyncClient, name)
            blocking, waiting = inspect.signature(method).parameters, inspect.signature(twin).parameters
            assert [(each.name, each.kind, each.default) for each in blocking.values()] == [
                (each.name, each.kind, each.default) for each in waiting.values()
            ], name
            assert inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin), name


async def test_asgi_app_is_called_without_a_socket() -> None:
    script = ScriptedServer()
    script.play(Answer(body=RANKED))
    async with AsyncClient("http://app", transport=httpx2.ASGITransport(script)) as client:
        assert (await client.rerank("q", ["a", "b"])).results[0].index == 1
