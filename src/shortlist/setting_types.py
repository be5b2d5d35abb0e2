"""Types of settings: how values are written in flags, variables and files, and what is refused.

Errors never repeat a value: it may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeSeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _split(value: object) -> object:
    """Parse a comma-separated list, as in environment variables."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def _split_each(value: object) -> object:
    """Parse a list whose members may be comma-separated lists, as in flags."""
    return _split(",".join(map(str, value))) if isinstance(value, list | tuple) else _split(value)


Families = Annotated[tuple[Literal["tei", "vllm", "http"], ...], BeforeValidator(_split_each)]


def _keys(value: object) -> object:
    """Refuse an empty list of keys: an empty variable must not open the server to everyone."""
    keys = _split(value)
    if keys == [] or (isinstance(keys, list | tuple) and "" in keys):
        raise PydanticCustomError("empty_key", "a key is empty; omit the setting to serve without keys")
    return keys


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_keys)]

ORIGIN = re.compile(r"\*|https?://[^/\s,]+")


def _origin(text: str) -> str:
    if not ORIGIN.fullmatch(text):
        raise PydanticCustomError("origin", "an origin is written https://HOST or https://HOST:PORT, without a path; * is all")
    return text


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_split)]

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(REDIS_SCHEMES):
        raise PydanticCustomError("redis_url", "it must begin with redis://, rediss:// or unix://")
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
"""Secret as a whole: it may hold a password."""

SERVER_URL = re.compile(r"https?://[^/\s,?#@]+/?")


def _server_url(text: str) -> str:
    if not SERVER_URL.fullmatch(text):
        raise PydanticCustomError("server_url", "an address is written http://HOST:PORT, without a path")
    return text.rstrip("/")


COLLECTOR_URL = re.compile(r"https?://[^\s,?#@]+")


def _collector_url(text: str) -> str:
    if not COLLECTOR_URL.fullmatch(text):
        raise PydanticCustomError("collector_url", "an address is written http://HOST:PORT; /v1/traces is put behind it")
    return text.rstrip("/")


WORKER_SERVER = re.compile(r"https?://[^\s,?#@]+")
"""The address of a server, which may have a path prefix."""

ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


def is_root_path(text: str) -> bool:
    """Return whether a text is a path prefix: /NAME or /NAME/NAME, of letters, digits and `._~-`."""
    return ROOT_PATH.fullmatch(text) is not None and not {".", ".."}.intersection(text.split("/"))


def _root_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not is_root_path(path):
        raise PydanticCustomError("root_path", "a path prefix is written /NAME or /NAME/NAME, of letters, digits and . _ ~ -")
    return path


RootPrefix = Annotated[str, AfterValidator(_root_path)]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        network = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        raise PydanticCustomError("network", "a network is written 10.0.0.0/8 or fd00::/8, a single address 10.0.0.7") from None
    if str(network.network_address) != str(ipaddress.ip_interface(str(value)).ip):
        raise PydanticCustomError("network", f"the network of that address is written {network}")
    return network


Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(_split_each)]

CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
Urls = Annotated[tuple[Annotated[str, AfterValidator(_server_url)], ...], BeforeValidator(_split)]
Shares = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_split)]


def _words(value: object) -> object:
    """Parse arguments as a shell does, as in environment variables; they may contain commas."""
    return shlex.split(value) if isinstance(value, str) else value


Arguments = Annotated[tuple[str, ...], BeforeValidator(_words)]
