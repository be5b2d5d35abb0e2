"""A receiver of webhooks: it answers what a test told it to, and remembers the bytes that it got."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.certificates import Certificate
from tests.support.process import wait_until


@dataclass(frozen=True)
class Reply:
    """One prepared answer; without a status, the connection closes. `drip_s` lies between the bytes of its body."""

    status: int | None = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    drip_s: float = 0.0


@dataclass(frozen=True)
class Received:
    """One request as it arrived; names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HookReceiver:
    """Plays `replies` in order, repeating the last."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.replies: list[Reply] = [Reply()]
        self.closing = threading.Event()

    def play(self, *replies: Reply) -> None:
        self.replies, self.received = list(replies), []

    def wait_for(self, num: int, *, timeout_s: float = 30.0) -> list[Received]:
        """Return the first requests, once there are so many."""
        wait_until(lambda: len(self.received) >= num, timeout_s)
        return self.received[:num]

    def next_reply(self, received: Received) -> Reply:
        self.received.append(received)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextlib.contextmanager
def hook_receiver(certificate: Certificate | None = None, *, port: int = 0) -> Iterator[HookReceiver]:
    """Run a receiver on a loopback port, with HTTPS if there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            _reply(self, receiver, receiver.next_reply(Received(self.path, headers, body)))

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = HookReceiver(f"http{'' if certificate is None else 's'}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _reply(handler: BaseHTTPRequestHandler, receiver: HookReceiver, reply: Reply) -> None:
    if reply.status is None:
        handler.close_connection = True
        return
    with contextlib.suppress(OSError):  # a sender that has read enough closes
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("connection", "close")
        handler.end_headers()
        if not reply.drip_s:
            handler.wfile.write(reply.body)
            return
        for byte in reply.body:
            if receiver.closing.wait(reply.drip_s):
                return
            handler.wfile.write(bytes([byte]))


def trusting(certificate: Certificate) -> ssl.SSLContext:
    """Return a context that trusts this certificate only."""
    return ssl.create_default_context(cafile=certificate.cert)
