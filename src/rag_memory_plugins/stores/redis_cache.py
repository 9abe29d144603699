"""`RedisCache`: answers that processes share through a Redis server.

```text
tenant -> a hash tag, so that a script stays in one slot
          :KEY  value, with its own end
          :i    sorted set of user + KEY by end: what an erase looks up
          :e    how often a user, or the tenant, was forgotten: marks, of the last day
```
Tenants and users are hashes there: names of people are in no key.
"""

from __future__ import annotations

from hashlib import blake2b
from math import ceil
from typing import Final

from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import on_portal
from rag_memory_plugins.stores.local_cache import whose
from rag_memory_plugins.stores.redis import RedisPart
from rag_memory_plugins.stores.redis_scripts import script

__all__ = ["RedisCache"]

_MARK: Final = r"""
local place, user = KEYS[1], ARGV[1]
local function mark()
  local times = redis.call('HMGET', place .. ':e', user, '*')
  return (times[1] or '0') .. '/' .. (times[2] or '0')
end
"""

_LOOK: Final = script(_MARK + "return {redis.call('GET', place .. ':' .. ARGV[2]), mark()}")

_KEEP: Final = script(
    _MARK
    + r"""
local key, value, milliseconds, before = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if mark() ~= before then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index = place .. ':i'
redis.call('SET', place .. ':' .. key, value, 'PX', milliseconds)
redis.call('ZADD', index, now + milliseconds, user .. key)
redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
if redis.call('PTTL', index) < milliseconds then redis.call('PEXPIRE', index, milliseconds) end
return 1
"""
)

_FORGET: Final = script(
    _MARK
    + r"""
local index, gone = place .. ':i', 0
redis.call('HINCRBY', place .. ':e', user, 1)
redis.call('PEXPIRE', place .. ':e', 86400000)
for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  if user == '*' or string.sub(member, 1, #user) == user then
    gone = gone + redis.call('DEL', place .. ':' .. string.sub(member, #member - tonumber(ARGV[2]) + 1))
    redis.call('ZREM', index, member)
  end
end
return gone
"""
)
_KEY: Final = 32  # bytes


class RedisCache(RedisPart):
    """A `SharedCache` of all processes that name the same server and `prefix`: see `RedisState`.

    The server holds answers as they are: who can read it can read them.

    >>> RedisCache("redis://localhost:6379", timeout=1)
    RedisCache('redis://localhost:6379', prefix='rag-memory')
    """

    @on_portal
    async def alook(self, scope: Scope, key: bytes) -> tuple[bytes | None, str]:
        """(what the tenant has under `key`, a mark for `akeep`). Raises `StoreError`."""
        place, user = self._place(scope)
        value, mark = await self._run(_LOOK, place, [user, _short(key)])
        return value, mark.decode()

    @on_portal
    async def akeep(
        self, scope: Scope, key: bytes, value: bytes, seconds: float, mark: str
    ) -> bool:
        """Keep it; False if its user was forgotten since `mark` was given. Raises `StoreError`."""
        place, user = self._place(scope)
        milliseconds = max(ceil(seconds * 1_000), 1)
        args: list[bytes | str | int] = [user, _short(key), value, milliseconds, mark]
        return bool(await self._run(_KEEP, place, args))

    @on_portal
    async def aforget(self, who: Scope | str) -> int:
        """Drop all of a user, or of a tenant (a str). Raises `StoreError`: then ask again."""
        place, user = self._place(who)
        return int(await self._run(_FORGET, place, [user, _KEY]))

    def _place(self, who: Scope | str) -> tuple[str, bytes]:
        tenant, user = whose(who)
        hashed = blake2b(tenant.encode(), digest_size=12).hexdigest()
        place = f"{{{self._prefix}:answers:{hashed}}}"
        return place, blake2b(user.encode(), digest_size=16).digest() if user else b"*"


def _short(key: bytes) -> bytes:
    return blake2b(key, digest_size=_KEY).digest()
