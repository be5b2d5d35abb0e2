"""Auth, caller limits and CORS together, in front of the routes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx2
import pytest

from shortlist.api.app import create_app
from tests.support.apps import http, running, runtime
from tests.support.fake_engine import FakeEngine

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
ORIGIN = "https://app.example"


def allowed(response: httpx2.Response) -> str | None:
    origin: str | None = response.headers.get("access-control-allow-origin")
    return origin


# -- how much -----------------------------------------------------------------------------------------------------------


async def test_caller_over_its_rate_gets_429_with_retry_after() -> None:
    async with http(runtime(max_requests_per_minute=1)) as client:
        first, second = [await client.post("/v1/rerank", json=ASK) for _ in range(2)]
        assert first.status_code == 200
        assert second.status_code == 429
        assert 1 <= int(second.headers["retry-after"]) <= 60
        assert second.json()["error"]["code"] == "rate_limit_exceeded"
        assert "max_requests_per_minute" in second.json()["message"]


async def test_keys_are_limited_separately() -> None:
    service = runtime(max_requests_per_minute=1, api_key=["one", "two"])
    async with http(service) as client:
        statuses = [
            (await client.post("/v1/rerank", json=ASK, headers={"x-api-key": key})).status_code for key in ("one", "two", "one")
        ]
    assert statuses == [200, 200, 429]


async def test_addresses_are_limited_separately_without_keys() -> None:
    service = runtime(max_requests_per_minute=1)
    async with running(service):
        app = create_app(service)
        statuses = []
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            transport = httpx2.ASGITransport(app, client=(host, 1))
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                statuses.append((await client.post("/v1/rerank", json=ASK)).status_code)
    assert statuses == [200, 200, 429]


async def test_probes_lists_and_metrics_are_never_limited() -> None:
    async with http(runtime(max_requests_per_minute=1, max_concurrent_requests_per_caller=1)) as client:
        await client.post("/v1/rerank", json=ASK)
        for path in ("/health", "/ready", "/version", "/metrics", "/v1/models", "/docs"):
            assert {(await client.get(path)).status_code for _ in range(5)} == {200}, path


async def test_caller_over_its_concurrency_gets_429_until_a_request_ends() -> None:
    async with http(runtime(FakeEngine(step_s=0.05), max_concurrent_requests_per_caller=2)) as client:
        asked = [client.post("/v1/rerank", json={**ASK, "query": f"fox {number}"}) for number in range(6)]
        statuses = sorted(response.status_code for response in await asyncio.gather(*asked))
        assert statuses == [200, 200, 429, 429, 429, 429]
        assert (await client.post("/v1/rerank", json=ASK)).status_code == 200


async def test_unauthenticated_requests_do_not_count() -> None:
    async with http(runtime(max_requests_per_minute=1, api_key=["one"])) as client:
        assert {(await client.post("/v1/rerank", json=ASK)).status_code for _ in range(5)} == {401}
        assert (await client.post("/v1/rerank", json=ASK, headers={"x-api-key": "one"})).status_code == 200


# -- from which page ----------------------------------------------------------------------------------------------------


async def test_without_origins_cross_origin_pages_are_refused() -> None:
    async with http(runtime()) as client:
        assert (await client.options("/v1/rerank", headers={"origin": ORIGIN, **PREFLIGHT})).status_code == 405
        assert allowed(await client.post("/v1/rerank", json=ASK, headers={"origin": ORIGIN})) is None


@pytest.mark.parametrize("origins", [[ORIGIN], ["https://other.example", ORIGIN], ["*"]])
async def test_page_of_an_allowed_origin_can_send_and_read(origins: list[str]) -> None:
    async with http(runtime(cors_origin=origins, api_key=["one"])) as client:
        asked = await client.options("/v1/rerank", headers={"origin": ORIGIN, **PREFLIGHT})
        assert asked.status_code == 200
        assert allowed(asked) in {ORIGIN, "*"}
        assert "authorization" in asked.headers["access-control-allow-headers"].lower()
        headers = {"origin": ORIGIN, "authorization": "Bearer one"}
        answer = await client.post("/v1/rerank", json=ASK, headers=headers)
        assert answer.status_code == 200
        assert allowed(answer) in {ORIGIN, "*"}
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_page_of_another_origin_gets_no_cors_headers() -> None:
    async with http(runtime(cors_origin=[ORIGIN])) as client:
        for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
            asked = await client.options("/v1/rerank", headers={"origin": origin, **PREFLIGHT})
            assert (asked.status_code, allowed(asked)) == (400, None)
            assert allowed(await client.post("/v1/rerank", json=ASK, headers={"origin": origin})) is None


@pytest.mark.parametrize("origins", [[ORIGIN], ["*"]])
async def test_browsers_own_credentials_are_never_allowed(origins: list[str]) -> None:
    async with http(runtime(cors_origin=origins)) as client:
        for headers in ({"origin": ORIGIN, **PREFLIGHT}, {"origin": ORIGIN, "cookie": "a=b", **PREFLIGHT}):
            answers = [
                await client.options("/v1/rerank", headers=headers),
                await client.post("/v1/rerank", json=ASK, headers=headers),
            ]
            assert all("access-control-allow-credentials" not in answer.headers for answer in answers)


REFUSED: Mapping[int, tuple[Mapping[str, str], bytes]] = {
    400: ({"x-api-key": "one"}, b"{"),
    401: ({}, b"{}"),
    413: ({"x-api-key": "one"}, b"x" * 2000),
    415: ({"x-api-key": "one", "content-encoding": "gzip"}, b"{}"),
}


@pytest.mark.parametrize("status", REFUSED)
async def test_page_can_read_error_bodies(status: int) -> None:
    headers, body = REFUSED[status]
    async with http(runtime(cors_origin=[ORIGIN], api_key=["one"], max_body_bytes=1000)) as client:
        answer = await client.post("/v1/rerank", content=body, headers={"origin": ORIGIN, **headers})
        assert (answer.status_code, allowed(answer)) == (status, ORIGIN)


async def test_preflight_reveals_no_paths_without_a_key() -> None:
    async with http(runtime(cors_origin=[ORIGIN], api_key=["one"])) as client:
        paths = ("/v1/rerank", "/nowhere", "/v1/models/fake", "/ui/")
        answers = [await client.options(path, headers={"origin": ORIGIN, **PREFLIGHT}) for path in paths]
    assert len({(answer.status_code, answer.content, repr(sorted(answer.headers.items()))) for answer in answers}) == 1
