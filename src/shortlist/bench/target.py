"""Parses the servers of a run from the command line: address, dialect, model and API key. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from shortlist.bench import dialects
from shortlist.bench.dialects import LoadDialect
from shortlist.errors import BadSetting

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server: name, address, dialect, model and API key."""

    name: str  # name in tables
    address: str  # scheme, host, port and path prefix
    dialect: LoadDialect
    model: str | None = None  # the request's model; None to leave it out
    api_key: str | None = field(default=None, repr=False)  # sent as a bearer token; never in a report

    @property
    def url(self) -> str:
        """URL of the requests."""
        return f"{self.address}{self.dialect.path}"


def targets(
    urls: Sequence[str],
    *,
    dialect: Sequence[str] = (),
    model: Sequence[str] = (),
    api_key: Sequence[str] = (),
    own_key: str | None = None,
) -> list[Target]:
    """Return the servers of a command line.

    Args:
        urls: `[NAME=]URL` each; one without a name is called by its host and port.
        dialect: `[NAME=]DIALECT` each.
        model: `[NAME=]MODEL` each.
        api_key: `[NAME=]KEY` each.
        own_key: The key of this machine's own server: for the first server, if no other was given.

    Raises:
        BadSetting: something is not of its form.
    """
    addresses = dict(map(_named, urls))
    if len(addresses) < len(urls):
        raise BadSetting("Two contenders have the same name; call them NAME=URL.")
    spoken, asked, keys = (for_each(texts, list(addresses)) for texts in (dialect, model, api_key))
    owner = next(iter(addresses), None)
    return [
        Target(
            name=name,
            address=address,
            dialect=dialects.named(spoken.get(name, dialects.DEFAULT)),
            model=asked.get(name),
            api_key=_key(keys.get(name, own_key if name == owner else None)),
        )
        for name, address in addresses.items()
    ]


def for_each(texts: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    """Return the value for each name: `VALUE` applies to all names, `NAME=VALUE` to one, in any order."""
    shared, own = {}, {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name in names:
            own[name] = value
        else:
            shared = dict.fromkeys(names, text)
    return {**shared, **own}


def address_of(url: str) -> str:
    """Return the address of a server, with its port; a trailing `/v1` is removed.

    Raises:
        BadSetting: it is not one of a server.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_url(url) from None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in PORTS or not host or not is_plain or parts.query or parts.fragment:
        raise _no_url(url)
    if "@" in parts.netloc:
        raise BadSetting("A URL with a user in it would be written into the report; give the key with --api-key.")
    bracketed = f"[{host}]" if ":" in host else host
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{bracketed}:{port or PORTS[parts.scheme]}{prefix}"


def _named(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or "://" in name:
        address = address_of(text)
        return urlsplit(address).netloc, address
    if not name.strip():
        raise BadSetting(f"The contender {text!r} must be NAME=URL.")
    return name.strip(), address_of(url)


def _key(api_key: str | None) -> str | None:
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise BadSetting("An API key (--api-key) has only printable ASCII characters.")
    return api_key


def _no_url(text: str) -> BadSetting:
    return BadSetting(f"{text!r} is not the address of a server; it should look like http://host:port.")
