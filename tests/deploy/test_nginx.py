"""Real servers behind a real nginx, with the configuration of deploy/nginx: every promise of docs/deploy.md on it."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.examples import examples
from tests.support.nginx import CONFIGURATION, KEPT, PREFIX, REMOVED, WAIT_S, Nginx, missing_nginx, nginx
from tests.support.process import wait_until
from tests.support.recorder import RecordedServers, recorded_servers
from tests.support.serving import free_port

OK: Final = httpx2.codes.OK
MIB: Final = 1024 * 1024
PROXY: Final = ("--trusted-proxy", "127.0.0.1")
CADDY: Final = Path("deploy/caddy/Caddyfile")
ANY_RATE: Final = {"rate=100r/s": "rate=10000r/s"}
LONG_S: Final = 100.0
"""Longer than nginx waits for an answer by default, which is 60 s."""

KILLS: Final = examples(8, 50)
ROLLS: Final = examples(2, 10)
CALLERS: Final = 4
FAIL_TIMEOUT_S: Final = 1.5
"""More than `fail_timeout`, in which nginx does not try a server again that refused a connection."""
CUT_OFF: Final = 0

PREFIXES: Final = {
    "kept": KEPT,
    "removed": REMOVED,
    "removed and announced": REMOVED | {'X-Forwarded-Prefix ""': f"X-Forwarded-Prefix {PREFIX}"},
}


@pytest.fixture(scope="module", autouse=True)
def _nginx_is_installed() -> None:
    if reason := missing_nginx():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedServers]:
    with recorded_servers(tmp_path_factory.mktemp("servers"), *PROXY) as running:
        yield running


@pytest.fixture(scope="module")
def front(servers: RecordedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx(tmp_path_factory.mktemp("nginx"), servers.ports) as running:
        yield running


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedServers]:
    with recorded_servers(tmp_path_factory.mktemp("page"), *PROXY, "--root-path", PREFIX, "--ui", "true", count=1) as running:
        yield running


def ask(text: str) -> dict[str, Any]:
    return {"query": "red fox", "documents": ["a cat", text]}


def request(path: str, body: dict[str, Any]) -> bytes:
    """Return a POST as it is sent."""
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@contextmanager
def load(front: Nginx, post: Callable[[httpx2.Client, str], None]) -> Iterator[None]:
    """Call `post` all the time, by several callers and with a new text each time, until the end of the block."""
    is_over = threading.Event()

    def send(caller: int) -> None:
        with front.client() as client:
            for number in count():
                if is_over.is_set():
                    return
                post(client, f"fox {caller} {number}")

    with ThreadPoolExecutor(CALLERS) as pool:
        sending = [pool.submit(send, caller) for caller in range(CALLERS)]
        try:
            yield
        finally:
            is_over.set()
        for each in sending:
            each.result()


def num_answers(url: str, status: int) -> int:
    """Return how many answers of a status a server counted, besides those of this function."""
    metrics = httpx2.get(f"{url}/metrics", trust_env=False).text
    samples = (sample for family in text_string_to_metric_families(metrics) for sample in family.samples)
    counted = (each for each in samples if each.name == "shortlist_requests_total" and each.labels["route"] != "/metrics")
    return int(sum(each.value for each in counted if each.labels["status"] == str(status)))


# -- TLS and balancing --------------------------------------------------------------------------------------------------------


def test_rankings_go_over_tls_to_both_servers(servers: RecordedServers, front: Nginx) -> None:
    before = [num_answers(url, OK) for url in servers.urls]
    with front.client() as client:
        for number in range(8):
            answer = client.post("/v1/rerank", json=ask(f"the red fox {number}"))
            assert answer.status_code == OK, answer.text
            assert answer.json()["results"][0]["index"] == 1
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert all(num_answers(url, OK) > old for url, old in zip(servers.urls, before, strict=True))


def test_http_is_redirected_and_keeps_its_method(front: Nginx) -> None:
    answer = httpx2.post(f"{front.http_url}/v1/rerank?a=b", json=ask("the red fox"), trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/v1/rerank?a=b")


def test_request_goes_to_the_other_server_if_one_is_down(servers: RecordedServers, tmp_path: Path) -> None:
    with nginx(tmp_path, (free_port(), servers.ports[0])) as front, front.client() as client:
        assert {client.post("/v1/rerank", json=ask(f"fox {number}")).status_code for number in range(20)} == {OK}


def test_callers_of_the_page_stay_with_one_server(servers: RecordedServers, front: Nginx) -> None:
    used: set[int] = set()
    for number in range(2, 200):
        before = [num_answers(url, 404) for url in servers.urls]
        with front.client(f"127.0.0.{number}") as client:
            assert {client.get(f"/ui/{part}").status_code for part in "abcd"} == {404}  # these servers have no page
        more = [num_answers(url, 404) - old for url, old in zip(servers.urls, before, strict=True)]
        assert sorted(more) == [0, 4]
        used.add(more.index(4))
        if number > 8 and used == {0, 1}:
            return
    raise AssertionError("all callers were sent to one server")


# -- bodies and errors ----------------------------------------------------------------------------------------------------------


def padded(num_bytes: int) -> bytes:
    start = json.dumps(ask("the red fox")).encode()[:-1]
    return start + b" " * (num_bytes - len(start) - 1) + b"}"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_bodies_pass_without_touching_a_disk(front: Nginx, is_chunked: bool) -> None:
    folder = front.folder / "bodies"
    before = folder.stat().st_mtime_ns
    body = padded(32 * MIB)
    pieces = [body[start : start + MIB] for start in range(0, len(body), MIB)]
    with front.client() as client:
        answer = client.post("/v1/rerank", content=iter(pieces) if is_chunked else body)
    assert answer.status_code == OK, answer.text
    assert folder.stat().st_mtime_ns == before


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_body_has_the_same_answer_with_and_without_nginx(
    servers: RecordedServers, front: Nginx, encoding: str, is_chunked: bool
) -> None:
    body = json.dumps(ask("the red fox")).encode()
    content = gzip.compress(body) if encoding == "gzip" else body
    with front.client() as behind, httpx2.Client(base_url=servers.urls[0], trust_env=False) as direct:
        answers = [
            client.post(
                "/v1/rerank",
                content=iter([content[:9], content[9:]]) if is_chunked else content,
                headers={"content-type": "application/json", "content-encoding": encoding},
            )
            for client in (behind, direct)
        ]
    assert {answer.status_code for answer in answers} == {OK if encoding == "identity" else 415}
    results, expected = (answer.json().get("results") or answer.json()["error"] for answer in answers)
    assert results == expected


def test_body_above_the_limit_is_refused_in_json(front: Nginx) -> None:
    with front.client() as client:
        answer = client.post("/v1/rerank", content=padded(33 * MIB))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_large_answers_do_not_touch_a_disk(front: Nginx) -> None:
    folder = front.folder / "answers"
    before = folder.stat().st_mtime_ns
    text = "fox " * (2 * MIB)
    with (
        front.client() as client,
        client.stream("POST", "/v1/rerank", json=ask(text) | {"return_documents": True}) as answer,
    ):
        pieces = answer.iter_bytes(MIB)
        size = len(next(pieces))
        time.sleep(0.5)  # time for nginx to write what does not fit into its buffers
        size += sum(map(len, pieces))
    assert size > len(text)
    assert folder.stat().st_mtime_ns == before


def test_flood_is_refused_with_a_time_to_retry(servers: RecordedServers, tmp_path: Path) -> None:
    changes = {"rate=100r/s": "rate=1r/m", "burst=200": "burst=1"}
    with nginx(tmp_path, servers.ports, changes) as front, front.client() as client:
        answers = [client.get("/health") for _ in range(4)]
    assert [answer.status_code for answer in answers[:2]] == [OK, OK]
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
    assert answers[-1].json()["error"]["code"] == "rate_limit_exceeded"


def test_without_a_server_the_error_is_json_and_the_connection_is_closed(tmp_path: Path) -> None:
    with nginx(tmp_path, (free_port(), free_port())) as front, front.client() as client:
        answer = client.post("/v1/rerank", json=ask("the red fox"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "unavailable")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/m/fake/metrics", "/compat/tei/metrics", "/x/../metrics"]
)
def test_metrics_are_not_public(front: Nginx, path: str) -> None:
    with front.connected() as wire:
        wire.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 404 ")


# -- callers ----------------------------------------------------------------------------------------------------------------------


def test_callers_behind_nginx_have_their_own_limits(tmp_path: Path) -> None:
    limit = ("--max-requests-per-minute", "6")  # one at once
    forged = {"x-forwarded-for": "6.6.6.6", "x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil"}
    with recorded_servers(tmp_path, *PROXY, *limit, count=1) as servers, nginx(tmp_path, servers.ports) as front:
        with front.client("127.0.0.2") as one, front.client("127.0.0.3") as other:
            assert one.post("/v1/rerank", json=ask("a fox")).status_code == OK
            assert other.post("/v1/rerank", json=ask("a fox")).status_code == OK
            refused = [one.post("/v1/rerank", json=ask("a fox"), headers=headers) for headers in ({}, forged)]
        direct = httpx2.HTTPTransport(local_address="127.0.0.4")
        with httpx2.Client(base_url=servers.urls[0], transport=direct) as untrusted:
            headers = [forged | {"x-forwarded-for": f"6.6.6.{number}"} for number in range(2)]
            answers = [untrusted.post("/v1/rerank", json=ask("a fox"), headers=each) for each in headers]
    assert [answer.status_code for answer in refused] == [429, 429]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert [answer.status_code for answer in answers] == [OK, 429]


@pytest.mark.parametrize(
    "forged", [{"x-forwarded-host": "evil.example"}, {"x-forwarded-prefix": "/evil"}, {"x-forwarded-proto": "gopher"}]
)
def test_headers_of_callers_are_not_passed_on(front: Nginx, forged: dict[str, str]) -> None:
    with front.client() as client:
        answer = client.get("/", headers=forged)
    assert (answer.status_code, answer.json()["docs"]) == (OK, "/docs"), answer.text


# -- long requests and reloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "setting", "num"), [(CONFIGURATION, "proxy_read_timeout", 2), (CADDY, "response_header_timeout", 1)], ids=str
)
def test_proxies_wait_for_long_requests(file: Path, setting: str, num: int) -> None:
    waits = re.findall(rf"{setting} (\d+)(s|h)\b", file.read_text(encoding="utf-8"))
    assert len(waits) == num
    assert all(int(number) * {"s": 1, "h": 3600}[unit] > 2 * LONG_S for number, unit in waits)


@pytest.mark.full
@pytest.mark.timeout(4 * LONG_S)
def test_long_request_is_answered(servers: RecordedServers, front: Nginx) -> None:
    with ThreadPoolExecutor(1) as pool, front.client() as client:
        with servers.held():
            answer = pool.submit(client.post, "/v1/rerank", json=ask("a long request"), timeout=2 * LONG_S)
            time.sleep(LONG_S)
            assert not answer.done()
        assert answer.result().status_code == OK


def test_request_that_takes_longer_than_nginx_waits_is_computed_once(servers: RecordedServers, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, servers.ports, {"proxy_read_timeout 300s": "proxy_read_timeout 1s"}) as front,
        front.client() as client,
        servers.held(),
    ):
        answer = client.post("/v1/rerank", json=ask("too long"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.headers["connection"] == "close"
    assert servers.computed()["too long"] == 1


def test_reload_with_a_new_certificate_ends_no_request_and_no_stream(page_server: RecordedServers, tmp_path: Path) -> None:
    with nginx(tmp_path, page_server.ports, KEPT) as front, front.connected() as stream, contextlib.ExitStack() as opened:
        stream.sendall(f"GET {PREFIX}/ui/gradio_api/heartbeat/tab HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 200 ")  # after seconds: the first request to the page builds it
        with page_server.held():
            caller = opened.enter_context(front.connected())  # not before: nginx waits 10 s for a request
            caller.sendall(request(f"{PREFIX}/v1/rerank", ask("reload")))
            wait_until(lambda: page_server.computed()["reload"] == 1, WAIT_S)
            with front.reloaded().client() as other:
                assert other.get(f"{PREFIX}/health").status_code == OK
            assert not front.is_trusted()
        assert caller.recv(1000).startswith(b"HTTP/1.1 200 ")
        stream.settimeout(0.5)
        with pytest.raises(TimeoutError):  # still open, and silent
            b"".join(iter(lambda: stream.recv(1000), b""))


# -- hang-ups and kills --------------------------------------------------------------------------------------------------------------


def test_hang_up_cancels_the_request(servers: RecordedServers, front: Nginx) -> None:
    before = sum(num_answers(url, 499) for url in servers.urls)
    with servers.held():
        with front.connected() as wire:
            wire.sendall(request("/v1/rerank", ask("hang up")))
            wait_until(lambda: servers.computed()["hang up"] == 1, WAIT_S)
        wait_until(lambda: sum(num_answers(url, 499) for url in servers.urls) == before + 1, WAIT_S, every_s=0.1)


def test_killed_servers_compute_no_request_twice(tmp_path: Path) -> None:
    statuses: dict[str, int] = {}

    def post(client: httpx2.Client, text: str) -> None:
        statuses[text] = CUT_OFF
        try:
            statuses[text] = client.post("/v1/rerank", json={"query": "fox", "documents": [text]}).status_code
        except httpx2.RemoteProtocolError as error:  # the kill came between the headers and the body
            if "complete message body" not in str(error):
                raise
        if statuses[text] != OK:
            time.sleep(0.05)  # both servers are down

    def num_ranked() -> int:
        return list(statuses.values()).count(OK)

    with (
        recorded_servers(tmp_path, *PROXY) as servers,
        nginx(tmp_path, servers.ports, ANY_RATE) as front,
    ):
        with load(front, post):
            for _ in range(KILLS):
                enough = num_ranked() + 20
                wait_until(lambda enough=enough: num_ranked() >= enough, WAIT_S)  # type: ignore[misc]
                time.sleep(random.uniform(0, 0.02))
                servers.kill(random.choice(servers.ports))
        computed = servers.computed()
    assert set(statuses.values()) <= {OK, 502, CUT_OFF}
    assert max(computed.values()) == 1
    assert all(computed[text] == 1 for text, status in statuses.items() if status == OK)
    assert any(computed[text] == 1 for text, status in statuses.items() if status != OK), "no kill met a running request"


def test_rolling_restarts_lose_no_request(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()

    def post(client: httpx2.Client, text: str) -> None:
        statuses[client.post("/v1/rerank", json=ask(text)).status_code] += 1

    with (
        recorded_servers(tmp_path, *PROXY, "--drain-notice-s", "0.5") as servers,
        nginx(tmp_path, servers.ports, ANY_RATE) as front,
        load(front, post),
    ):
        for _ in range(ROLLS):
            for port in servers.ports:
                enough = statuses.total() + 100
                servers.kill(port, signal.SIGTERM)
                time.sleep(FAIL_TIMEOUT_S)
                wait_until(lambda enough=enough: statuses.total() >= enough, WAIT_S)  # type: ignore[misc]
    assert statuses.total() >= 2 * ROLLS * 100
    assert set(statuses) == {OK}


# -- a prefix -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", PREFIXES)
def test_everything_works_under_a_prefix(page_server: RecordedServers, tmp_path: Path, how: str) -> None:
    with nginx(tmp_path, page_server.ports, PREFIXES[how]) as front, front.client() as client:
        base = front.url + PREFIX
        assert client.post(f"{PREFIX}/v1/rerank", json=ask("the red fox")).json()["results"][0]["index"] == 1
        assert client.get(f"{PREFIX}/", headers={"accept": "text/html"}).headers["location"] == f"{PREFIX}/ui"
        assert client.get(f"{PREFIX}/ui").headers["location"] == f"{base}/ui/"
        page = client.get(f"{PREFIX}/ui/")
        assert f'"root":"{base}/ui"' in page.text
        linked = [url for url in re.findall(r'(?:href|src)="([^"]+)"', page.text) if not url.startswith(("http", "data:"))]
        assert len(linked) > 3
        assert all(client.get(urljoin(f"{base}/ui/", url)).status_code == OK for url in linked if url != "./")
        manifest = client.get(f"{PREFIX}/manifest.json").json()
        assert urljoin(f"{base}/manifest.json", manifest["start_url"]) == f"{base}/ui/"
        docs = client.get(f"{PREFIX}/docs").text
        for url in re.findall(r'(?:href|src)="([^"]+)"|url: \'([^\']+)\'', docs):
            assert client.get("".join(url)).status_code == OK
        assert client.get(f"{PREFIX}/openapi.json").json()["servers"] == [{"url": PREFIX}]


def test_events_of_the_page_arrive_while_its_stream_is_open(page_server: RecordedServers, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, page_server.ports, KEPT) as front,
        front.client() as client,
        client.stream("GET", f"{PREFIX}/ui/gradio_api/heartbeat/tab") as stream,
    ):
        assert next(stream.iter_lines())
