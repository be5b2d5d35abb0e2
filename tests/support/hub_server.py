"""A small model hub on a loopback port, for tests that download over a real socket.

It answers what `huggingface_hub` asks for when it takes a snapshot: a model's facts at a revision, the tree of a commit, and the
HEAD and GET of single files with ETag, X-Repo-Commit and Range; and the two questions of ModelScope's library, a listing and a
file. It notes every request, and can be told to misbehave.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee00" * 5

_FACTS = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")
_TREE = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_SCOPE_TREE = re.compile(r"/api/v1/models/(?P<name>[^/]+/[^/]+)/repo/files")
_SCOPE_FILE = re.compile(r"/api/v1/models/(?P<name>[^/]+/[^/]+)/repo")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass(slots=True)
class HubServer:
    """What the hub holds, how it misbehaves, and what it was asked.

    Attributes:
        models: Name of a model to its files.
        gated: Models whose terms are not accepted.
        private: Models that only the token `hf_right` may read.
        status: Answer everything with this status, when set.
        cut: Path of a file to the number of bytes after which its next transfer breaks off; used up by one transfer.
        lost: Files that are in the tree but are not sent.
        sizes: Sizes to claim in the tree, other than the true ones.
    """

    models: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    status: int | None = None
    cut: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def paths(self, method: str = "GET") -> list[str]:
        """The files asked for with `method`, in the order of arrival."""
        matches = (_FILE.fullmatch(request.path) for request in self.requests if request.method == method)
        return [match["path"] for match in matches if match]


@contextmanager
def running(hub: HubServer) -> Iterator[HubServer]:
    """Serve `hub` on a free loopback port; its `url` is set while it runs."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[HubServer]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing; the requests are noted instead."""

    def _answer(self) -> None:
        hub, path = self.served, unquote(urlsplit(self.path).path)
        hub.requests.append(
            Request(self.command, unquote(self.path), self.headers.get("Range"), self.headers.get("Authorization"))
        )
        if hub.status is not None:
            self._send(hub.status, b"{}")
        elif match := _FACTS.fullmatch(path):
            if self._admit(match):
                self._send_json({"id": match["name"], "sha": COMMIT, "siblings": []})
        elif match := _TREE.fullmatch(path):
            if self._admit(match):
                self._send_json([self._entry(name, content) for name, content in hub.models[match["name"]].items()])
        elif match := _FILE.fullmatch(path):
            if self._admit(match):
                self._send_file(match["name"], match["path"])
        elif match := _SCOPE_TREE.fullmatch(path):
            self._send_scope_tree(match["name"])
        elif match := _SCOPE_FILE.fullmatch(path):
            self._send(200, self.served.models[match["name"]][self._query("FilePath")])
        else:
            self._send(404, b"{}")

    def _query(self, key: str) -> str:
        return parse_qs(urlsplit(self.path).query)[key][0]

    def _send_scope_tree(self, name: str) -> None:
        if name not in self.served.models or self._query("Revision") != "master":
            self._send(404, b'{"Code": 404}')
            return
        files = self.served.models[name].items()
        entries = [{"Path": path, "Type": "blob", "Size": len(content), "Sha256": etag(content)} for path, content in files]
        self._send_json({"Code": 200, "Data": {"Files": entries}})

    def _admit(self, match: re.Match[str]) -> bool:
        """Refuse as the real hub does: with a status and a code in a header."""
        hub, name = self.served, match["name"]
        if name in hub.private and self.headers.get("Authorization") != "Bearer hf_right":
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name not in hub.models:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name in hub.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif match["revision"] not in {"main", COMMIT}:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def _entry(self, name: str, content: bytes) -> dict[str, object]:
        return {"type": "file", "path": name, "size": self.served.sizes.get(name, len(content)), "oid": etag(content)[:40]}

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_file(self, name: str, path: str) -> None:
        content = self.served.models[name].get(path)
        if content is None or path in self.served.lost:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{etag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        stop = self.served.cut.pop(path, None) if self.command == "GET" else None
        self._send(206 if start else 200, content[start:], headers, stop)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, stop: int | None = None) -> None:
        """Send the whole body, or break the connection after `stop` bytes of it."""
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:stop])
        self.close_connection = self.close_connection or stop is not None
