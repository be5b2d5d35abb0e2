"""A server that answers as vLLM does, and can fall ill in every way: what a well one does is tested with the real one."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shortlist.engine.vllm.payloads import probe_prompts

POISON = 200
"""A token id that cannot be computed when the mood is "poison"; in bytes, as `ids.ByteEncoder` writes, it begins POISONOUS."""

POISONOUS = "\u0200"

DRIP_S = 0.05


def log_odds(ids: list[int]) -> float:
    """What it says of a prompt."""
    return (sum(ids) * 31 + len(ids)) % 1000 / 100 - 5


@dataclass
class SickVllm:
    """Attributes:
    mood: How it answers calls: well, the number of a status, or one of the names in `_Handler`.
    is_healthy: What it says of itself.
    step_s: How long a call takes; the mood at its end counts.
    dies_at: With which call of a batch its mood becomes "dying"; never with 0.
    dying_s: How long after the first call in the mood "dying" it says that it is well and refuses every call; then it is gone.
    model: The name of its model.
    offset: Added to its scores, as if it had another model.
    num_sent: Bytes that it sent in the mood "endless".
    metrics: Its page of metrics; none if empty, one of the moods "reset", "hang", "drip" and "endless" if a string.
    calls: The prompts of every call it got.
    paths: Everything it was asked for.
    hung_up: Calls whose caller left while they hung.
    """

    mood: str = "well"
    is_healthy: bool = True
    step_s: float = 0.0
    dies_at: int = 0
    dying_s: float = 0.0
    version: str = "0.32.0"
    model: str = "m"
    offset: float = 0.0
    num_sent: int = 0
    metrics: bytes | str = b""
    calls: list[list[list[int]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hung_up: int = 0
    well_after: threading.Event = field(default_factory=threading.Event)
    is_dying: threading.Event = field(default_factory=threading.Event)
    is_gone: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def asked(self) -> list[list[list[int]]]:
        """The calls but for those of the probe, by which it is asked how it is."""
        probe = [prompt.ids.tolist() for prompt in probe_prompts()]
        return [call for call in self.calls if call != probe]


@contextlib.contextmanager
def sick_vllm(mood: str = "well", **fields: Any) -> Iterator[SickVllm]:
    """Run one for as long as a test needs it."""
    patient = SickVllm(mood=mood, **fields)
    server = _Server(("127.0.0.1", 0), _Handler, patient)
    patient.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield patient
    finally:
        patient.well_after.set()
        server.end()
        thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """With the library's 5, many who connect at once wait for seconds, and find the server sick that is not."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], patient: SickVllm) -> None:
        super().__init__(address, handler)
        self.patient = patient

    def end(self) -> None:
        """Stop listening; open connections are closed at their next request."""
        self.patient.is_gone.set()
        self.shutdown()
        self.server_close()

    def die(self) -> None:
        """Begin to, unless it has begun."""
        if not self.patient.is_dying.is_set():
            self.patient.is_dying.set()
            threading.Timer(self.patient.dying_s, self.end).start()

    def shutdown_request(self, request: Any) -> None:
        """Close without a word before it, so that a reset is one."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Disconnects are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def apps(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    @property
    def patient(self) -> SickVllm:
        return self.apps.patient

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.patient.is_gone.is_set():
            self._reset()
            return
        self.patient.paths.append(self.path)
        card = {"id": self.patient.model, "root": "/models/m", "parent": None, "max_model_len": 2048}
        match self.path:
            case "/health":
                self._answer(200 if self.patient.is_healthy else 503, b"")
            case "/version":
                self._answer(200, json.dumps({"version": self.patient.version}).encode())
            case "/v1/models":
                self._answer(200, json.dumps({"data": [card]}).encode())
            case "/metrics" if self.patient.metrics:
                page = self.patient.metrics
                self._answer(200, page) if isinstance(page, bytes) else getattr(self, f"_{page}")()
            case _:
                self._answer(404, b"{}")

    def do_POST(self) -> None:
        self.patient.paths.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.patient.calls.append(asked["input"])
        if 0 < self.patient.dies_at <= len(self.patient.asked):
            self.patient.mood = "dying"
        time.sleep(self.patient.step_s)
        mood = self.patient.mood
        if self.patient.is_gone.is_set():
            self._reset()
        elif mood == "dying":
            self.apps.die()
            self._answer(500, b'{"error":{"message":"EngineCore encountered an issue"}}')
        elif mood.isdigit():
            self._answer(int(mood), b'{"error":{"message":"no"}}')
        elif mood == "redirect":
            self._answer(307, b"", location=f"{self.patient.url}/elsewhere")
        elif mood == "poison" and any(POISON in ids for ids in asked["input"]):
            self._answer(500, b'{"error":{"message":"nan"}}')
        elif mood in {"reset", "hang", "drip", "endless"}:
            getattr(self, f"_{mood}")()
        elif mood == "gzip":
            self._answer(200, gzip.compress(b" " * 50_000_000), content_encoding="gzip")
        else:
            self._answer(200, _body(asked, mood, self.patient))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _hang(self) -> None:
        self.connection.settimeout(DRIP_S)
        while not self.patient.well_after.is_set():
            with contextlib.suppress(TimeoutError):
                if self.connection.recv(1) == b"":
                    self.patient.hung_up += 1
                    return

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.patient.well_after.is_set():
                self.wfile.write(b" ")
                time.sleep(DRIP_S)

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.patient.well_after.is_set():
                self.wfile.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
                self.patient.num_sent += 0x100000

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _body(asked: dict[str, Any], mood: str, patient: SickVllm) -> bytes:
    """Return the scores, as wrong as the mood wants them."""
    scores = [log_odds(ids) + patient.offset for ids in asked["input"]]
    if asked["use_activation"]:
        scores = [1 / (1 + 2.718281828459045**-score) for score in scores]
    data = [{"index": index, "probs": [score], "num_classes": 1} for index, score in enumerate(scores)]
    body = json.dumps({"model": patient.model, "data": data[1:] if mood == "count" else data}).encode()
    if mood == "nan":
        return body.replace(b'"probs": [', b'"probs": [NaN, ')
    return body[: len(body) // 2] if mood == "half" else body
