"""With keys, every door is closed but a few: whatever path there is, in every encoding, by every method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from shortlist import ui
from shortlist.api.app import PAGE_PATH, create_app
from shortlist.api.auth import OWNED_PATHS, PUBLIC_PATHS
from shortlist.api.path_rewriting import normalized
from tests.support.apps import running, runtime
from tests.support.wire import Wire, http_scope, part

KEYS = ["key-of-today", "key-of-yesterday"]
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
OPEN = frozenset({"/health", "/ready", "/version", "/ping", "/.well-known/live", "/.well-known/ready", "/v1/cluster/auth"})
"""What a probe may ask without a key. A path that is added here is a path that anybody may call."""

FRONT_DOOR = frozenset({("GET", "/"), ("HEAD", "/")})
"""What says that there is a server, and where its page is. To POST to the same path is to ask for work."""

BAD_KEYS: tuple[dict[str, str], ...] = (
    {},
    {"authorization": "Bearer key-of-tomorrow"},
    {"authorization": "Bearer "},
    {"authorization": "Basic OmtleS1vZi10b21vcnJvdw=="},
    {"x-api-key": "key-of"},
    {"cookie": "access-token=key-of-today"},
)


def doors(routes: Iterable[BaseRoute], before: str = "") -> Iterator[str]:
    """Yield one path for every route there is, those of mounted applications and their files included."""
    for route in routes:
        if isinstance(route, Route):
            yield before + route.path.replace("{name:path}", "fake").replace("{", "").replace("}", "")
        elif isinstance(route, Mount) and isinstance(route.app, StaticFiles):
            yield from (f"{before}{route.path}/{file}" for file in files(route.app))
        elif isinstance(route, Mount):
            yield before + route.path
            yield from doors(route.routes, before + route.path)
        elif hasattr(route, "original_router"):  # how FastAPI keeps an included router
            yield from doors(route.original_router.routes, before)
        else:
            yield before + getattr(route, "path", "")


def files(app: StaticFiles) -> Iterator[str]:
    for folder in map(Path, app.all_directories):
        yield from (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def spellings(path: str) -> list[str]:
    """Return the ways to write a path that some router, proxy or filter takes for the same."""
    return [
        path,
        f"{path}/",
        f"/{path}",
        f"{path}//",
        path.replace("/", "//"),
        f"/.{path}",
        f"/health/..{path}",
        f"{path}?/health",
        f"{path};/health",
        f"{path}%2f",
        path.upper(),
    ]


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    service = runtime(api_key=KEYS)
    async with running(service):
        yield create_app(service)


async def ask(app: FastAPI, method: str, target: str, headers: dict[str, str]) -> Wire:
    """Send a request as a server would hand it on: no client here that tidies up the path."""
    path, _, query = target.partition("?")
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        **http_scope(*sent, method=method, path=unquote(path)),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }
    wire = Wire(part(b"{}"))
    await app(scope, wire.receive, wire.send)
    return wire


async def status(app: FastAPI, method: str, target: str, headers: dict[str, str]) -> int:
    [only] = (await ask(app, method, target, headers)).statuses
    return only


def test_every_route_is_known(app: FastAPI) -> None:
    paths = set(doors(app.routes))
    assert {"/v1/rerank", "/v2/rerank", "/rerank", "/v1/embeddings", "/embeddings", "/v1/models", "/v1/models/fake"} <= paths
    assert {"/", "/metrics", "/docs", "/openapi.json", *OPEN} <= paths
    assert any(path.startswith("/docs/static/") and path.endswith(".js") for path in paths)
    assert all(path.startswith("/") for path in paths), "a route of a kind that this test cannot see"


async def test_every_route_works_with_a_key(app: FastAPI) -> None:
    for path in doors(app.routes):
        missing = {401} if OWNED_PATHS.fullmatch(path) else {401, 404}  # 404: this server takes no jobs
        assert await status(app, "GET", path, {"authorization": f"Bearer {KEYS[0]}"}) not in missing, path


async def test_open_to_all_are_exactly_the_probes(app: FastAPI) -> None:
    answered = {path for path in doors(app.routes) if await status(app, "GET", path, {}) != 401}
    assert answered == OPEN | {"/"} == PUBLIC_PATHS | {"/"}


@pytest.mark.parametrize("method", METHODS)
async def test_no_path_form_and_no_method_works_without_a_key(app: FastAPI, method: str) -> None:
    for path in doors(app.routes):
        for spelling in spellings(path):
            meant = normalized(unquote(spelling.partition("?")[0]))
            if meant not in OPEN and (method, meant) not in FRONT_DOOR:
                assert await status(app, method, spelling, {}) == 401, (method, spelling)


@pytest.mark.parametrize("headers", BAD_KEYS, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_wrong_key_is_no_key(app: FastAPI, method: str, headers: dict[str, str]) -> None:
    for path in doors(app.routes):
        if path not in OPEN and (method, path) not in FRONT_DOOR:
            assert await status(app, method, path, headers) == 401, path


async def test_root_path_reveals_only_that_a_server_exists(app: FastAPI) -> None:
    wire = await ask(app, "GET", "/", {})
    assert orjson.loads(wire.body).keys() == {"name", "version", "docs"}


@pytest.mark.parametrize("path", ["/nowhere", "/ui", "/ui/", "/v1", "/v1/", "/docs/static/../../secret", "/%2e%2e/", "*"])
async def test_path_that_does_not_exist_tells_strangers_nothing(app: FastAPI, path: str) -> None:
    assert await status(app, "GET", path, {}) == 401


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE"])
async def test_probe_does_nothing_but_answer(app: FastAPI, method: str) -> None:
    asked = OPEN - {"/ping"} if method == "POST" else OPEN  # SageMaker's and vLLM's clients post it, and mean to get it
    assert {await status(app, method, path, {}) for path in sorted(asked)} == {405}


async def test_stranger_is_sent_away_before_a_byte_of_the_body_is_read(app: FastAPI) -> None:
    wire = await ask(app, "POST", "/v1/rerank", {"content-length": "2"})
    assert wire.statuses == [401]
    assert wire.num_received == 0


async def test_every_refusal_is_the_same(app: FastAPI) -> None:
    """What differs would say which paths, models or beginnings of keys there are."""
    answers = set()
    for path in ("/v1/models/fake", "/v1/models/other", "/nowhere", "/metrics"):
        for headers in BAD_KEYS:
            wire = await ask(app, "GET", path, {**headers, "x-request-id": "same"})
            answers.add(repr(wire.sent))
    assert len(answers) == 1


@pytest.mark.parametrize("key", KEYS)
async def test_old_and_new_key_are_valid_while_keys_change(app: FastAPI, key: str) -> None:
    assert await status(app, "GET", "/v1/models", {"authorization": f"Bearer {key}"}) == 200


async def test_stranger_cannot_open_a_websocket(app: FastAPI) -> None:
    wire = Wire({"type": "websocket.connect"})
    scope = {**http_scope(path="/ui/"), "type": "websocket", "query_string": b"", "root_path": "", "subprotocols": []}
    await app(scope, wire.receive, wire.send)
    assert wire.sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.skipif(not ui.is_available(), reason="gradio is not installed")
@pytest.mark.filterwarnings("ignore")  # gradio's own
async def test_page_with_all_its_routes_is_closed_too(app: FastAPI) -> None:
    before = set(doors(app.routes))
    page = ui.mount_page(app, path=PAGE_PATH)
    assert await status(app, "GET", f"{PAGE_PATH}/", {}) == 401
    assert not page.routes, "a stranger had the page built"
    assert await status(app, "GET", f"{PAGE_PATH}/", {"x-api-key": KEYS[0]}) == 200
    new = set(doors(app.routes)) - before
    assert sum(path.startswith(f"{PAGE_PATH}/") for path in new) > 10, "the page's own routes were not found"
    for path in new:
        for spelling in spellings(path)[:5]:
            for method in ("GET", "HEAD", "OPTIONS", "POST"):
                assert await status(app, method, spelling, {}) == 401, (method, spelling)
        assert await status(app, "GET", path, BAD_KEYS[1]) == 401, path
    await page.close()
