"""Redis as the store of the shared cache. Its own retries are off: the breaker decides when to retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shortlist.errors import BadSetting
from shortlist.installation import install_hint

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = b"shortlist:1:"
"""Prefix of every key in Redis, which may hold other data too."""

MAX_CONNECTIONS: Final = 16
"""Concurrent lookups; further ones wait for a connection within their timeout."""

CONNECT_TIMEOUT_S: Final = 1.0


class RedisStore:
    """Implements `shared_cache.Store`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, in the library's format; may hold a user and a password.
        ttl_s: Seconds after which Redis expires an entry.

    Raises:
        BadSetting: the library is not installed, or the address is not one. The address is never quoted.
    """

    def __init__(self, url: str, *, ttl_s: int) -> None:
        self._client = _client(url)
        self._ttl_s = ttl_s

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the value of each key."""
        values = await self._client.mget([PREFIX + key for key in keys])
        return [value if isinstance(value, bytes) else None for value in values]

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        """Store values with an expiry; return how many were refused (a full or read-only Redis refuses each one)."""
        pipeline = self._client.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(PREFIX + key, value, ex=self._ttl_s)
        answers = await pipeline.execute(raise_on_error=False)
        return sum(isinstance(answer, Exception) for answer in answers)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def location_of(url: str) -> str:
    """Return a URL without user, password and options, for logs."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _client(url: str) -> Redis:
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"The setting cache_url (--cache-url) needs {error.name}, which is not installed: {install_hint('redis')}"
        ) from None
    try:
        location_of(url)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but rejects unknown options
    except (ValueError, TypeError):
        raise BadSetting(
            "The setting cache_url (--cache-url) is not a Redis address: write redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]."
        ) from None
    return Redis.from_pool(pool)
