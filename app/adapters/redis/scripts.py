"""Lua scripts that run in Redis.

They are compare-and-set, compare-and-delete, put-if-absent, reads with a size limit, and sliding-window rate limits.
The reads have a limit because other programs may store values of any size.
"""

from typing import Final

REPLACE: Final = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
  return 1
end
return 0
"""
"""Takes a key; the expected value, the new value, its time to live in ms. Returns 1 if it was replaced, else 0."""

REMOVE: Final = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('del', KEYS[1])
end
return 0
"""
"""Takes a key; the expected value. Returns 1 if the key was deleted, else 0."""

READ: Final = """
local found = {}
for number, key in ipairs(KEYS) do
  local size = redis.pcall('strlen', key)
  if type(size) == 'number' and size <= tonumber(ARGV[1]) then
    found[number] = redis.call('get', key)
  else
    found[number] = ''
  end
end
return found
"""
"""Takes keys; the size limit in bytes. Returns for each key its value, or nil if the key does not exist.

A value that is larger or not a string is replaced by an empty string. Reading 50 values takes Redis 90 to 120
microseconds; MGET takes 13.
"""

PUT_IF_ABSENT: Final = """
if redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2]) then
  return false
end
if redis.call('strlen', KEYS[1]) > tonumber(ARGV[3]) then
  return ''
end
return redis.call('get', KEYS[1])
"""
"""Takes a key; a value, its time to live in ms, the size limit of the current value in bytes.

Returns nil if the value was stored; otherwise the current value, or an empty string if it exceeds the size limit.
"""

MEMBERS: Final = """
local found = {}
for _, member in ipairs(redis.call('zrevrangebyscore', KEYS[1], '+inf', '(' .. ARGV[1], 'limit', 0, ARGV[2])) do
  if #member <= tonumber(ARGV[3]) then
    found[#found + 1] = member
  end
end
return found
"""
"""Takes the key of a sorted set; a score, the maximum number of members to read, the size limit of a member in bytes.

Returns the members with a greater score, in descending order of score, without those above the size limit.
"""

COUNT_CALL: Final = """
local now = tonumber(ARGV[1])
local windows, refusing, longest = {}, 0, 0
for number, key in ipairs(KEYS) do
  local most, width = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
  local bucket, counts, kept, remaining_calls, wait = math.floor(now / width), {}, {}, 0, 0
  local value = redis.pcall('get', key)
  if type(value) == 'string' and #value <= 4096 then
    for bucket_text, count in string.gmatch(value, '(%d+):(%d+)') do
      local counted = tonumber(bucket_text)
      if counted <= bucket + 60 then
        counts[#counts + 1] = {counted, tonumber(count)}
      end
    end
  end
  if #counts > 0 then
    bucket = math.max(bucket, counts[#counts][1])
  end
  for _, pair in ipairs(counts) do
    if pair[1] >= bucket - 60 then
      kept[#kept + 1] = pair
      remaining_calls = remaining_calls + pair[2]
    end
  end
  for _, pair in ipairs(kept) do
    if remaining_calls < most then
      break
    end
    remaining_calls = remaining_calls - pair[2]
    wait = (pair[1] + 61) * width - now
  end
  if wait > longest then
    refusing, longest = number, wait
  end
  windows[number] = {kept, bucket, width}
end
if refusing > 0 then
  return {refusing, longest}
end
for number, key in ipairs(KEYS) do
  local kept, bucket, width = unpack(windows[number])
  if #kept > 0 and kept[#kept][1] == bucket then
    kept[#kept][2] = kept[#kept][2] + 1
  else
    kept[#kept + 1] = {bucket, 1}
  end
  local parts = {}
  for position, pair in ipairs(kept) do
    parts[position] = string.format('%d:%d', pair[1], pair[2])
  end
  redis.call('set', key, table.concat(parts, ' '), 'px', 62 * width)
end
return {0, 0}
"""
"""Takes the keys of sliding windows; the time in ms, then for each key its limit and the width of its buckets in ms.

Counts a call in all windows and returns 0 and 0, or counts it in none and returns the number of the key that refuses
with the longest wait, and that wait in ms. `app/services/limits/sliding_window.py` explains the windows. A value lists
the buckets of one window, at most 61, as number and count. The caller passes the time, because reading the server's
clock needs the ACL permission for TIME, which earlier releases did not require. A call is never counted in a bucket
before the newest one, so the clocks of replicas may differ.
"""
