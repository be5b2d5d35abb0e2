"""Decides where webhooks may go: to host names and networks that the operator states. Pure.

A host is checked when a job is accepted, the address that it resolves to before every connection: names change their
addresses, and an address inside of the network must not be reached through a public name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

import httpx2

from shortlist.errors import InvalidInput
from shortlist.setting_types import Network, WebhookTarget

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URL_PARAM: Final = "webhook.url"
MAX_URL_CHARS: Final = 2048
MAX_PORT: Final = 65_535
HOST_NAME: Final = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
"""Source: RFC 1035, 2.3.4; Python's resolver raises encoding errors for longer labels."""

CLOUD_HOSTS: Final = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))
"""Addresses that look public to Python, and are services of the machine's own cloud: of Azure, and of Oracle (192.0.0.192).

Source: Microsoft's documentation of the address; IANA's registry of special addresses, in which 192.0.0.0/24 is reserved.
"""

GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The IPv6 addresses that are assigned to hosts of the Internet. Source: IANA's registry of the IPv6 address space."""

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses that a translator connects to the IPv4 address in their last 32 bits. Source: RFC 6052."""


class WebhookTargets:
    """The allow-list of webhooks.

    Args:
        stated: Host names, patterns of host names, and networks; none allows no webhook.
    """

    def __init__(self, stated: Sequence[WebhookTarget]) -> None:
        self._names = tuple(each for each in stated if isinstance(each, str))
        self._networks: tuple[Network, ...] = tuple(each for each in stated if not isinstance(each, str))

    def check(self, url: str) -> httpx2.URL:
        """Return the URL of a webhook if its host is allowed; no name is resolved.

        Raises:
            InvalidInput: the URL is not one, or its host is not allowed. The URL is not quoted.
        """
        if not (self._names or self._networks):
            raise _refused("This server sends no webhooks. Its operator can allow them with --webhook-target.")
        parsed = _parsed(url)
        host = host_of(parsed)
        address = address_of(host)
        if not (self._is_stated_name(host) if address is None else self._is_stated(address)):
            raise _refused("The host of this webhook is not allowed. The server's operator can allow it with --webhook-target.")
        return parsed

    def may_connect(self, address: Address, *, scheme: str) -> bool:
        """Return whether webhooks may be sent to an address: one of a stated network, or, by https, a public one."""
        return self._is_stated(address) or (scheme == "https" and is_public(address))

    def _is_stated(self, address: Address) -> bool:
        return any(address in network for network in self._networks if address.version == network.version)

    def _is_stated_name(self, host: str) -> bool:
        return any(_matches(host, name) for name in self._names)


def host_of(url: httpx2.URL) -> str:
    """Return the host of a URL in ASCII, as it is looked up and as its certificate names it."""
    return url.raw_host.decode("ascii")


def address_of(host: str) -> Address | None:
    """Return the address that a host is written as; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return _unmapped(address)


def is_public(address: Address) -> bool:
    """Return whether an address, and the one that it is translated to, are on the public Internet."""
    if isinstance(address, ipaddress.IPv4Address):
        is_of_cloud = any(address in network for network in CLOUD_HOSTS)
        return address.is_global and not address.is_multicast and not is_of_cloud
    if address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    is_forwarded = address.sixtofour is not None or address.teredo is not None
    return address in GLOBAL_UNICAST and address.is_global and not is_forwarded


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address is another notation of."""
    return address if isinstance(address, ipaddress.IPv4Address) else address.ipv4_mapped or address


def _matches(host: str, name: str) -> bool:
    """Return whether a host name is the stated one, or fits its pattern."""
    host = host.rstrip(".").lower()
    return name in {"*", host} or (name.startswith("*.") and host.endswith(name[1:]))


def _parsed(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url) if len(url) <= MAX_URL_CHARS else None
    except httpx2.InvalidURL:
        parsed = None
    if parsed is None or not _is_complete(parsed):
        raise _refused(
            f"The URL is written https://HOST/PATH, without user and fragment, in at most {MAX_URL_CHARS} characters."
        )
    return parsed


def _is_complete(url: httpx2.URL) -> bool:
    host = host_of(url)
    is_host = HOST_NAME.fullmatch(host) is not None or address_of(host) is not None
    is_port = url.port is None or 1 <= url.port <= MAX_PORT
    return url.scheme in {"https", "http"} and is_host and is_port and not url.userinfo and not url.fragment


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, param=URL_PARAM)
