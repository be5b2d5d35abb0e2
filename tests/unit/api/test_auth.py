"""Closed by default once there are keys; every client's spelling of a key is understood."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from shortlist.api.api_keys import ApiKeys, Role
from shortlist.api.auth import PUBLIC_PATHS, Auth
from shortlist.api.request_state import state_of
from shortlist.errors import Forbidden, Unauthenticated
from tests.support.wire import Wire, http_scope


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "inside"})


async def enter(
    path: str, headers: list[tuple[bytes, bytes]], keys: list[str], *, method: str = "POST", public: tuple[str, ...] = ()
) -> bool:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await Auth(_inside, keys=ApiKeys(keys), public=public)(scope, receive, send)
    return bool(sent)


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"authorization", b"Bearer key-2"),
        (b"authorization", b"bearer   key-2 "),
        (b"authorization", b"key-2"),
        (b"authorization", basic("anybody", "key-2")),
        (b"x-api-key", b"key-2"),
        (b"api-key", b"key-2"),
    ],
)
async def test_key_is_read_from_every_header_form(name: bytes, value: bytes) -> None:
    assert await enter("/v1/rerank", [(name, value)], ["key-1", "key-2"])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer key-10")],
        [(b"authorization", b"Bearer key")],
        [(b"authorization", b"Basic !!!")],
        [(b"authorization", basic("key-1", ""))],
        [(b"x-api-key", b"KEY-1")],
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/rerank/", "//v1/rerank", "/metrics", "/docs", "/ui/", "/", "/health/"])
async def test_everything_is_closed_without_a_valid_key(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated):
        await enter(path, headers, ["key-1"])


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
async def test_probes_need_no_key(path: str) -> None:
    assert await enter(path, [], ["key-1"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_front_door_is_open_and_nothing_behind_it(method: str) -> None:
    assert await enter("/", [], ["key-1"], method=method)
    for path in ("/metrics", "/docs", "//", "/ui", "/v1/models"):
        with pytest.raises(Unauthenticated):
            await enter(path, [], ["key-1"], method=method)


async def test_without_keys_the_server_is_open() -> None:
    assert await enter("/v1/rerank", [(b"authorization", b"Bearer None")], [])


# -- who it is ----------------------------------------------------------------------------------------------------------


async def caller(
    keys: list[str], *headers: tuple[bytes, bytes], path: str = "/v1/rerank", host: str | None = "192.0.2.7"
) -> str:
    """Return what those further inside are told of a caller."""
    told: list[str] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(state_of(scope).caller)

    wire = Wire()
    scope = {**http_scope(*headers, path=path), "client": (host, 1) if host else None}
    await Auth(inside, keys=ApiKeys(keys))(scope, wire.receive, wire.send)
    [name] = told
    return name


async def test_caller_id_of_a_key_is_its_digest_at_any_address() -> None:
    names = {await caller(["key-1"], (b"x-api-key", b"key-1"), host=host) for host in ("192.0.2.7", "192.0.2.8", None)}
    assert names == {hashlib.sha256(b"key-1").hexdigest()[:12]}


async def test_every_header_form_of_a_key_is_the_same_caller() -> None:
    sent = [(b"authorization", b"Bearer key-1"), (b"authorization", basic("a", "key-1")), (b"api-key", b"key-1")]
    assert len({await caller(["key-1"], each) for each in sent}) == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("/run/shortlist.sock", "/run/shortlist.sock"),
        (None, "unknown"),
    ],
)
async def test_caller_id_without_a_key_is_the_address(host: str | None, name: str) -> None:
    assert await caller([], host=host) == name


async def test_one_ipv6_network_is_one_caller() -> None:
    assert (
        await caller([], host="2001:db8::1")
        == await caller([], host="2001:db8::ffff:1")
        != await caller([], host="2001:db8:0:1::1")
    )


async def test_caller_id_of_a_probe_without_a_key_is_the_address() -> None:
    assert await caller(["key-1"], path="/health") == "192.0.2.7"


async def test_key_is_ignored_without_configured_keys() -> None:
    assert await caller([], (b"x-api-key", b"anything")) == "192.0.2.7"


async def test_websocket_of_a_stranger_is_closed_without_an_error() -> None:
    wire = Wire()
    await Auth(_inside, keys=ApiKeys(["key-1"]))({**http_scope(path="/ui/"), "type": "websocket"}, wire.receive, wire.send)
    assert wire.sent == [{"type": "websocket.close", "code": 1008}]


async def test_websocket_with_a_key_is_accepted() -> None:
    wire = Wire()
    scope = {**http_scope((b"x-api-key", b"key-1"), path="/ui/"), "type": "websocket"}
    await Auth(_inside, keys=ApiKeys(["key-1"]))(scope, wire.receive, wire.send)
    assert wire.sent == [{"type": "inside"}]


async def test_lifespan_has_no_caller() -> None:
    wire = Wire()
    await Auth(_inside, keys=ApiKeys(["key-1"]))({"type": "lifespan"}, wire.receive, wire.send)
    assert wire.sent == [{"type": "inside"}]


async def test_path_that_was_made_public_needs_no_key_and_no_other_path_does() -> None:
    assert await enter("/metrics", [], ["key-1"], public=("/metrics",))
    with pytest.raises(Unauthenticated):
        await enter("/metrics", [], ["key-1"])
    with pytest.raises(Unauthenticated):
        await enter("/metrics/", [], ["key-1"], public=("/metrics",))


# -- roles --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(tmp_path: Path) -> ApiKeys:
    file = tmp_path / "keys"
    file.write_text("search:read:r\nsearch:write:w\npool:worker:k\n")
    return ApiKeys(file=file)


async def identified(keys: ApiKeys, key: bytes, *, method: str, path: str) -> tuple[str, Role]:
    """Return caller and role of a request as the inner application sees them."""
    seen: list[tuple[str, Role]] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((state_of(scope).caller, state_of(scope).role))

    wire = Wire()
    scope = {**http_scope((b"x-api-key", key), method=method, path=path), "client": ("192.0.2.7", 1)}
    await Auth(inside, keys=keys)(scope, wire.receive, wire.send)
    [found] = seen
    return found


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/1", "/v1/files/1/content", "/metrics", "/health"])
@pytest.mark.parametrize(("key", "role"), [(b"r", Role.READ), (b"w", Role.WRITE)])
async def test_every_key_of_an_owner_reads_as_this_owner(owned: ApiKeys, key: bytes, role: Role, path: str) -> None:
    assert await identified(owned, key, method="GET", path=path) == ("search", role)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/jobs/1", "/v1/check-api-key", "/ping"])
async def test_key_that_reads_does_nothing_else(owned: ApiKeys, method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        await identified(owned, b"r", method=method, path=path)
    assert await identified(owned, b"w", method=method, path=path) == ("search", Role.WRITE)


async def test_key_that_reads_opens_no_websocket(owned: ApiKeys) -> None:
    wire = Wire()
    scope = {"type": "websocket", "path": "/ui/", "headers": [(b"x-api-key", b"r")]}
    await Auth(_inside, keys=owned)(scope, wire.receive, wire.send)
    assert wire.sent == [{"type": "websocket.close", "code": 1008}]


async def test_worker_runs_tasks_as_its_own_owner(owned: ApiKeys) -> None:
    assert await identified(owned, b"k", method="POST", path="/v1/rerank") == ("pool", Role.WORKER)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/1/result", "/v1/files", "/v1/files/1", "/v1/batches/1/cancel", "/v1/files/\n"]
)
async def test_worker_does_not_see_what_belongs_to_owners(owned: ApiKeys, method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        await identified(owned, b"k", method=method, path=path)
    assert await identified(owned, b"k", method="POST", path="/v1/jobsandmore")
