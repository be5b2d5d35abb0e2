"""Where webhooks may go: only to what the operator states, and to no address inside of the network that is not stated."""

from __future__ import annotations

import ipaddress

import pytest
from pydantic import TypeAdapter, ValidationError

from shortlist.errors import InvalidInput
from shortlist.jobs.webhook_targets import WebhookTargets, address_of, is_public
from shortlist.setting_types import WebhookTargetList

INSIDE = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.7",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "100.100.100.200",  # of Alibaba's
    "168.63.129.16",  # of Azure
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::10.0.0.7",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff0e::1",
)
OUTSIDE = ("8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111")


def targets(*stated: str) -> WebhookTargets:
    return WebhookTargets(TypeAdapter(WebhookTargetList).validate_python(list(stated)))


@pytest.mark.parametrize("text", INSIDE)
def test_addresses_inside_a_network_are_refused_unless_stated(text: str) -> None:
    address = address_of(text)
    assert address is not None
    assert not targets("*").may_connect(address, scheme="https")
    assert targets("*", str(address)).may_connect(address, scheme="http")


@pytest.mark.parametrize("text", OUTSIDE)
def test_public_addresses_need_https(text: str) -> None:
    address = address_of(text)
    assert address is not None
    assert is_public(address)
    assert targets("*").may_connect(address, scheme="https")
    assert not targets("*").may_connect(address, scheme="http")


def test_without_targets_every_webhook_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--webhook-target"):
        targets().check("https://example.com/")


@pytest.mark.parametrize(
    ("url", "stated", "expected"),
    [
        ("https://hooks.example.com/a?b=c", "hooks.example.com", True),
        ("https://HOOKS.example.com./", "hooks.example.com", True),
        ("https://hooks.example.com:8443/", "hooks.example.com", True),
        ("https://hooks.example.com/", "Hooks.Example.com", True),
        ("https://example.com/", "hooks.example.com", False),
        ("https://hooks.example.com.evil.test/", "hooks.example.com", False),
        ("https://evil-hooks.example.com/", "hooks.example.com", False),
        ("https://a.b.example.com/", "*.example.com", True),
        ("https://example.com/", "*.example.com", False),
        ("https://notexample.com/", "*.example.com", False),
        ("https://any.test/", "*", True),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", True),
        ("https://bücher.example/", "xn--bcher-kva.example", True),
        ("http://10.0.0.7:9000/", "10.0.0.0/8", True),
        ("http://[fd00::7]:9000/", "fd00::/8", True),
        ("http://[::ffff:10.0.0.7]/", "10.0.0.0/8", True),
        ("http://11.0.0.7/", "10.0.0.0/8", False),
        ("https://8.8.8.8/", "*", False),  # a name is stated by a name, an address by a network
        ("http://127.0.0.1/", "*", False),
        ("http://169.254.169.254/latest/meta-data/", "*", False),
        ("https://hooks.example.com/", "10.0.0.0/8", False),
        ("ftp://hooks.example.com/", "*", False),
        ("file:///etc/passwd", "*", False),
        ("https://user:secret@hooks.example.com/", "*", False),
        ("https://hooks.example.com/#a", "*", False),
        ("https:///path", "*", False),
        ("hooks.example.com", "*", False),
        ("https://hooks.example.com:99999/", "*", False),
        ("https://hooks.exa mple.com/", "*", False),
        ("https://hooks.example.com/\r\nx: y", "*", False),
        ("https://hooks.example.com/" + "a" * 2048, "*", False),
        ("https://a..b/", "*", False),
        (f"https://{'a' * 64}.example.com/", "*", False),
        (f"https://{'a.' * 127}com/", "*", False),
        ("", "*", False),
    ],
)
def test_hosts_are_those_that_are_stated(url: str, stated: str, expected: bool) -> None:
    if expected:
        assert targets(stated).check(url).host
        return
    with pytest.raises(InvalidInput) as caught:
        targets(stated).check(url)
    assert caught.value.param == "webhook.url"
    assert not url or url not in caught.value.message


@pytest.mark.parametrize(
    "wrong", ["https://hooks.example.com", "a.example.com:80", "10.0.0.7/8", "*.*", "a..b", "1.2.3", "*a.b"]
)
def test_other_notations_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"a target is a host name, \*\.NAME, \*, an address or a network"):
        targets(wrong)


def test_targets_may_be_one_list() -> None:
    read = TypeAdapter(WebhookTargetList).validate_python("a.example.com, 10.0.0.0/8,::1")
    assert read == ("a.example.com", ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
