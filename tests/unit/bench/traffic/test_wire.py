"""One connection at a time does what HTTP says, keeps open what may stay open, and never mistakes one answer for another."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import time
from pathlib import Path

import pytest

from shortlist.bench.traffic import wire as room
from shortlist.bench.traffic.target import Address
from shortlist.bench.traffic.wire import Pool, Wire
from tests.support.crowd import Scene, always, reply
from tests.support.serving import free_port

MESSAGE = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}"


def pool(scene: Scene) -> Pool:
    return Pool(Address.parse(scene.url))


async def test_an_answer_is_read_whole() -> None:
    async with Scene(always(reply(200, {"a": 1}), reply(429, b"busy", retry_after="7"), reply(500))) as scene:
        connections = pool(scene)
        wire = await connections.take()
        before_s = time.perf_counter()
        one, two, three = [await wire.ask(MESSAGE) for _ in range(3)]
        wire.close()
    assert (one.status, one.body, one.retry_after) == (200, b'{"a": 1}', None)
    assert (two.status, two.body, two.retry_after) == (429, b"busy", "7")
    assert (three.status, three.body, three.retry_after) == (500, b"null", None)
    assert before_s < one.at_s <= two.at_s <= three.at_s <= time.perf_counter()
    assert scene.num_connections == 1


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n" + reply(200, b"final")


@pytest.mark.parametrize(
    ("answer", "body"),
    [(CHUNKED, b"abcde"), (INTERIM, b"final"), (reply(200, b""), b""), (reply(200, b"x" * 3_000_000), b"x" * 3_000_000)],
)
async def test_however_a_body_is_framed(answer: bytes, body: bytes) -> None:
    async with Scene(always(answer)) as scene:
        wire = await pool(scene).take()
        assert [(await wire.ask(MESSAGE)).body for _ in range(2)] == [body, body]
        assert wire.is_open
        wire.close()


async def test_a_body_may_end_with_the_connection() -> None:
    async with Scene(always(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it")) as scene:
        wire = await pool(scene).take()
        assert (await wire.ask(MESSAGE)).body == b"all of it"
        assert not wire.is_open


async def test_an_old_servers_answer_ends_with_the_connection() -> None:
    async with Scene(always(b"HTTP/1.0 200 OK\r\n\r\nconnection: close")) as scene:
        connections = pool(scene)
        wire = await connections.take()
        assert (await wire.ask(MESSAGE)).status == 200
        connections.give(wire)
        other = await connections.take()
        assert other is not wire
        other.close()


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
    async with Scene(always(answer)) as scene:
        wire = await pool(scene).take()
        with pytest.raises(ConnectionError, match="ended before the answer did"):
            await wire.ask(MESSAGE)
        assert not wire.is_open


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x01\x00\x02\x02F", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_not_http_is_an_ended_connection(answer: bytes) -> None:
    async with Scene(always(answer)) as scene:
        wire = await pool(scene).take()
        with pytest.raises(ConnectionError, match="not HTTP"):
            await wire.ask(MESSAGE)
        assert not wire.is_open


async def test_an_upgrade_that_nobody_asked_for_is_none() -> None:
    async with Scene(always(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")) as scene:
        wire = await pool(scene).take()
        with pytest.raises(ConnectionError):
            await wire.ask(MESSAGE)


async def test_whoever_does_not_wait_leaves_a_closed_connection() -> None:
    async with Scene(always(after_s=5)) as scene:
        connections = pool(scene)
        wire = await connections.take()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wire.ask(MESSAGE)
        assert not wire.is_open
        connections.give(wire)
        other = await connections.take()
        assert other is not wire
        other.close()


async def test_a_closed_connection_says_so() -> None:
    async with Scene(always()) as scene:
        wire = await pool(scene).take()
        wire.close()
        wire.close()
        with pytest.raises(ConnectionError):
            await wire.ask(MESSAGE)


async def test_an_answer_nobody_asked_for_is_not_kept_for_the_next_question() -> None:
    async with Scene(always(reply(200, b"one") + reply(200, b"two"), reply(200, b"three"))) as scene:
        wire = await pool(scene).take()
        assert (await wire.ask(MESSAGE)).body == b"one"
        await asyncio.sleep(0.02)
        assert (await wire.ask(MESSAGE)).body == b"three"
        wire.close()


# -- the pool -----------------------------------------------------------------------------------------------------------


async def test_connections_are_used_again_the_last_one_first() -> None:
    async with Scene(always(reply(200))) as scene:
        connections = pool(scene)
        one, two = [await connections.take() for _ in range(2)]
        for wire in (one, two):
            await wire.ask(MESSAGE)
            connections.give(wire)
        assert await connections.take() is two
        assert await connections.take() is one
        assert scene.num_connections == 2
        one.close()
        two.close()


async def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(always(reply(200))) as scene:
        connections = pool(scene)
        wire = await connections.take()
        await wire.ask(MESSAGE)
        connections.give(wire)
        monkeypatch.setattr(room, "MAX_IDLE_S", 0.0)
        other = await connections.take()
        assert other is not wire
        assert not wire.is_open
        other.close()


async def test_a_connection_that_the_server_ended_is_not_used_again() -> None:
    async with Scene(always(reply(200, connection="close"))) as scene:
        connections = pool(scene)
        for _ in range(3):
            wire = await connections.take()
            assert (await wire.ask(MESSAGE)).status == 200
            connections.give(wire)
        assert scene.num_connections == 3


async def test_closing_a_pool_closes_what_is_in_it() -> None:
    async with Scene(always(reply(200))) as scene:
        connections = pool(scene)
        wire = await connections.take()
        await wire.ask(MESSAGE)
        connections.give(wire)
        connections.close()
        connections.close()
        assert not wire.is_open


async def test_nobody_there_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r"refused|failed"):
        await Pool(Address.parse(f"http://127.0.0.1:{free_port()}")).take()


def test_only_encrypted_addresses_are_encrypted() -> None:
    assert Pool(Address.parse("http://localhost"))._tls is None
    assert Pool(Address.parse("https://localhost"))._tls is not None


def test_a_wire_is_not_open_before_it_is_connected() -> None:
    wire = Wire()
    assert not wire.is_open
    wire.close()


# -- encrypted ----------------------------------------------------------------------------------------------------------


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


async def test_an_encrypted_server_is_asked_if_somebody_vouches_for_it(tmp_path: Path) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with Scene(always(reply(200, b"secret")), tls=context) as scene:
        connections = pool(scene)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await connections.take()
        assert connections._tls is not None
        connections._tls.load_verify_locations(path)
        wire = await connections.take()
        assert [(await wire.ask(MESSAGE)).body for _ in range(2)] == [b"secret"] * 2
        wire.close()
