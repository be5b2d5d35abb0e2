"""The Redis of the jobs is checked at the start: it must keep what it accepts."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

pytest.importorskip("redis")

from shortlist.errors import BadSetting
from shortlist.jobs.connection import check_redis
from tests.support.redis_server import missing_redis, pretender, redis_server

needs_redis = pytest.mark.skipif(missing_redis() is not None, reason="redis-server is not installed")


@needs_redis
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--appendonly", "no"), "appendonly no"),
        (("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"), "maxmemory-policy allkeys-lru"),
    ],
)
def test_redis_that_would_lose_jobs_is_refused(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with redis_server(tmp_path, *arguments) as redis, pytest.raises(BadSetting, match=sentence):
        check_redis(redis.url)


@needs_redis
def test_redis_that_keeps_jobs_is_taken(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly", "yes", password="canary") as redis:
        check_redis(redis.url)
        with pytest.raises(BadSetting, match="AuthenticationError") as refused:
            check_redis(redis.url.replace("canary", "wrong"))
    assert "wrong" not in str(refused.value)


@needs_redis
def test_redis_that_hides_its_settings_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path, "--rename-command", "CONFIG", "") as redis:
        check_redis(redis.url)
    assert "appendonly yes" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_no_redis_is_a_sentence_without_the_password() -> None:
    with pytest.raises(BadSetting, match=r"Durable jobs .* need a Redis 7") as refused:
        check_redis("redis://user:canary@127.0.0.1:1/0")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b""])
def test_something_else_at_that_address_is_a_sentence(answer: bytes) -> None:
    with pretender(answer) as url, pytest.raises(BadSetting, match="Durable jobs"):
        check_redis(url)


def test_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(BadSetting, match="--jobs"):
        check_redis("redis://127.0.0.1:1/0")
