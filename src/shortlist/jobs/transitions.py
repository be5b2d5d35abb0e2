"""The transitions of a job, as Lua scripts: Redis runs each one whole, or not at all.

    queued --take--> running --finish--> succeeded, failed
      ^                 |
      +--retry, sweep---+          any but an ended job: --cancel--> cancelled, --sweep--> expired

A script is a compare-and-set: it checks the status and the lease token before it writes. `take` stores a random token of its
worker; `beat`, `finish` and `retry` need it. Time is Redis' `TIME`. All keys have one hash tag, so they share a cluster slot.

What a crash leaves behind, by the moment at which it happens:

- Redis dies within a script: its append-only file has the script's writes as one transaction, whole or not at all.
- A server dies before `accept`: there is no job, and no 202. After `accept`, before the 202: the job runs, and the client sees
  a broken connection; with an `Idempotency-Key` it finds the same job again.
- A server dies after `accept`, before the doorbell rings, or the ring is lost: the sweep of any server or worker finds a job
  that is due, and rings once the mark of the last ring is gone (`RING_MS`).
- A worker dies after `take`: the lease ends, and `sweep` queues the job again. An answer that it had is computed again.
- The answer of `take` is lost, and the client library sends it again: two jobs have the token. The worker works on the second;
  the lease of the first ends.
- A worker is frozen, and wakes up after its lease: the status is no longer `running`, or the token is another worker's. `beat`
  and `finish` refuse.
- A worker dies after `finish`: the job has ended, and nothing else was to be done.
- The answer of `finish` is lost: sent again, it finds the status ended with its own token, and reports success.
- The answer of `retry` is lost: sent again, it finds the status `queued`, and changes nothing.
- A client cancels while a worker computes: its next `beat` or `finish` is refused, and it drops the work.
- Redis loses its last writes (a power cut with `appendfsync everysec`, a failover): the job is as it was before them. It is
  taken again with another random token, so that a worker from the lost past is refused. Only a lost `accept` loses a job.
- Redis is full: `accept` is refused as a whole. All other scripts may use more memory, so that jobs end and free theirs.
- Nothing runs any more: every key of a job has an expiry from `accept` on.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "{shortlist}:"
"""Prefix of every key; its braces make it the hash tag of Redis Cluster."""

RECORD_VERSION: Final = 1
"""Version of new records. A release reads records of the version before and after its own: versions may only add fields, and
readers need a default for each."""

RING_MS: Final = 3000
"""How long a ring counts as heard, if no worker answers it."""

MAX_FAILURES: Final = 10
"""The cost of failed attempts after which a job is given up."""

MAX_EVENTS: Final = 1000
"""Most events that are kept of one job."""

_COMMON: Final = (
    f"""
local P, RING_MS, MAX_FAILURES, MAX_EVENTS = '{PREFIX}', {RING_MS}, {MAX_FAILURES}, {MAX_EVENTS}
local DUE, LEASED, OPEN, TOKENS, STATS = P..'jobs:due', P..'jobs:leased', P..'jobs:open', P..'jobs:tokens', P..'jobs:stats'
"""
    """
local ENDED = {succeeded = true, failed = true, cancelled = true, expired = true}

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function key_of(id) return P..'job:'..id end

-- Return fields of a record by name; a field that another version does not have is an empty string.
local function read(id, ...)
  local values, fields = redis.call('HMGET', key_of(id), ...), {}
  for i, name in ipairs({...}) do fields[name] = values[i] or '' end
  return fields
end

local function enter_due(id, at)
  if redis.call('ZADD', DUE, at, id) == 1 then
    redis.call('INCRBY', TOKENS, tonumber(read(id, 'tokens').tokens) or 0)
  end
end

local function leave_due(id)
  if redis.call('ZREM', DUE, id) == 1 then
    redis.call('DECRBY', TOKENS, tonumber(read(id, 'tokens').tokens) or 0)
  end
end

-- List a job among those of its owner. The parts of batches are not: one batch would hide all other jobs.
local function list(id, owner, at)
  if string.sub(id, 1, 6) ~= 'batch_' then redis.call('ZADD', P..'jobs:of:'..owner, at, id) end
end

-- Append an event, and wake the followers of the job.
local function tell(id, now)
  local job = read(id, 'status', 'attempts', 'expires')
  local events = key_of(id)..':events'
  redis.call('XADD', events, 'MAXLEN', '~', MAX_EVENTS, '*', 'status', job.status, 'attempts', job.attempts, 'at', now)
  redis.call('PEXPIREAT', events, job.expires)
  redis.call('PUBLISH', P..'jobs:news', id)
end

-- Mark the doorbell of a kind as rung; return whether it has to ring.
local function must_ring(kind)
  return redis.call('SET', P..'jobs:rung:'..kind, 1, 'NX', 'PX', RING_MS) and 1 or 0
end

local function is_ready(now)
  return #redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 1) == 1
end

-- End a job: drop its body, start the expiry of what stays, and tell followers, its batch and its webhook.
local function end_job(id, status, now)
  local job = read(id, 'ttl', 'owner', 'idem', 'webhook', 'batch')
  leave_due(id)
  redis.call('ZREM', LEASED, id)
  redis.call('ZREM', OPEN, id)
  redis.call('DEL', key_of(id)..':in')
  local ttl = tonumber(job.ttl)
  redis.call('HSET', key_of(id), 'status', status, 'finished', now, 'expires', now + ttl)
  redis.call('PEXPIRE', key_of(id)..':out', ttl)
  redis.call('PEXPIRE', key_of(id), 2 * ttl)
  if job.idem ~= '' then redis.call('PEXPIRE', P..'jobs:idem:'..job.idem, 2 * ttl) end
  list(id, job.owner, now + 2 * ttl)
  redis.call('HINCRBY', STATS, status, 1)
  tell(id, now)
  if job.webhook ~= '' then redis.call('ZADD', P..'jobs:hooks', now, id) end
  local batch = P..'batch:'..job.batch
  if job.batch ~= '' and redis.call('EXISTS', batch) == 1 then
    redis.call('HINCRBY', batch, status, 1)
    if redis.call('HINCRBY', batch, 'open', -1) <= 0 then redis.call('ZADD', P..'batches:ending', now, job.batch) end
    redis.call('PUBLISH', P..'jobs:news', job.batch)
  end
end

-- Queue a running job again.
local function put_back(id, at, now)
  redis.call('ZREM', LEASED, id)
  redis.call('HSET', key_of(id), 'status', 'queued')
  enter_due(id, at)
  tell(id, now)
end
"""
)

_MAY_BE_FULL: Final = "#!lua flags=allow-oom\n"

ACCEPT: Final = (
    "#!lua\n"
    + _COMMON
    + """
local id, idem, digest, kind, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local max_age, ttl = tonumber(ARGV[6]), tonumber(ARGV[7])
if redis.call('EXISTS', key_of(id)) == 1 then return {'accepted', id, tonumber(read(id, 'created').created), 0} end
if idem ~= '' then
  local known = redis.call('GET', P..'jobs:idem:'..idem)
  local theirs = known and read(known, 'digest').digest or ''
  if theirs == digest then return {'known', known, 0, 0} end
  if theirs ~= '' then return {'conflict', known, 0, 0} end
end
local now = now_ms()
local expires = now + max_age + ttl
redis.call('HSET', key_of(id), 'status', 'queued', 'created', now, 'deadline', now + max_age, 'ttl', ttl, 'expires', expires,
  'attempts', 0, 'failures', 0, 'idem', idem, 'digest', digest, unpack(ARGV, 8))
redis.call('PEXPIREAT', key_of(id), expires)
redis.call('SET', key_of(id)..':in', body, 'PXAT', expires)
if idem ~= '' then redis.call('SET', P..'jobs:idem:'..idem, id, 'PXAT', expires) end
local owner = read(id, 'owner').owner
local mine = P..'jobs:of:'..owner
redis.call('ZREMRANGEBYSCORE', mine, '-inf', now)
list(id, owner, expires)
redis.call('PEXPIREAT', mine, expires + ttl)
redis.call('ZADD', OPEN, now + max_age, id)
redis.call('HINCRBY', STATS, 'accepted', 1)
enter_due(id, now)
tell(id, now)
return {'accepted', id, now, must_ring(kind)}
"""
)
"""id, idempotency digest, request digest, doorbell, body, longest age in ms, ttl in ms; then fields and values."""

TAKE: Final = (
    _MAY_BE_FULL
    + _COMMON
    + """
local token, lease, version, kind, is_answer = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local now = now_ms()
if is_answer == '1' then redis.call('DEL', P..'jobs:rung:'..kind) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 64)) do
  local job = read(id, 'status', 'v', 'deadline')
  local is_readable = math.abs((tonumber(job.v) or 0) - version) <= 1  -- others are left to workers of their release
  if job.status ~= 'queued' then
    leave_due(id)
  elseif is_readable and tonumber(job.deadline) <= now then
    end_job(id, 'expired', now)
  elseif is_readable then
    leave_due(id)
    redis.call('HSET', key_of(id), 'status', 'running', 'token', token)
    redis.call('HINCRBY', key_of(id), 'attempts', 1)
    redis.call('HINCRBY', STATS, 'attempts', 1)
    redis.call('ZADD', LEASED, now + lease, id)
    tell(id, now)
    local body = redis.call('GET', key_of(id)..':in')
    return {id, redis.call('HGETALL', key_of(id)), body, is_ready(now) and must_ring(kind) or 0}
  end
end
return false
"""
)
"""Token, lease in ms, record version, doorbell, 1 if this answers a ring: later jobs ring again."""

_HOLDS: Final = """
local id, token, now = ARGV[1], ARGV[2], now_ms()
local job = read(id, 'status', 'token', 'failures', 'keep', 'ttl')
local is_holder = job.status == 'running' and job.token == token
"""

BEAT: Final = (
    _MAY_BE_FULL
    + _COMMON
    + _HOLDS
    + """
if is_holder then redis.call('ZADD', LEASED, now + tonumber(ARGV[3]), id) end
return is_holder and 1 or 0
"""
)
"""id, token, lease in ms. Returns whether the lease is still held."""

FINISH: Final = (
    _MAY_BE_FULL
    + _COMMON
    + _HOLDS
    + """
if not is_holder then
  return (job.status == 'succeeded' or job.status == 'failed') and job.token == token and 1 or 0
end
if job.keep ~= '0' then
  redis.call('SET', key_of(id)..':out', ARGV[6], 'PX', job.ttl)
  redis.call('HSET', key_of(id), 'http_status', ARGV[4], 'http_headers', ARGV[5])
end
end_job(id, ARGV[3], now)
return 1
"""
)
"""id, token, status, HTTP status, HTTP headers, body. Returns whether the result of this token is the job's."""

RETRY: Final = (
    _MAY_BE_FULL
    + _COMMON
    + _HOLDS
    + """
if not is_holder then return {'lost', 0} end
local cost = tonumber(ARGV[4])
local failures = redis.call('HINCRBY', key_of(id), 'failures', cost)
if cost > 0 and failures >= MAX_FAILURES then return {'spent', 0} end
put_back(id, now + tonumber(ARGV[3]), now)
return {'queued', 0}
"""
)
"""id, token, delay in ms, cost. `spent`: nothing has changed but the failures, and the worker has to finish the job."""

CANCEL: Final = (
    _MAY_BE_FULL
    + _COMMON
    + """
local id, owner, now = ARGV[1], ARGV[2], now_ms()
local job = read(id, 'status', 'owner')
if job.status == '' or job.owner ~= owner then return 0 end
if not ENDED[job.status] then end_job(id, 'cancelled', now) end
redis.call('DEL', key_of(id)..':out', key_of(id)..':events')
return 1
"""
)
"""id, owner. Returns whether the owner has such a job."""

SWEEP: Final = (
    _MAY_BE_FULL
    + _COMMON
    + """
local kind, now = ARGV[1], now_ms()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASED, '-inf', now, 'LIMIT', 0, 100)) do
  local job = read(id, 'status', 'ttl')
  if job.status ~= 'running' then
    redis.call('ZREM', LEASED, id)
  else
    redis.call('HINCRBY', STATS, 'leases_expired', 1)
    if redis.call('HINCRBY', key_of(id), 'failures', 1) < MAX_FAILURES then
      put_back(id, now, now)
    else
      redis.call('SET', key_of(id)..':out', ARGV[4], 'PX', job.ttl)
      redis.call('HSET', key_of(id), 'http_status', ARGV[2], 'http_headers', ARGV[3])
      end_job(id, 'failed', now)
    end
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'LIMIT', 0, 100)) do
  if read(id, 'status').status == '' then redis.call('ZREM', OPEN, id) else end_job(id, 'expired', now) end
end
local num_due, first = redis.call('ZCARD', DUE), redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
if num_due == 0 then redis.call('DEL', TOKENS) end
local age = first[2] and math.max(0, now - first[2]) or 0
local hook = redis.call('ZRANGE', P..'jobs:hooks', 0, 0, 'WITHSCORES')[2]
return {is_ready(now) and must_ring(kind) or 0, num_due, tonumber(redis.call('GET', TOKENS) or 0), age,
  redis.call('ZCARD', LEASED), redis.call('ZCARD', P..'jobs:hooks'), hook and math.max(0, now - hook) or 0,
  redis.call('HGETALL', STATS)}
"""
)
"""Doorbell; HTTP status, headers and body of the answer for jobs that are given up. Returns whether to ring, and the counts."""
