"""A malformed address is a startup error in one sentence that never contains the password."""

from __future__ import annotations

import re
import sys

import pytest

from shortlist.errors import BadSetting
from shortlist.installation import install_hint
from shortlist.scheduler.redis_store import RedisStore, location_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://user:canary@cache.example:6380/3", "redis://cache.example:6380/3"),
        ("rediss://:canary@cache.example/0?ssl_cert_reqs=none", "rediss://cache.example/0"),
        ("redis://[::1]:7000/1", "redis://[::1]:7000/1"),
        ("unix:///run/redis.sock?password=canary", "unix:///run/redis.sock"),
        ("unix://user:canary@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_location_names_the_store_without_its_password(url: str, place: str) -> None:
    assert location_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "redis://:canary@host:port",
        "redis://:canary@host:99999",
        "redis://:canary@[::1",
        "redis://:canary@host?db=one",
        "redis://:canary@host?socket_timeout=canary",
        "redis://:canary@host?canary=1",
    ],
)
def test_address_that_is_none_is_refused_without_being_quoted(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(BadSetting, match="cache_url") as refusal:
        RedisStore(url, ttl_s=1)
    assert "canary" not in refusal.value.message
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [each for each in sys.modules if each.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BadSetting, match=rf"--cache-url.*{re.escape(install_hint('redis'))}"):
        RedisStore("redis://localhost", ttl_s=1)
