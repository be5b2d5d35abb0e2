"""Expensive bodies of 1 to 63 MB at every route and dialect, long paths and headers, and clients that read nothing.

Others are answered meanwhile, and memory comes back. A few in an ordinary run; `HOSTILE_SECONDS` says how long
(`make soak-hostile`: twenty minutes, with the table of docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest

from shortlist.api.dialects import table
from shortlist.api.memory_budget import TRIM_S
from tests.support.examples import examples
from tests.support.hostile import MIB, Probes, memory, post, reset_highest
from tests.support.process import Launched, launched, wait_until

SECONDS: Final = float(os.environ.get("HOSTILE_SECONDS", examples(20, 60)))  # noqa: TID251 - how long a test takes is no setting
IS_LONG: Final = SECONDS > 100
SIZES: Final = (1, 4, 16, 31, 63)
SLOW_READERS: Final = 1000 if IS_LONG else 50
LONGEST_S: Final = 5.0
KEPT_BYTES: Final = 100 * MIB

pytestmark = pytest.mark.timeout(SECONDS + 300)

PIECES: Final = {
    "words": "x z ",
    "Chinese": "中文字，",
    "spaces": " ",
    "newlines": "\n",
    "one letter": "a",
    "emoji": "\U0001f642",
    "marks": "e\u0301\u0327",
    "control": "<|im_start|><Instruct>",
    "escapes": '"\\',
}
PARTS: Final = {
    "empty strings": b'"",',
    "short strings": b'"ab",',
    "numbers": b"151643,",
    "floats": b"1.5e300,",
    "nulls": b"null,",
    "lists": b"[],",
    "objects": b"{},",
    "fields": b'{"text":"a"},',
    "nested": b'[[["a"]]],',
}


@dataclass
class Cost:
    """What the bodies of one kind cost."""

    waits_s: list[float] = field(default_factory=list)
    grown: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def fields_of(body: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of all strings and lists in an example."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield from fields_of(value, (*path, name))
    elif isinstance(body, list):
        yield path
        for index, value in enumerate(body[:1]):
            yield from fields_of(value, (*path, index))
    elif isinstance(body, str):
        yield path


def replaced(body: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    copy: Any = dict(body) if isinstance(body, dict) else list(body)
    copy[path[0]] = replaced(body[path[0]], path[1:], value)
    return copy


def text(kind: str, num_bytes: int) -> str:
    piece = PIECES[kind]
    return piece * (num_bytes // len(json.dumps(piece, ensure_ascii=False).encode()))


def cases(rng: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """Yield kinds, paths and bodies without an end."""
    known = [(path, model.example) for path, entries in table.ENTRIES.items() for _, model in entries if model.example]
    while True:
        path, example = rng.choice(known)
        place = rng.choice(list(fields_of(example)))
        num_bytes = rng.choice(SIZES) * MIB
        url = path.replace("{rest:path}", "demo")
        if rng.random() < 0.5:
            kind = rng.choice(list(PIECES))
            long = text(kind, num_bytes)
            value: object = [long] if isinstance(_at(example, place), list) else long
            yield kind, url, json.dumps(replaced(example, place, value), ensure_ascii=rng.random() < 0.3).encode()[: 63 * MIB]
        else:
            kind = rng.choice(list(PARTS))
            part = PARTS[kind]
            mark = json.dumps(replaced(example, place, "HERE") if rng.random() < 0.7 else {**example, "unknown": "HERE"})
            filled = b"[" + part * (num_bytes // len(part)) + part[:-1] + b"]"
            yield kind, url, mark.encode().replace(b'"HERE"', filled)


def _at(body: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        body = body[step]
    return body


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launched("shortlist", "serve", "demo", "--no-ui") as running:
        yield running


@pytest.mark.full
def test_expensive_bodies_hurt_nobody(server: Launched) -> None:
    rng, costs = random.Random(os.environ.get("HOSTILE_SEED", "7")), dict[str, Cost]()  # noqa: TID251
    ask = {"query": "q", "documents": ["a"]}
    post(server, ask)
    before = memory(server, "VmRSS")
    until_s = time.monotonic() + SECONDS
    for kind, path, body in cases(rng):
        if time.monotonic() > until_s:
            break
        grown, wait_s, status = _cost_of(server, path, body)
        cost = costs.setdefault(kind, Cost())
        cost.waits_s.append(wait_s)
        cost.grown.append((grown - KEPT_BYTES) / len(body))
        cost.statuses[status] += 1
        told = f"{kind}, {len(body) / MIB:.0f} MiB at {path}: {status}, {grown / MIB:.0f} MiB, {wait_s:.2f} s"
        assert wait_s < LONGEST_S, told
        assert grown <= KEPT_BYTES + 8 * len(body), told
        assert status in {200, 400, 404, 408, 413, 422, 424, 429}, told
    assert post(server, ask).status_code == httpx2.codes.OK
    time.sleep(3 * TRIM_S)
    _show(costs, memory(server, "VmRSS") - before)


def _cost_of(server: Launched, path: str, body: bytes) -> tuple[int, float, int]:
    before = memory(server, "VmRSS")
    reset_highest(server)
    with Probes(server) as probes:
        status = post(server, body, path, x_request_timeout_ms="20000").status_code
    return memory(server, "VmHWM") - before, probes.longest_s, 200 if status == 504 else status


def _show(costs: dict[str, Cost], kept: int) -> None:
    write: Callable[[str], None] = print
    write("\n| kind | bodies | median wait | longest wait | bytes per byte beyond 100 MiB | statuses |")
    write("| --- | ---: | ---: | ---: | ---: | --- |")
    for kind, cost in sorted(costs.items()):
        waits = f"{1000 * statistics.median(cost.waits_s):.0f} ms | {1000 * max(cost.waits_s):.0f} ms"
        statuses = ", ".join(f"{number} x {status}" for status, number in sorted(cost.statuses.items()))
        write(f"| {kind} | {len(cost.waits_s)} | {waits} | {max(0.0, *cost.grown):.1f} | {statuses} |")
    write(f"\nMemory afterwards: {kept / MIB:+.0f} MiB.")


HOST: Final = b" HTTP/1.1\r\nHost: localhost\r\n"
LONG: Final[dict[str, Callable[[int], bytes]]] = {
    "path of prefixes": lambda size: b"GET " + b"/m/demo" * (size // 7) + HOST + b"\r\n",
    "path of slashes": lambda size: b"GET /" + b"/" * size + HOST + b"\r\n",
    "path of escapes": lambda size: b"GET /" + b"%2F" * (size // 3) + HOST + b"\r\n",
    "query string": lambda size: b"GET /health?" + b"a=b&" * (size // 4) + HOST + b"\r\n",
    "one header": lambda size: b"GET /health" + HOST + b"x: " + b"a" * size + b"\r\n\r\n",
    "many headers": lambda size: b"GET /health" + HOST + b"x: a\r\n" * (size // 6) + b"\r\n",
}


def test_long_paths_and_headers_cost_little(server: Launched) -> None:
    short_s, _ = _answer_s(server, b"GET /health" + HOST + b"\r\n")
    for name, request in LONG.items():
        for kib in (15, 63):
            long_s, status = _answer_s(server, request(kib * 1024))
            print(f"{name}, {kib} KiB: {status}, {1000 * (long_s - short_s):.2f} ms more than a short request")
            assert long_s < LONGEST_S


def _answer_s(server: Launched, request: bytes) -> tuple[float, int]:
    """Return the median time of an answer, and its status."""
    times_s, status = [], 0
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=30) as wire:
            started_s = time.perf_counter()
            wire.sendall(request)
            status = int(wire.recv(4096).split()[1])
            times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s), status


@pytest.mark.full
def test_slow_readers_hold_no_more_than_the_limit() -> None:
    limit = 256 * MIB
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, SLOW_READERS + 500)), hard))
    body = json.dumps({"input": ["a"] * 2048}).encode()  # an answer of some 10 MB
    request = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    flags = ["--no-ui", "--max-transfer-bytes", str(limit), "--write-timeout-s", "5"]
    with launched("shortlist", "serve", "demo", *flags) as server, contextlib.ExitStack() as opened:
        post(server, body, "/v1/embeddings")
        before = memory(server, "VmRSS")
        reset_highest(server)
        with Probes(server) as probes:
            for _ in range(SLOW_READERS):
                wire = opened.enter_context(socket.socket())
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                wire.connect(("127.0.0.1", urlsplit(server.url).port or 0))
                wire.sendall(request)
            wait_until(lambda: post(server, {"query": "q", "documents": ["a"]}).status_code == httpx2.codes.OK, 300)
        grown = memory(server, "VmHWM") - before
        print(
            f"{SLOW_READERS} slow readers: {grown / MIB:.0f} MiB, limit {limit / MIB:.0f} MiB; /health {probes.longest_s:.2f} s"
        )
        assert grown < KEPT_BYTES + limit
        assert probes.longest_s < LONGEST_S
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
