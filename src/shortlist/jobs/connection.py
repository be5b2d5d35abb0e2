"""The connection to the Redis of durable jobs, and the check of its settings at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from shortlist.errors import BadSetting
from shortlist.installation import install_hint
from shortlist.scheduler.redis_store import location_of
from shortlist.telemetry import logger

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis

MAX_CONNECTIONS: Final = 32
"""Concurrent calls; further ones wait for a connection within their timeout."""

TIMEOUT_S: Final = 0.8
"""Timeout of a call, connecting included: a request that cannot reach Redis is answered within a second."""

CHECK_TIMEOUT_S: Final = 3.0
"""Timeout of the check at the start."""

MIN_VERSION: Final = 7
"""First release whose scripts may say that they need memory when Redis is full."""

NEEDS: Final = "Durable jobs (--jobs) need a Redis 7 or later, or a Valkey, at that address"


def connect(url: str, *, num_retries: int = 1) -> Redis:
    """Return a client. It connects when it is first used.

    Args:
        url: `redis://`, `rediss://` or `unix://`; may hold a user and a password.
        num_retries: How often a call is sent again when its connection breaks. Transitions may be sent twice.

    Raises:
        BadSetting: the library is not installed, or the address is not one. The address is never quoted.
    """
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"The setting jobs (--jobs) needs {error.name}, which is not installed: {install_hint('jobs')}"
        ) from None
    try:
        location_of(url)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=None,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), num_retries),
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but rejects unknown options
    except (ValueError, TypeError):
        raise BadSetting(
            "The setting jobs (--jobs) is not a Redis address: write redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]."
        ) from None
    return Redis.from_pool(pool)


def connect_blocking(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client for threads. A call that takes longer than the timeout raises; one that fails is sent once more."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(
        url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 1), protocol=2
    )


def check_redis(url: str) -> None:
    """Check that a Redis keeps what it accepts.

    Raises:
        BadSetting: it does not answer, is too old, evicts keys when it is full, or does not write to disk.
    """
    connect(url)  # checks library and address
    from redis.exceptions import RedisError, ResponseError

    place = location_of(url)
    with connect_blocking(url, timeout_s=CHECK_TIMEOUT_S) as client:
        try:
            version = _text(client.info("server").get("redis_version", "unknown"))
            found = client.config_get("maxmemory-policy", "appendonly")
        except ResponseError:  # managed services forbid CONFIG
            logger.warning(
                "jobs: Redis hides its settings; jobs are safe only with maxmemory-policy noeviction and appendonly yes",
                extra={"redis": place},
            )
        except (RedisError, OSError) as error:
            raise BadSetting(f"{NEEDS}; {place} does not answer ({type(error).__name__}).") from None
        else:
            _check_settings(version, found, place)


def _check_settings(version: str, found: Mapping[Any, Any], place: str) -> None:
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < MIN_VERSION:
        raise BadSetting(f"{NEEDS}; {place} is release {version}.")
    text = {_text(name): _text(value) for name, value in found.items()}
    if (policy := text.get("maxmemory-policy", "noeviction")) != "noeviction":
        raise BadSetting(
            f"The Redis at {place} has maxmemory-policy {policy}, so it would drop accepted jobs when it is full. Set "
            "maxmemory-policy noeviction."
        )
    if text.get("appendonly", "yes") != "yes":
        raise BadSetting(
            f"The Redis at {place} has appendonly {text['appendonly']}, so its restart loses accepted jobs. Set appendonly yes."
        )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
