"""What a Redis server does for `RedisState`: Lua, one script a method.

```text
prefix -> 16 shards, each with a hash tag of its own, so that a script stays in one slot
shard  -> "count of buckets, when the last of them ends"
bucket -> records of about 4 KB; a key's hash says which, and it doubles bucket by bucket
          (linear hashing): the bytes beside a record are the same for ten keys and ten million
record -> end (6 bytes, ms), length (3), length of key (2), key, numbers
number -> bytes shared with the name before, further bytes, them, value
```

A record holds its own end and is not read after it. Whoever writes to a bucket leaves out what has
ended, and the bucket ends with its last record. Numbers are doubles in Lua: those of more than 15
digits stay texts, and Redis adds them.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple

__all__ = ["ADD", "DROP", "GET", "KEYS", "SWAP", "Script", "script"]


class Script(NamedTuple):
    """Lua, and the name by which a server knows it that has run it before."""

    text: str
    digest: str


def script(text: str) -> Script:
    """A script by its Lua."""
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


_COMMON: Final = r"""
local LIMIT = 4096
local shard = KEYS[1]
local floor, char, byte, sub, format = math.floor, string.char, string.byte, string.sub, string.format
local pack, unpack = struct.pack, struct.unpack

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

local function varint(n)
  local out = ''
  while n >= 128 do
    out = out .. char(n % 128 + 128)
    n = floor(n / 128)
  end
  return out .. char(n)
end

local function read_varint(text, at)
  local n, place = 0, 1
  while true do
    local b = byte(text, at)
    at = at + 1
    if b < 128 then return n + b * place, at end
    n = n + (b - 128) * place
    place = place * 128
  end
end

-- A number is one of Lua's while it is exact there, else its decimal text.
local function number_of(text) return #text > 15 and text or tonumber(text) end

local function text_of(number)
  return type(number) == 'string' and number or format('%.0f', number)
end

local function packed(number)
  if type(number) == 'string' then return '\0' .. varint(#number) .. number end
  return varint(number < 0 and -2 * number or 2 * number + 1)
end

local function unpacked(body, at)
  local value
  value, at = read_varint(body, at)
  if value == 0 then
    local length
    length, at = read_varint(body, at)
    return sub(body, at, at + length - 1), at + length
  end
  if value % 2 == 1 then return (value - 1) / 2, at end
  return -value / 2, at
end

local function sum(one, other)
  if type(one) == 'number' and type(other) == 'number' then
    local total = one + other
    if total < 1e15 and total > -1e14 then return total end
  end
  local spare = shard .. ':sum'
  redis.call('SET', spare, text_of(one))
  local done = redis.pcall('INCRBY', spare, text_of(other))
  local text = redis.call('GET', spare)
  redis.call('DEL', spare)
  if type(done) == 'table' and done.err then return nil end
  return number_of(text)
end

-- The numbers by name, the names in order, and what a record says before each number.
local function numbers_of(body)
  local numbers, names, heads, before, at = {}, {}, {}, '', 1
  while at <= #body do
    local from, first = at, byte(body, at)
    local shared = floor(first / 16)
    local more = first - shared * 16
    at = at + 1
    if more == 15 then
      more, at = read_varint(body, at)
      more = more + 15
    end
    local name = sub(before, 1, shared) .. sub(body, at, at + more - 1)
    at = at + more
    names[#names + 1] = name
    heads[#heads + 1] = sub(body, from, at - 1)
    numbers[name], at = unpacked(body, at)
    before = name
  end
  return numbers, names, heads
end

local function heads_of(names)
  local heads, before = {}, ''
  for number, name in ipairs(names) do
    local shared, most = 0, math.min(#before, #name, 15)
    while shared < most and byte(before, shared + 1) == byte(name, shared + 1) do
      shared = shared + 1
    end
    local more = #name - shared
    local first = char(shared * 16 + math.min(more, 15))
    if more >= 15 then first = first .. varint(more - 15) end
    heads[number] = first .. sub(name, shared + 1)
    before = name
  end
  return heads
end

local function body_of(numbers, names, heads)
  if not heads then
    table.sort(names)
    heads = heads_of(names)
  end
  local out = {}
  for number, name in ipairs(names) do
    out[2 * number - 1] = heads[number]
    out[2 * number] = packed(numbers[name])
  end
  return table.concat(out)
end

local function hash_of(key) return tonumber(sub(redis.sha1hex(key), 1, 12), 16) end

local state = redis.call('GET', shard)
local count, ends = 1, 0
if state then
  count, ends = string.match(state, '(%d+) (%d+)')
  count, ends = tonumber(count), tonumber(ends)
end
local doubled = 1
while doubled * 2 <= count do doubled = doubled * 2 end

local function bucket_of(key)
  local hash = hash_of(key)
  local bucket = hash % (doubled * 2)
  if bucket >= count then bucket = hash % doubled end
  return bucket
end

local function load(bucket) return redis.call('GET', shard .. ':' .. bucket) or '' end

-- What stays of a bucket beside `key`: {parts, their last end}, and the numbers of `key`.
local function parted(blob, key)
  local rest, found, at, run = {last = 0}, nil, 1, 1
  while at <= #blob do
    local last, size, length = unpack('>I6I3I2', blob, at)
    local after = at + 11 + size
    local is_it = length == #key and sub(blob, at + 11, at + 10 + length) == key
    if is_it or last <= now then
      if run < at then rest[#rest + 1] = sub(blob, run, at - 1) end
      run = after
      if is_it and last > now then found = sub(blob, at + 11 + length, after - 1) end
    elseif last > rest.last then
      rest.last = last
    end
    at = after
  end
  if run < at then rest[#rest + 1] = sub(blob, run) end
  return rest, found
end

-- Show each record that has not ended.
local function each(blob, visit)
  local at = 1
  while at <= #blob do
    local last, size, length = unpack('>I6I3I2', blob, at)
    local after = at + 11 + size
    if last > now then visit(sub(blob, at + 11, at + 10 + length), last, at, after - 1) end
    at = after
  end
end

local function save(bucket, parts)
  local name = shard .. ':' .. bucket
  if #parts == 0 then
    redis.call('DEL', name)
    return 0
  end
  local blob = table.concat(parts)
  redis.call('SET', name, blob, 'PXAT', format('%.0f', parts.last))
  return #blob
end

-- The next bucket in turn gives its part to a new one; whose records were too many does not matter.
local function split()
  local from, stay, go = count - doubled, {last = 0}, {last = 0}
  local blob = load(from)
  each(blob, function(key, last, at, to)
    local there = hash_of(key) % (doubled * 2) == from and stay or go
    there[#there + 1] = sub(blob, at, to)
    if last > there.last then there.last = last end
  end)
  save(from, stay)
  save(count, go)
  count = count + 1
end

-- Keep `body` under `key`, beside what stays of its bucket.
local function keep(bucket, rest, key, body, milliseconds, is_new)
  local last = now + milliseconds
  rest[#rest + 1] = pack('>I6I3I2', last, #key + #body, #key) .. key .. body
  if last > rest.last then rest.last = last end
  local before = count
  if save(bucket, rest) > LIMIT and is_new then split() end
  if last > ends or before ~= count then
    -- Further than needed, so that it is not written every time.
    if last > ends then ends = last + floor(milliseconds / 8) end
    redis.call('SET', shard, format('%.0f %.0f', count, ends), 'PXAT', format('%.0f', ends))
  end
end
"""

ADD: Final = script(
    _COMMON
    + r"""
local key, milliseconds = ARGV[1], tonumber(ARGV[2])
local bucket = bucket_of(key)
local rest, found = parted(load(bucket), key)
local numbers, names, heads = numbers_of(found or '')
for at = 3, #ARGV, 2 do
  local name = ARGV[at]
  if not numbers[name] then
    numbers[name] = 0
    names[#names + 1] = name
    heads = nil
  end
  local total = sum(numbers[name], number_of(ARGV[at + 1]))
  if not total then return redis.error_reply('RAGMEMORY a number of this key leaves 64 bits') end
  numbers[name] = total
end
keep(bucket, rest, key, body_of(numbers, names, heads), milliseconds, not found)
return 1
"""
)

GET: Final = script(
    _COMMON
    + r"""
local key, answer = ARGV[1], {}
local _, found = parted(load(bucket_of(key)), key)
for name, number in pairs(numbers_of(found or '')) do
  answer[#answer + 1] = name
  answer[#answer + 1] = text_of(number)
end
return answer
"""
)

SWAP: Final = script(
    _COMMON
    + r"""
local key, milliseconds, expected = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = bucket_of(key)
local rest, found = parted(load(bucket), key)
local numbers, names = numbers_of(found or '')
if #names ~= expected then return 0 end
for at = 4, 3 + 2 * expected, 2 do
  if numbers[ARGV[at]] ~= number_of(ARGV[at + 1]) then return 0 end
end
numbers, names = {}, {}
for at = 4 + 2 * expected, #ARGV, 2 do
  names[#names + 1] = ARGV[at]
  numbers[ARGV[at]] = number_of(ARGV[at + 1])
end
if #names > 0 then
  keep(bucket, rest, key, body_of(numbers, names), milliseconds, not found)
elseif found then
  save(bucket, rest)
end
return 1
"""
)

DROP: Final = script(
    _COMMON
    + r"""
local dropped = 0
for _, key in ipairs(ARGV) do
  local bucket = bucket_of(key)
  local rest, found = parted(load(bucket), key)
  if found then
    save(bucket, rest)
    dropped = dropped + 1
  end
end
return dropped
"""
)

# A record moves to later buckets alone, so who reads them in order misses none.
KEYS: Final = script(
    _COMMON
    + r"""
local first, answer = tonumber(ARGV[1]), {}
local after = math.min(first + tonumber(ARGV[2]), count)
answer[1] = after < count and after or -1
for bucket = first, after - 1 do
  each(load(bucket), function(key)
    for at = 3, #ARGV do
      if sub(key, 1, #ARGV[at]) == ARGV[at] then
        answer[#answer + 1] = key
        break
      end
    end
  end)
end
return answer
"""
)
