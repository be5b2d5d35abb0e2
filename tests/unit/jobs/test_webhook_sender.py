"""Webhooks over real sockets: signed, to checked addresses, and within bounds whatever the receiver does."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import TypeAdapter
from standardwebhooks import Webhook, WebhookVerificationError

from shortlist.jobs.webhook_sender import Attempt, WebhookOutcome, WebhookSender
from shortlist.jobs.webhook_signature import WebhookMessage, new_secret
from shortlist.jobs.webhook_targets import WebhookTargets
from shortlist.setting_types import WebhookTargetList
from tests.support import certificates
from tests.support.hook_receiver import HookReceiver, Reply, hook_receiver, trusting

BODY = '{"type":"job.succeeded","data":{"id":"j","text":"ü"}}'.encode()
NAME = "hooks.example.com"


@pytest.fixture(scope="module")
def serving() -> Iterator[HookReceiver]:
    with hook_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(serving: HookReceiver) -> HookReceiver:
    serving.play(Reply())
    return serving


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Answer look-ups of these names, each time with the next list of addresses, as a name server of an attacker can."""
    played: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in played:
            return real(host, port, *args, **kwargs)
        addresses = played[host].pop(0)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [each for address in addresses for each in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return played


def message(number: int = 1) -> WebhookMessage:
    return WebhookMessage(f"job-{number}", int(datetime.now(UTC).timestamp()), BODY)


def send(
    url: str,
    *stated: str,
    secrets: tuple[str, ...] | None = None,
    timeout_s: float = 10.0,
    sent: WebhookMessage | None = None,
    **options: Any,
) -> Attempt:
    async def run() -> Attempt:
        allowed = WebhookTargets(TypeAdapter(WebhookTargetList).validate_python(list(stated)))
        sender = WebhookSender(allowed, timeout_s=timeout_s, **options)
        try:
            return await sender.send(url, sent or message(), secrets or (new_secret(),))
        finally:
            await sender.close()

    return asyncio.run(run())


def at(receiver: HookReceiver, host: str, path: str = "/hook") -> str:
    parts = urlsplit(receiver.url)
    return f"{parts.scheme}://{host}:{parts.port}{path}"


# -- what is sent -------------------------------------------------------------------------------------------------------


def test_library_of_the_standard_accepts_the_signature(receiver: HookReceiver) -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    assert send(f"{receiver.url}/hook?a=b", "127.0.0.1", secrets=(new, old)) == Attempt(WebhookOutcome.DELIVERED, "status 204")
    [received] = receiver.received
    assert (received.path, received.body) == ("/hook?a=b", BODY)
    assert received.headers["content-type"] == "application/json"
    for secret in (old, new):
        assert Webhook(secret).verify(received.body, dict(received.headers))["data"]["id"] == "j"
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(received.body, dict(received.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(received.body + b" ", dict(received.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(received.body, {**received.headers, "webhook-id": "job-2"})


def test_secrets_are_those_of_the_standard() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", each) for each in secrets)


# -- what is not followed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_failures(receiver: HookReceiver, status: int) -> None:
    receiver.play(Reply(status, {"location": f"{receiver.url}/elsewhere"}), Reply(200))
    assert send(f"{receiver.url}/hook", "127.0.0.1") == Attempt(WebhookOutcome.FAILED, f"status {status}")
    assert [each.path for each in receiver.received] == ["/hook"]


def test_name_that_resolves_to_an_address_inside_is_refused(receiver: HookReceiver, names: dict[str, list[list[str]]]) -> None:
    for inside in ("127.0.0.1", "169.254.169.254", "10.0.0.7", "::1"):
        names[NAME] = [[inside]]
        assert send(f"https://{NAME}/", NAME) == Attempt(WebhookOutcome.FAILED, "the host's address is not allowed")
    assert receiver.received == []


def test_name_is_looked_up_once_and_the_checked_address_is_connected(
    receiver: HookReceiver, names: dict[str, list[list[str]]]
) -> None:
    names[NAME] = [["127.0.0.1"], ["169.254.169.254"]]
    assert send(at(receiver, NAME), NAME, "127.0.0.1").outcome is WebhookOutcome.DELIVERED
    assert len(names[NAME]) == 1
    assert receiver.received[0].headers["host"] == f"{NAME}:{urlsplit(receiver.url).port}"
    assert send(at(receiver, NAME), NAME, "127.0.0.1") == Attempt(WebhookOutcome.FAILED, "the host's address is not allowed")


def test_addresses_that_are_not_allowed_are_passed_over(receiver: HookReceiver, names: dict[str, list[list[str]]]) -> None:
    names[NAME] = [["10.255.255.1", "::1", "127.0.0.1"]]
    assert send(at(receiver, NAME), NAME, "127.0.0.0/8").outcome is WebhookOutcome.DELIVERED


def test_next_address_is_tried_if_nothing_listens_at_the_first(
    receiver: HookReceiver, names: dict[str, list[list[str]]]
) -> None:
    names[NAME] = [["127.0.0.2", "127.0.0.1"]]
    assert send(at(receiver, NAME), NAME, "127.0.0.0/8").outcome is WebhookOutcome.DELIVERED
    assert len(receiver.received) == 1


def test_numbers_are_no_way_around_the_check(receiver: HookReceiver) -> None:
    for host in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1"):
        assert send(at(receiver, host), "*").outcome is WebhookOutcome.FAILED
    assert receiver.received == []


def test_unencrypted_webhooks_stay_in_stated_networks(names: dict[str, list[list[str]]]) -> None:
    names[NAME] = [["8.8.8.8"]]
    assert send(f"http://{NAME}/", NAME) == Attempt(WebhookOutcome.FAILED, "the host's address is not allowed")


def test_list_of_the_sender_decides(receiver: HookReceiver) -> None:
    assert send(f"{receiver.url}/hook", "10.0.0.0/8") == Attempt(WebhookOutcome.FAILED, "the host is not allowed")
    assert receiver.received == []


# -- TLS ----------------------------------------------------------------------------------------------------------------


def test_certificate_is_that_of_the_name(tmp_path: Path, names: dict[str, list[list[str]]]) -> None:
    right, wrong = certificates.make(tmp_path, "right", host=NAME), certificates.make(tmp_path, "wrong", host="other.test")
    for certificate, outcome in ((right, WebhookOutcome.DELIVERED), (wrong, WebhookOutcome.FAILED)):
        names[NAME] = [["127.0.0.1"]]
        with hook_receiver(certificate) as receiver:
            sent = send(at(receiver, NAME), NAME, "127.0.0.1", tls=trusting(certificate))
            assert (sent.outcome, len(receiver.received)) == (outcome, int(outcome is WebhookOutcome.DELIVERED))


def test_unknown_certificate_is_refused(tmp_path: Path) -> None:
    with hook_receiver(certificates.make(tmp_path)) as receiver:
        assert send(f"{receiver.url}/", "127.0.0.1") == Attempt(WebhookOutcome.FAILED, "no connection")
        assert receiver.received == []


# -- answers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, body=b"ok"), Attempt(WebhookOutcome.DELIVERED, "status 200")),
        (Reply(410), Attempt(WebhookOutcome.GONE, "status 410")),
        (Reply(404), Attempt(WebhookOutcome.FAILED, "status 404")),
        (Reply(503, {"retry-after": "7"}), Attempt(WebhookOutcome.FAILED, "status 503", 7.0)),
        (Reply(429, {"retry-after": "soon"}), Attempt(WebhookOutcome.FAILED, "status 429")),
        (Reply(None), Attempt(WebhookOutcome.FAILED, "the connection failed")),
    ],
)
def test_answers_are_told_apart(receiver: HookReceiver, reply: Reply, expected: Attempt) -> None:
    receiver.play(reply)
    assert send(f"{receiver.url}/", "127.0.0.1") == expected


def test_large_answer_is_not_read_to_its_end(receiver: HookReceiver) -> None:
    receiver.play(Reply(200, body=bytes(64 << 20)))
    started_s = time.monotonic()
    assert send(f"{receiver.url}/", "127.0.0.1").outcome is WebhookOutcome.DELIVERED
    assert time.monotonic() - started_s < 9  # well before the timeout


def test_compressed_answer_is_not_unpacked(receiver: HookReceiver) -> None:
    receiver.play(Reply(200, {"content-encoding": "gzip"}, body=b"not gzip"))
    assert send(f"{receiver.url}/", "127.0.0.1").outcome is WebhookOutcome.DELIVERED


def test_answer_that_drips_ends_in_time(receiver: HookReceiver) -> None:
    receiver.play(Reply(200, body=b"a" * 10_000, drip_s=0.05))
    assert send(f"{receiver.url}/", "127.0.0.1", timeout_s=0.5) == Attempt(WebhookOutcome.FAILED, "no answer in time")


def test_nothing_that_listens_is_said(names: dict[str, list[list[str]]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    assert send(url, "127.0.0.1") == Attempt(WebhookOutcome.FAILED, "no connection")
    names[NAME] = [[]]
    assert send(f"https://{NAME}/", NAME) == Attempt(WebhookOutcome.FAILED, "the host has no address")
