"""Whatever happens to a request, it is an outcome: one word, and what the server said. Connections stay open as HTTP allows."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import ipaddress
import json
import ssl
import time
from pathlib import Path

import pytest

from shortlist.bench import http_client
from shortlist.bench.http_client import MAX_WHY_CHARS, LoadClient, said
from shortlist.bench.samples import Fate, Outcome
from shortlist.bench.target import targets
from shortlist.bench.texts import LoadRequest
from tests.support.crowd import Scene, always, ranking, reply, score
from tests.support.serving import free_port

REQUEST = LoadRequest("how is it", ("one", "two two", "three 三"))


def asker(url: str, timeout_s: float = 5.0, **flags: list[str]) -> LoadClient:
    return LoadClient(targets([url], **flags)[0], timeout_s)  # type: ignore[arg-type]


async def asked(*answers: bytes | None, timeout_s: float = 5.0, after_s: float = 0.0) -> Outcome:
    async with Scene(always(*answers, after_s=after_s)) as scene, asker(scene.url, timeout_s) as one:
        return await one.ask(REQUEST)


async def test_a_good_answer_has_the_numbers_in_order() -> None:
    before_s = time.perf_counter()
    outcome = await asked()
    assert (outcome.fate, outcome.status, outcome.why) == (Fate.OK, 200, "")
    assert outcome.numbers == [(score(document),) for document in REQUEST.documents]
    assert before_s < outcome.at_s < time.perf_counter()


async def test_request_is_sent_as_built() -> None:
    async with Scene(always()) as scene, asker(f"{scene.url}/v1", model=["m"], api_key=["secret"]) as one:
        await one.ask(REQUEST)
    [heard] = scene.heard
    assert heard.path == "/v1/rerank"
    assert heard.headers["authorization"] == "bearer secret"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["host"] == f"127.0.0.1:{scene.port}"
    assert "accept-encoding" not in heard.headers, "unpacking would be time of the generator's own"
    assert heard.body == {"model": "m", "query": "how is it", "documents": list(REQUEST.documents), "return_documents": False}


async def test_path_and_dialect_are_the_targets_and_without_a_key_none_is_sent() -> None:
    async with Scene(always(reply(200, []))) as scene, asker(f"{scene.url}/proxy/v1", dialect=["tei"]) as one:
        await one.ask(REQUEST)
    [heard] = scene.heard
    assert heard.path == "/proxy/rerank"
    assert "authorization" not in heard.headers
    assert heard.body == {"query": "how is it", "texts": list(REQUEST.documents), "truncate": True}


async def test_cookies_are_not_kept_and_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with Scene(always(reply(200, ranking(REQUEST.documents), set_cookie="a=b"))) as scene, asker(scene.url) as one:
        assert [(await one.ask(REQUEST)).fate for _ in range(2)] == [Fate.OK, Fate.OK]
    assert all("cookie" not in heard.headers for heard in scene.heard)


FAULT = {"error": {"message": "It is\n full.", "type": "x"}, "message": "It is full."}


@pytest.mark.parametrize(
    ("answer", "fate", "why"),
    [
        (reply(429, FAULT, retry_after="3"), Fate.REFUSED, "429 It is full."),
        (reply(504, FAULT), Fate.TIMED_OUT, "504 It is full."),
        (reply(500, b"<h1>Oops</h1>"), Fate.FAILED, "500 <h1>Oops</h1>"),
        (reply(503), Fate.FAILED, "503"),
        (reply(404, {"detail": "Not Found"}), Fate.REJECTED, "404 Not Found"),
        (reply(302, b"", location="https://elsewhere"), Fate.REJECTED, "302"),
        (reply(200, {"results": []}), Fate.WRONG, "0 of 3 documents"),
        (reply(200, b"{"), Fate.WRONG, "it is not a"),
        (None, Fate.CUT, "ended before the answer did"),
        (b"nonsense\r\n\r\n", Fate.CUT, "not HTTP"),
    ],
)
async def test_every_end_has_its_fate_and_its_reason(answer: bytes | None, fate: Fate, why: str) -> None:
    outcome = await asked(answer)
    assert outcome.fate is fate
    assert why in outcome.why
    assert outcome.numbers is None
    assert (outcome.status is None) == (fate is Fate.CUT)


async def test_refusal_has_an_optional_retry_after() -> None:
    assert (await asked(reply(429, retry_after="3"))).retry_after == "3"
    assert (await asked(reply(429))).retry_after is None


async def test_no_answer_is_a_lost_request() -> None:
    outcome = await asked(after_s=5, timeout_s=0.1)
    assert (outcome.fate, outcome.status, outcome.why) == (Fate.LOST, None, "no answer within 0.1 s")


async def test_half_an_answer_in_all_that_time_is_a_lost_request() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
    assert (await asked(half, timeout_s=0.2)).fate is Fate.LOST


async def test_time_runs_from_when_it_was_due() -> None:
    async with Scene(always(after_s=0.3)) as scene, asker(scene.url, timeout_s=10) as one:
        assert (await one.ask(REQUEST, time.perf_counter() - 9.9)).fate is Fate.LOST
        assert (await one.ask(REQUEST, time.perf_counter() - 20)).fate is Fate.LOST
        assert (await one.ask(REQUEST, time.perf_counter() - 1)).fate is Fate.OK


async def test_unreachable_server_is_a_lost_request() -> None:
    async with asker(f"http://127.0.0.1:{free_port()}") as one:
        outcome = await one.ask(REQUEST)
    assert outcome.fate is Fate.CUT
    assert "Connect call failed" in outcome.why or "refused" in outcome.why


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL])
async def test_a_machine_without_sockets_is_not_the_servers_fault(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise OSError(number, "no more")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    async with asker("http://127.0.0.1:1") as one:
        outcome = await one.ask(REQUEST)
    assert (outcome.fate, outcome.why) == (Fate.UNSENT, "no more")


async def test_after_a_failure_the_next_question_has_a_connection_of_its_own() -> None:
    async with Scene(always(None, reply(500), reply(200, {"results": []}), None)) as scene, asker(scene.url) as one:
        fates = [(await one.ask(REQUEST)).fate for _ in range(4)]
    assert fates == [Fate.CUT, Fate.FAILED, Fate.WRONG, Fate.CUT]
    assert scene.num_connections == 2


# -- bodies and connections ---------------------------------------------------------------------------------------------


async def test_an_answer_is_read_whole_on_one_connection() -> None:
    async with Scene(always(reply(500, {"error": "a"}), reply(429, b"busy", retry_after="7"), reply(503))) as scene:
        before_s = time.perf_counter()
        async with asker(scene.url) as one:
            found = [await one.ask(REQUEST) for _ in range(3)]
    assert [(each.status, each.why, each.retry_after) for each in found] == [
        (500, "500 a", None),
        (429, "429 busy", "7"),
        (503, "503", None),
    ]
    first, second, third = (each.at_s for each in found)
    assert before_s < first <= second <= third <= time.perf_counter()
    assert scene.num_connections == 1


CHUNKED = b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n" + reply(500, b"final")
LARGE = reply(500, json.dumps({"padding": "x" * 3_000_000, "error": "large"}).encode())


@pytest.mark.parametrize(
    ("answer", "why"), [(CHUNKED, "500 abcde"), (INTERIM, "500 final"), (reply(500, b""), "500"), (LARGE, "500 large")]
)
async def test_however_a_body_is_framed(answer: bytes, why: str) -> None:
    async with Scene(always(answer)) as scene, asker(scene.url) as one:
        assert [(await one.ask(REQUEST)).why for _ in range(2)] == [why, why]
    assert scene.num_connections == 1


async def test_a_body_may_end_with_the_connection() -> None:
    body = json.dumps(ranking(REQUEST.documents)).encode()
    assert (await asked(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)).fate is Fate.OK
    assert (await asked(b"HTTP/1.0 500 Oops\r\n\r\nconnection: close")).why == "500 connection: close"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nx: connection: close\r\n",
        b"HTTP/1.1 103 Early\r\nx: connection: close\r\n\r\n",
    ],
)
async def test_an_answer_that_is_cut_is_none(answer: bytes | None) -> None:
    outcome = await asked(answer)
    assert (outcome.fate, outcome.status) == (Fate.CUT, None)
    assert outcome.why == "the connection ended before the answer did"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02F",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_invalid_http_is_a_broken_connection(answer: bytes) -> None:
    outcome = await asked(answer)
    assert (outcome.fate, outcome.status, outcome.why) == (Fate.CUT, None, "what came back is not HTTP")


async def test_a_late_answer_is_not_taken_for_that_to_the_next_question() -> None:
    answers = always(reply(500, b"late"), reply(500, b"next"), after_s=0.3)
    async with Scene(answers) as scene, asker(scene.url, timeout_s=0.1) as one:
        assert (await one.ask(REQUEST)).fate is Fate.LOST
        assert (await one.ask(REQUEST, time.perf_counter() + 5)).why == "500 next"
    assert scene.num_connections == 2


async def test_an_answer_too_many_is_not_kept_for_the_next_question() -> None:
    async with Scene(always(reply(500, b"one") + reply(500, b"two"), reply(500, b"three"))) as scene, asker(scene.url) as one:
        assert [(await one.ask(REQUEST)).why for _ in range(2)] == ["500 one", "500 three"]


async def test_as_many_connections_as_questions_are_used_again() -> None:
    async with Scene(always(after_s=0.05)) as scene, asker(scene.url) as one:
        for _ in range(3):
            await asyncio.gather(*(one.ask(REQUEST) for _ in range(150)))
        assert scene.most_at_once == 150
    assert scene.num_connections == 150


async def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_IDLE_S", 0.0)
    async with Scene(always()) as scene, asker(scene.url) as one:
        assert [(await one.ask(REQUEST)).fate for _ in range(2)] == [Fate.OK, Fate.OK]
    assert scene.num_connections == 2


async def test_a_connection_that_the_server_ended_is_not_used_again() -> None:
    async with Scene(always(reply(500, connection="close"))) as scene, asker(scene.url) as one:
        assert [(await one.ask(REQUEST)).fate for _ in range(3)] == [Fate.FAILED] * 3
    assert scene.num_connections == 3


def certificate(folder: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 that vouches for itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(secret + made.public_bytes(pem))
    return path


async def test_an_encrypted_server_is_asked_if_its_certificate_is_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with Scene(always(), tls=context) as scene:
        async with asker(scene.url) as one:
            outcome = await one.ask(REQUEST)
        assert outcome.fate is Fate.CUT
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.why
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        async with asker(scene.url) as one:
            assert [(await one.ask(REQUEST)).fate for _ in range(2)] == [Fate.OK, Fate.OK]


# -- words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "one"}', "one"),
        (b'{"error": {"message": "two"}}', "two"),
        (b'{"error": {"code": 3}, "message": "three"}', "three"),
        (b'{"detail": "four"}', "four"),
        (b'{"detail": [{"msg": "x"}]}', ""),
        (b'"five"', "five"),
        (b"[]", ""),
        (b"", ""),
        (b"plain\n words \xff", "plain words �"),
    ],
)
def test_error_message_is_found_in_every_format(body: bytes, words: str) -> None:
    assert said(body) == words


def test_error_message_is_truncated() -> None:
    assert len(said(json.dumps({"error": "x" * 5000}).encode())) == MAX_WHY_CHARS + len(" ...")
