"""What is believed of a reverse proxy's headers, and where a path prefix begins and ends."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_network

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from shortlist.api.app import check_root_path, create_app
from shortlist.api.proxy_headers import ProxyHeaders, without_prefix
from shortlist.api.request_state import state_of
from shortlist.errors import BadSetting, InvalidInput
from tests.support.apps import running, runtime, scope_behind, settings

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PROXY = "10.0.0.1"


async def passed(
    *headers: tuple[str, str], peer: str | None = PROXY, path: str = "/", root_path: str = "", kind: str = "http"
) -> Scope:
    """Return the scope that the application gets."""
    scope = {
        "type": kind,
        "path": path,
        "scheme": "http",
        "client": None if peer is None else (peer, 5),
        "headers": [(b"host", b"internal"), *((name.encode(), value.encode("latin-1")) for name, value in headers)],
    }
    return await scope_behind(partial(ProxyHeaders, trusted=TRUSTED, root_path=root_path), scope)


async def caller(*values: str, peer: str | None = PROXY) -> str:
    scope = await passed(*(("x-forwarded-for", value) for value in values), peer=peer)
    return str(scope["client"][0])


# -- addresses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1, 10.0.0.2,10.0.0.3"], "192.0.2.1"),
        (["6.6.6.6", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711, fd00::2"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, ::ffff:10.0.0.9"], "6.6.6.6"),
        (["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
    ],
)
async def test_last_address_that_is_not_trusted_counts(values: list[str], found: str) -> None:
    assert await caller(*values) == found


@pytest.mark.parametrize("peer", ["192.0.2.9", "::1", "testclient", "", "fe80::1%eth0"])
async def test_header_of_an_untrusted_peer_is_ignored(peer: str) -> None:
    assert await caller("6.6.6.6", peer=peer) == peer


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
async def test_trusted_peer_may_have_any_notation(peer: str) -> None:
    assert await caller("192.0.2.1", peer=peer) == "192.0.2.1"


async def test_connection_without_an_address_is_not_trusted() -> None:
    assert (await passed(("x-forwarded-for", "6.6.6.6"), peer=None))["client"] is None


@pytest.mark.parametrize(
    "invalid",
    ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "[::1", "::1]", "fe80::1%eth0", "é", "1.2.3.4:http", ",", "9" * 9000],
)
async def test_invalid_address_ends_the_list(invalid: str) -> None:
    assert await caller(invalid) == PROXY
    assert await caller(f"6.6.6.6, {invalid}, 10.0.0.2") == "10.0.0.2"
    assert await caller(f"{invalid}, 192.0.2.1") == "192.0.2.1"


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=255), max_size=40), max_size=4))
async def test_any_value_is_read_without_an_error(values: list[str]) -> None:
    assert await caller(*values)


# -- scheme, host, prefix ---------------------------------------------------------------------------------------------------


async def test_trusted_proxy_sets_scheme_host_and_prefix() -> None:
    headers = [
        ("x-forwarded-proto", "HTTPS"),
        ("x-forwarded-host", "rank.example:8443"),
        ("x-forwarded-prefix", "/deep/prefix/"),
    ]
    scope = await passed(*headers, path="/deep/prefix")
    assert (scope["scheme"], scope["headers"]) == ("https", [(b"host", b"rank.example:8443")])
    assert (state_of(scope).root_path, scope["path"]) == ("/deep/prefix", "/deep/prefix")  # the proxy has removed its prefix


async def test_prefix_that_the_proxy_removed_is_not_removed_again() -> None:
    scope = await passed(("x-forwarded-prefix", "/deep"), root_path="/deep", path="/deep/x")
    assert (state_of(scope).root_path, scope["path"]) == ("/deep", "/deep/x")
    scope = await passed(("x-forwarded-prefix", "/other"), root_path="/deep", path="/x")
    assert (state_of(scope).root_path, scope["path"]) == ("/other", "/x")


async def test_of_several_values_the_last_one_counts() -> None:
    headers = [("x-forwarded-proto", "http, https"), ("x-forwarded-host", "evil.example"), ("x-forwarded-host", "rank.example")]
    scope = await passed(*headers)
    assert (scope["scheme"], scope["headers"]) == ("https", [(b"host", b"rank.example")])


async def test_untrusted_peer_sets_nothing() -> None:
    headers = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"), ("x-forwarded-prefix", "/evil")]
    scope = await passed(*headers, ("x-gradio-server", "http://evil.example"), peer="192.0.2.9")
    assert (scope["scheme"], scope["headers"]) == ("http", [(b"host", b"internal")])
    assert state_of(scope).root_path == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Proto", "ftp"),
        ("X-Forwarded-Proto", "é"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", "rank.example/path"),
        ("X-Forwarded-Host", "user@rank.example"),
        ("X-Forwarded-Host", "rank.example:port"),
        ("X-Forwarded-Prefix", "deep"),
        ("X-Forwarded-Prefix", "/deep/../prefix"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", '/a"><script>'),
    ],
)
async def test_invalid_value_of_a_trusted_proxy_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await passed((name.lower(), value))
    assert error.value.param == name


@pytest.mark.parametrize("name", ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"])
async def test_empty_value_counts_as_none(name: str) -> None:
    scope = await passed((name, " "), root_path="/deep", path="/deep/x")
    assert (scope["scheme"], scope["headers"], scope["path"]) == ("http", [(b"host", b"internal")], "/x")


async def test_websocket_is_passed_on() -> None:
    assert (await passed(("x-forwarded-for", "192.0.2.1"), kind="websocket"))["client"] == (PROXY, 5)


# -- paths ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/deep/prefix/v1/rerank", "/v1/rerank"),
        ("/v1/rerank", "/v1/rerank"),
        ("/deep/prefix", "/"),
        ("/deep/prefix/", "/"),
        ("/deep/prefixes", "/deep/prefixes"),
        ("/deep", "/deep"),
        ("/", "/"),
        ("/deep/prefix/deep/prefix/x", "/deep/prefix/x"),
    ],
)
def test_prefix_is_removed_where_a_segment_ends(path: str, meant: str) -> None:
    assert without_prefix(path, "/deep/prefix") == meant


@pytest.mark.parametrize("root_path", ["/v1", "/ui", "/docs", "/m", "/compat", "/api", "/v2", "/.well-known"])
def test_root_path_with_which_own_paths_begin_is_refused(root_path: str) -> None:
    with pytest.raises(BadSetting, match=rf"--root-path.*{root_path}"):
        check_root_path(settings(root_path=root_path).server)


@pytest.mark.parametrize("root_path", ["", "/shortlist", "/deep/prefix", "/rerank", "/v1/shortlist", "/u"])
def test_other_root_path_is_taken(root_path: str) -> None:
    check_root_path(settings(root_path=root_path).server)


@pytest.mark.parametrize("prefix", ["", "/deep/prefix"])
async def test_api_works_with_and_without_the_prefix(prefix: str) -> None:
    service = runtime(root_path="/deep/prefix")
    async with (
        running(service),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(service)), base_url="http://localhost") as client,
    ):
        assert (await client.post(f"{prefix}/v1/rerank", json=ASK)).status_code == httpx2.codes.OK
        assert (await client.post(f"{prefix}/m/fake/compat/cohere/v2/rerank", json=ASK)).status_code == httpx2.codes.OK
        assert (await client.get(f"{prefix}/v1/models/fake")).json()["id"] == "fake"
        assert (await client.get(f"{prefix}/")).json()["docs"] == "/deep/prefix/docs"
        assert (await client.get(prefix or "/", headers={"accept": "text/html"})).headers["location"] == "/deep/prefix/docs"
        page = (await client.get(f"{prefix}/docs")).text
        assert "'/deep/prefix/openapi.json'" in page
        assert (await client.get(f"{prefix}/docs/static/swagger-ui.css")).status_code == httpx2.codes.OK
        assert (await client.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": "/deep/prefix"}]
        assert (await client.get("/deep/prefixes/health")).status_code == httpx2.codes.NOT_FOUND


async def test_prefix_of_a_trusted_proxy_needs_no_setting() -> None:
    service = runtime(trusted_proxy=["127.0.0.1"])
    async with (
        running(service),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(service)), base_url="http://localhost") as client,
    ):
        headers = {"x-forwarded-prefix": "/rerank"}
        assert (
            await client.post("/rerank", json={"query": "q", "texts": ["a"]}, headers=headers)
        ).status_code == httpx2.codes.OK
        assert "'/rerank/openapi.json'" in (await client.get("/docs", headers=headers)).text


async def test_keys_and_public_paths_hold_under_a_prefix() -> None:
    service = runtime(root_path="/deep/prefix", api_key=["one"])
    async with (
        running(service),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(service)), base_url="http://localhost/deep/prefix"
        ) as client,
    ):
        assert (await client.get("/health")).status_code == httpx2.codes.OK
        assert (await client.get("/docs")).status_code == httpx2.codes.UNAUTHORIZED
        assert (await client.post("/v1/rerank", json=ASK)).status_code == httpx2.codes.UNAUTHORIZED


async def test_site_rules_see_the_public_host() -> None:
    service = runtime(trusted_proxy=["127.0.0.1"], allowed_host=["rank.example"])
    async with (
        running(service),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(service)), base_url="http://10.0.0.5:8080") as client,
    ):
        forwarded = {"x-forwarded-host": "rank.example", "x-forwarded-proto": "https"}
        statuses = [
            (await client.post("/v1/rerank", json=ASK, headers=headers)).status_code
            for headers in (
                forwarded,
                forwarded | {"origin": "https://rank.example"},
                forwarded | {"origin": "https://evil.example"},
                forwarded | {"x-forwarded-host": "evil.example"},
                {},
            )
        ]
    assert statuses == [200, 200, 403, 421, 421]


async def test_invalid_header_is_answered_with_its_name() -> None:
    service = runtime(trusted_proxy=["127.0.0.1"])
    async with (
        running(service),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(service)), base_url="http://localhost") as client,
    ):
        answer = await client.get("/health", headers={"x-forwarded-proto": "gopher"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "X-Forwarded-Proto")
