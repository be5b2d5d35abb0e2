"""The transitions of files and batches, as Lua scripts: Redis runs each one whole, or not at all.

    validating --start--> in_progress --seal--> finalizing --complete--> completed
        |                     |                      |
        +--fail--> failed     +--cancel--> cancelling +--complete--> cancelled, expired

Parts of a batch are jobs. `open` counts those that were handed out and have not ended. The transition that ends a job takes one
off, and names the batch in `batches:ending` when none is left. Parts are handed out a few at a time (`WINDOW`), so that a batch
leaves workers to other jobs.

What a crash leaves behind:

- A part was handed out, and its job was not accepted: `repair` accepts the jobs of all parts that were handed out, by their
  ids; a job that is known stays as it is.
- A job computed lines, and died before `record`: they are computed again. After `record`: the next attempt goes on behind them.
- Two attempts of a part at once (a frozen server): `record` takes what continues the part, and refuses the other.
- The answer of a script is lost, and the client library sends it again: `create`, `record` and `complete` find what they wrote,
  and report success; `hand_out` hands out nothing twice.
- `record` after `seal` is refused: what the output has is fixed.
- A file was stored, and its record was not: no record names it, and it is removed when it is old.
"""

from __future__ import annotations

from typing import Final

from shortlist.jobs.transitions import PREFIX

WINDOW: Final = 8
"""Parts of a batch that are handed out at once."""

MAX_FILES: Final = 10_000
"""Files of one owner; results of batches may exceed it."""

_COMMON: Final = (
    f"""
local P, WINDOW, MAX_FILES = '{PREFIX}', {WINDOW}, {MAX_FILES}
"""
    """
local OPEN, ENDING, USAGE = P..'batches:open', P..'batches:ending', P..'files:bytes'

local ENDED = {completed = true, cancelled = true, expired = true}

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function file_key(id) return P..'file:'..id end
local function batch_key(id) return P..'batch:'..id end

local function read(key, ...)
  local values, fields = redis.call('HMGET', key, ...), {}
  for i, name in ipairs({...}) do fields[name] = values[i] or '' end
  return fields
end

local function create_file(id, owner, bytes, filename, purpose, ttl)
  local now = now_ms()
  redis.call('HSET', file_key(id), 'owner', owner, 'bytes', bytes, 'filename', filename, 'purpose', purpose,
    'created', now, 'expires', now + ttl)
  redis.call('ZADD', P..'files:of:'..owner, now, id)
  redis.call('ZADD', P..'files:expiring', now + ttl, id)
  redis.call('HINCRBY', USAGE, owner, bytes)
  return now
end

local function use(owner, bytes)
  if redis.call('HINCRBY', USAGE, owner, string.format('%d', bytes)) <= 0 then redis.call('HDEL', USAGE, owner) end
end

-- Hand out no more parts; the batch is done when those that were handed out are.
local function close(id, now)
  local batch = read(batch_key(id), 'next')
  redis.call('HSET', batch_key(id), 'parts', batch.next)
  if (tonumber(redis.call('HGET', batch_key(id), 'open')) or 0) <= 0 then redis.call('ZADD', ENDING, now, id) end
end

local function tell(id) redis.call('PUBLISH', P..'jobs:news', id) end
"""
)

_SCRIPT: Final = "#!lua flags=allow-oom\n" + _COMMON

CREATE_FILE: Final = (
    "#!lua\n"
    + _COMMON
    + """
local id, owner, bytes, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('EXISTS', file_key(id)) == 1 then return 1 end  -- sent again
if (tonumber(redis.call('HGET', USAGE, owner)) or 0) + bytes > limit then return 0 end
if redis.call('ZCARD', P..'files:of:'..owner) >= MAX_FILES then return 0 end
return create_file(id, owner, bytes, ARGV[5], ARGV[6], tonumber(ARGV[7]))
"""
)
"""id, owner, bytes, most bytes of an owner, file name, purpose, ttl in ms. Returns 0 if it is too much."""

DELETE_FILE: Final = (
    _SCRIPT
    + """
local id, expired_only = ARGV[1], ARGV[3] == '1'
local file = read(file_key(id), 'owner', 'bytes', 'expires')
if file.owner == '' then
  redis.call('ZREM', P..'files:expiring', id)
  return 0
end
if expired_only and tonumber(file.expires) > now_ms() then  -- a batch needs it for longer
  redis.call('ZADD', P..'files:expiring', file.expires, id)
  return 0
end
if not expired_only and file.owner ~= ARGV[2] then return 0 end
redis.call('DEL', file_key(id))
redis.call('ZREM', P..'files:of:'..file.owner, id)
redis.call('ZREM', P..'files:expiring', id)
use(file.owner, -tonumber(file.bytes))
return 1
"""
)
"""id, owner, 1 to remove it only if it has expired, whosoever it is. Returns whether the record was removed."""

CREATE_BATCH: Final = (
    "#!lua\n"
    + _COMMON
    + """
local id, owner, input, window, max_open = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
if redis.call('EXISTS', batch_key(id)) == 1 then return {'created', now} end  -- sent again
local file = read(file_key(input), 'owner', 'purpose', 'expires')
if file.owner ~= owner or tonumber(file.expires) <= now then return {'no_file', 0} end
if file.purpose ~= 'batch' then return {'purpose', 0} end
local mine = P..'batches:of:'..owner
redis.call('ZREMRANGEBYSCORE', P..'batches:open:of:'..owner, '-inf', now)
if redis.call('ZCARD', P..'batches:open:of:'..owner) >= max_open then return {'too_many', 0} end
local deadline = now + window
redis.call('HSET', file_key(input), 'expires', math.max(tonumber(file.expires), deadline + 3600000))
redis.call('HSET', batch_key(id), 'owner', owner, 'input', input, 'status', 'validating', 'created', now, 'deadline', deadline,
  'moved', now, 'open', 0, 'next', 0, 'parts', 0, 'total', 0, 'num_completed', 0, 'num_failed', 0, 'bytes', 0, unpack(ARGV, 6))
redis.call('PEXPIREAT', batch_key(id), deadline + 31 * 86400000)
redis.call('ZADD', mine, now, id)
redis.call('PEXPIREAT', mine, deadline + 31 * 86400000)
redis.call('ZADD', OPEN, deadline, id)
redis.call('ZADD', P..'batches:open:of:'..owner, deadline + 3600000, id)
return {'created', now}
"""
)
"""id, owner, input file, time to the deadline in ms, most open batches of an owner; then fields and values."""

START: Final = (
    _SCRIPT
    + """
local id, total, parts, plan, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], now_ms()
local batch = read(batch_key(id), 'status', 'deadline')
if batch.status ~= 'validating' then return 0 end
redis.call('HSET', batch_key(id), 'status', 'in_progress', 'in_progress_at', now, 'total', total, 'parts', parts)
redis.call('SET', batch_key(id)..':plan', plan, 'PXAT', tonumber(batch.deadline) + 7 * 86400000)
tell(id)
return 1
"""
)
"""id, number of lines, number of parts, the parts. Returns whether the batch was being validated."""

FAIL: Final = (
    _SCRIPT
    + """
local id, now = ARGV[1], now_ms()
local batch = read(batch_key(id), 'status', 'owner')
if batch.status ~= 'validating' then return 0 end
redis.call('HSET', batch_key(id), 'status', 'failed', 'failed_at', now, 'errors', ARGV[2])
redis.call('ZREM', OPEN, id)
redis.call('ZREM', P..'batches:open:of:'..batch.owner, id)
tell(id)
return 1
"""
)
"""id, errors."""

HAND_OUT: Final = (
    _SCRIPT
    + """
local id, extra = ARGV[1], tonumber(ARGV[2])
local batch = read(batch_key(id), 'status', 'next', 'parts', 'open')
if batch.status ~= 'in_progress' then return {0, 0} end
local from = tonumber(batch.next)
local to = math.min(tonumber(batch.parts), from + WINDOW + extra - tonumber(batch.open))
if to <= from then return {0, 0} end
redis.call('HSET', batch_key(id), 'next', to, 'moved', now_ms())
redis.call('HINCRBY', batch_key(id), 'open', to - from)
return {from, to}
"""
)
"""id, how many of the open parts are about to end. Returns the first of the parts to accept, and the one behind the last."""

RECORD: Final = (
    _SCRIPT
    + """
local id, part, from, to = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local bytes, limit, now = tonumber(ARGV[7]), tonumber(ARGV[8]), now_ms()
local batch, chunks = read(batch_key(id), 'status', 'sealed', 'owner', 'deadline'), batch_key(id)..':chunks'
if batch.status == '' or batch.sealed == '1' then return 0 end
local done = redis.call('HGET', chunks, part..':lines') or '0'
if done ~= from then return redis.call('HGET', chunks, part..':'..from) == ARGV[9] and 1 or 0 end  -- this one, sent again
redis.call('HSET', chunks, part..':lines', to, part..':'..from, ARGV[9])
redis.call('PEXPIREAT', chunks, tonumber(batch.deadline) + 7 * 86400000)
redis.call('HINCRBY', batch_key(id), 'num_completed', ARGV[5])
redis.call('HINCRBY', batch_key(id), 'num_failed', ARGV[6])
redis.call('HINCRBY', batch_key(id), 'bytes', bytes)
redis.call('HSET', batch_key(id), 'moved', now)
use(batch.owner, bytes)
if batch.status == 'in_progress' and tonumber(redis.call('HGET', USAGE, batch.owner)) > limit then
  redis.call('HSET', batch_key(id), 'status', 'finalizing', 'finalizing_at', now, 'ending', 'storage_full')
  close(id, now)
end
tell(id)
return 1
"""
)
"""id, part, first line, line behind the last one, completed, failed, bytes, most bytes of the owner, the chunk. 0: refused."""

CANCEL_BATCH: Final = (
    _SCRIPT
    + """
local id, now = ARGV[1], now_ms()
local batch = read(batch_key(id), 'status', 'owner')
if batch.owner ~= ARGV[2] then return 0 end
if batch.status == 'validating' or batch.status == 'in_progress' then
  redis.call('HSET', batch_key(id), 'status', 'cancelling', 'cancelling_at', now, 'ending', 'cancelled')
  close(id, now)
  tell(id)
end
return 1
"""
)
"""id, owner. Returns whether the owner has such a batch."""

EXPIRE: Final = (
    _SCRIPT
    + """
local id, now = ARGV[1], now_ms()
local batch = read(batch_key(id), 'status', 'deadline')
if batch.status == '' then redis.call('ZREM', OPEN, id) return 0 end
if batch.status == 'validating' or batch.status == 'in_progress' then
  redis.call('HSET', batch_key(id), 'status', 'finalizing', 'finalizing_at', now, 'ending', 'expired')
  close(id, now)
  tell(id)
elseif now > tonumber(batch.deadline) + 900000 then
  redis.call('ZADD', ENDING, now, id)
end
return 1
"""
)
"""id of a batch whose deadline has passed. One whose parts do not end is finalised a quarter of an hour later all the same."""

SEAL: Final = (
    _SCRIPT
    + """
local id, now = ARGV[1], now_ms()
local batch = read(batch_key(id), 'status')
if batch.status == 'in_progress' then
  redis.call('HSET', batch_key(id), 'status', 'finalizing', 'finalizing_at', now)
  tell(id)
elseif batch.status ~= 'finalizing' and batch.status ~= 'cancelling' then
  return 0
end
redis.call('HSET', batch_key(id), 'sealed', '1')
return 1
"""
)
"""id. Returns whether the batch is to be finalised; no part can record lines from now on."""

COMPLETE: Final = (
    _SCRIPT
    + """
local id, output, output_bytes, failures, failures_bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local num_failed, filename, default_ttl, now = ARGV[6], ARGV[7], tonumber(ARGV[8]), now_ms()
local batch = read(batch_key(id), 'status', 'sealed', 'owner', 'ending', 'bytes', 'output_ttl')
if ENDED[batch.status] then  -- perhaps by this one, whose answer was lost
  local files = read(batch_key(id), 'output', 'error')
  return output..failures ~= '' and files.output == output and files.error == failures and 1 or 0
end
if batch.sealed ~= '1' or (batch.status ~= 'finalizing' and batch.status ~= 'cancelling') then return 0 end
local ttl = tonumber(batch.output_ttl) or default_ttl
use(batch.owner, -tonumber(batch.bytes))
if output ~= '' then create_file(output, batch.owner, output_bytes, filename..'_output.jsonl', 'batch_output', ttl) end
if failures ~= '' then create_file(failures, batch.owner, failures_bytes, filename..'_error.jsonl', 'batch_output', ttl) end
local status = batch.ending
if status ~= 'cancelled' and status ~= 'expired' then status = 'completed' end
redis.call('HSET', batch_key(id), 'status', status, status..'_at', now, 'output', output, 'error', failures,
  'num_failed', num_failed)
redis.call('DEL', batch_key(id)..':chunks', batch_key(id)..':plan')
redis.call('ZREM', OPEN, id)
redis.call('ZREM', ENDING, id)
redis.call('ZREM', P..'batches:open:of:'..batch.owner, id)
tell(id)
return 1
"""
)
"""id, output file, its bytes, error file, its bytes, failed lines, name of the files, ttl in ms. Returns 0 if it has ended."""
