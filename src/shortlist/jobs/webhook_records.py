"""What the records of jobs know of their webhooks: transitions as Lua scripts, and the calls around them.

    (the job ends) --> waiting --take--> being sent --settle--> delivered, failed
                          ^                  |
                          +-----settle-------+     a sender that dies is as good as a failed attempt

The script that ends a job queues its webhook, so none is lost. `take` leases it to one sender, for longer than an attempt;
`settle` needs the number of the attempt. A webhook may therefore be sent again although it arrived: its id says so.

Signing secrets are per owner: who can verify one owner's webhooks cannot forge another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shortlist.jobs.records import JobStore
from shortlist.jobs.transitions import PREFIX
from shortlist.jobs.webhook_sender import TIMEOUT_S, WebhookOutcome
from shortlist.jobs.webhook_signature import new_secret

LEASE_S: Final = 2 * TIMEOUT_S
MAX_ATTEMPTS: Final = 7
MAX_RESULT_BYTES: Final = 65_536
"""A larger result is not in the webhook; the receiver reads it from the server. The specification recommends small messages."""

SECRET_TTL_S: Final = 400 * 86_400
"""A secret that was not used for so long is forgotten."""

ROTATION_S: Final = 86_400
"""Seconds after a rotation for which the previous secret signs, too."""

KEPT_BEYOND_S: Final = 60
"""A record is kept at least this long beyond the next attempt of its webhook."""

_COMMON: Final = (
    "#!lua flags=allow-oom\n"
    f"local P = '{PREFIX}'\n"
    """
local HOOKS, STATS = P..'jobs:hooks', P..'jobs:stats'

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function secrets_of(owner, candidate, keep, now)
  local key = P..'jobs:hook-secret:'..owner
  redis.call('HSETNX', key, 'current', candidate)
  redis.call('PEXPIRE', key, keep)
  local found = redis.call('HMGET', key, 'current', 'previous', 'previous_until')
  if (tonumber(found[3]) or 0) > now then return {found[1], found[2]} end
  return {found[1]}
end
"""
)

TAKE: Final = (
    _COMMON
    + """
local limit, lease, max_attempts, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local candidate, keep, now, taken = ARGV[5], ARGV[6], now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', HOOKS, '-inf', now, 'LIMIT', 0, limit)) do
  local key = P..'job:'..id
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', HOOKS, id)
  elseif (tonumber(redis.call('HGET', key, 'hook_attempts')) or 0) >= max_attempts then
    redis.call('ZREM', HOOKS, id)
    redis.call('HSET', key, 'hook_status', 'failed')
    redis.call('HINCRBY', STATS, 'hooks_given_up', 1)
  else
    redis.call('ZADD', HOOKS, now + lease, id)
    redis.call('HINCRBY', key, 'hook_attempts', 1)
    local out = redis.call('STRLEN', key..':out') <= max_bytes and redis.call('GET', key..':out') or ''
    local secrets = secrets_of(redis.call('HGET', key, 'owner'), candidate, keep, now)
    taken[#taken + 1] = {id, redis.call('HGETALL', key), out, secrets}
  end
end
return {now, taken}
"""
)
"""Most webhooks, lease in ms, most attempts, most bytes of a result, a secret for owners without one, its ttl in ms."""

SETTLE: Final = (
    _COMMON
    + """
local id, attempt, outcome, reason, delay, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = P..'job:'..id
if redis.call('HGET', key, 'hook_attempts') ~= attempt then return 0 end
redis.call('HINCRBY', STATS, 'hooks_'..outcome, 1)
redis.call('HSET', key, 'hook_reason', reason)
if outcome == 'delivered' then
  redis.call('ZREM', HOOKS, id)
  redis.call('HSET', key, 'hook_status', 'delivered')
elseif delay < 0 then
  redis.call('ZREM', HOOKS, id)
  redis.call('HSET', key, 'hook_status', 'failed')
  redis.call('HINCRBY', STATS, 'hooks_given_up', 1)
else
  redis.call('ZADD', HOOKS, now_ms() + delay, id)
  redis.call('PEXPIRE', key, delay + kept, 'GT')
end
return 1
"""
)
"""id, attempt, outcome, reason, ms until the next attempt (negative: there is none), ms that the record is kept beyond it."""

POSTPONE: Final = (
    _COMMON
    + """
local id, attempt, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = P..'job:'..id
if redis.call('HGET', key, 'hook_attempts') ~= attempt then return 0 end
redis.call('HINCRBY', key, 'hook_attempts', -1)
redis.call('ZADD', HOOKS, now_ms() + delay, id)
return 1
"""
)
"""id, attempt, ms until it is due again. The attempt does not count."""

SECRETS: Final = (
    _COMMON
    + """
local owner, candidate, keep, now, rotates = ARGV[1], ARGV[2], ARGV[3], now_ms(), tonumber(ARGV[4])
if rotates > 0 then
  local key = P..'jobs:hook-secret:'..owner
  local current = redis.call('HGET', key, 'current')
  if current then redis.call('HSET', key, 'previous', current, 'previous_until', now + rotates, 'current', candidate) end
end
return secrets_of(owner, candidate, keep, now)
"""
)
"""Owner, a new secret, ttl in ms, and, to rotate, ms for which the previous secret stays valid, else 0. Returns the secrets."""


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A webhook in the hands of a sender.

    Attributes:
        job_id: Its job.
        url: Where to send it.
        attempt: The number of the attempt, from 1.
        record: The record of the job.
        result: The body of the job's result; empty if there is none, or it is too large.
        secrets: The secrets to sign with.
        now_ms: Redis' time; unit: milliseconds since 1970.
    """

    job_id: str
    url: str
    attempt: int
    record: Mapping[str, str]
    result: bytes
    secrets: Sequence[str]
    now_ms: int


class WebhookRecords:
    """The calls around the transitions of webhooks. All raise `JobsUnavailable` when Redis does not answer.

    Args:
        store: The records of jobs.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._take, self._settle, self._postpone, self._secrets = (
            store.redis.register_script(script) for script in (TAKE, SETTLE, POSTPONE, SECRETS)
        )

    async def take(self, limit: int) -> list[DueWebhook]:
        """Return the webhooks that have been due for longest, leased to the caller."""
        now_ms, taken = await self._run(
            self._take, limit, _ms(LEASE_S), MAX_ATTEMPTS, MAX_RESULT_BYTES, new_secret(), _ms(SECRET_TTL_S)
        )
        return [_due(now_ms, *each) for each in taken]

    async def settle(self, due: DueWebhook, outcome: WebhookOutcome, reason: str, *, delay_s: float | None) -> bool:
        """Record the outcome of an attempt; return whether the webhook was still leased.

        Args:
            due: The webhook.
            outcome: What became of the attempt.
            reason: The same for people.
            delay_s: Seconds until the next attempt; None if there is none.
        """
        delay_ms = -1 if delay_s is None else _ms(delay_s)
        return bool(await self._run(self._settle, due.job_id, due.attempt, outcome, reason, delay_ms, _ms(KEPT_BEYOND_S)))

    async def postpone(self, due: DueWebhook, delay_s: float) -> None:
        """Put a webhook back without an attempt."""
        await self._run(self._postpone, due.job_id, due.attempt, _ms(delay_s))

    async def secret(self, owner: str) -> str:
        """Return the secret that an owner's webhooks are signed with; it is made when it is first asked for."""
        return await self._current(owner, 0)

    async def rotate_secret(self, owner: str) -> str:
        """Make a new secret and return it. The previous one signs, too, for `ROTATION_S`."""
        return await self._current(owner, _ms(ROTATION_S))

    async def _current(self, owner: str, rotation_ms: int) -> str:
        [current, *_] = await self._run(self._secrets, owner, new_secret(), _ms(SECRET_TTL_S), rotation_ms)
        return str(current.decode())

    async def _run(self, script: Any, *arguments: str | int) -> Any:
        return await self._store.call(lambda: script(keys=[f"{PREFIX}jobs"], args=list(arguments)))


def _due(now_ms: int, job_id: bytes, flat: Sequence[bytes], result: bytes, secrets: Sequence[bytes]) -> DueWebhook:
    record = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    return DueWebhook(
        job_id=job_id.decode(),
        url=record["webhook"],
        attempt=int(record["hook_attempts"]),
        record=record,
        result=result,
        secrets=[each.decode() for each in secrets],
        now_ms=now_ms,
    )


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
