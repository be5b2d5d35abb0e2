"""Whom to ask: an address, a dialect, and what is said in every request's head. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from shortlist.bench.texts import Request
from shortlist.bench.traffic import dialect as dialects
from shortlist.bench.traffic.dialect import Dialect
from shortlist.errors import BadSetting

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        host: Name or number, without brackets.
        port: Of TCP.
        is_tls: Whether the connection is encrypted.
        prefix: What all paths begin with; mostly nothing.
        url: All of that, as a person writes it.
    """

    host: str
    port: int
    is_tls: bool
    prefix: str
    url: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the address of a server; a trailing `/v1`, as many clients want it, is fine.

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
        return cls(
            host=host,
            port=port or PORTS[parts.scheme],
            is_tls=parts.scheme == "https",
            prefix=parts.path.rstrip("/").removesuffix("/v1"),
            url=url.rstrip("/"),
        )

    @property
    def netloc(self) -> str:
        """Host and port, as a request's head names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One contender: a server, what to call it, and how to speak to it.

    Attributes:
        name: As it stands in tables.
        address: Where it is.
        dialect: How it is asked.
        model: What the request names; None for a server that needs no name.
        api_key: Sent as a bearer token; None sends none. It stands in no report.
    """

    name: str
    address: Address
    dialect: Dialect
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where requests go."""
        scheme = "https" if self.address.is_tls else "http"
        return f"{scheme}://{self.address.netloc}{self._path}"

    def head(self) -> bytes:
        """Return what every request to it begins with, up to the number of its body's bytes."""
        lines = [
            f"POST {self._path} HTTP/1.1",
            f"host: {self.address.netloc}",
            "user-agent: shortlist-bench",
            "accept: application/json",
            "content-type: application/json",
            *([f"authorization: Bearer {self.api_key}"] if self.api_key else []),
            "content-length: ",
        ]
        return "\r\n".join(lines).encode("ascii")

    def message(self, head: bytes, request: Request) -> bytes:
        """Return a whole request, after the head that all of them share."""
        body = self.dialect.write(request, self.model)
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

    @property
    def _path(self) -> str:
        return f"{self.address.prefix}{self.dialect.path}"


def targets(
    urls: Sequence[str],
    *,
    dialect: Sequence[str] = (),
    model: Sequence[str] = (),
    api_key: Sequence[str] = (),
    own_key: str | None = None,
) -> list[Target]:
    """Return the contenders of a command line.

    Args:
        urls: `[NAME=]URL` each; one without a name is called by its host and port.
        dialect: `[NAME=]DIALECT` each.
        model: `[NAME=]MODEL` each.
        api_key: `[NAME=]KEY` each.
        own_key: The key of this machine's own server: for the first contender, if no other was given.

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
    """Return what each contender is given: `VALUE` is for all of them, `NAME=VALUE` for that one, whatever stands before it."""
    everyone, own = {}, {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name in names:
            own[name] = value
        else:
            everyone = dict.fromkeys(names, text)
    return {**everyone, **own}


def _named(text: str) -> tuple[str, Address]:
    name, equals, url = text.partition("=")
    if not equals or "://" in name:
        address = Address.parse(text)
        return address.netloc, address
    if not name.strip():
        raise BadSetting(f"The contender {text!r} must be NAME=URL.")
    return name.strip(), Address.parse(url)


def _key(api_key: str | None) -> str | None:
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise BadSetting("An API key (--api-key) has only printable ASCII characters.")
    return api_key


def _no_url(text: str) -> BadSetting:
    return BadSetting(f"{text!r} is not the address of a server; it should look like http://host:port.")
