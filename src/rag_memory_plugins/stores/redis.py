"""`RedisState`: numbers that processes share through a Redis server, as packed records.

```text
call  -> key and names in few bytes (redis_words) -> shard by the key's hash
      -> one script in one slot, by Redis' own time (redis_scripts) -> numbers, or a StoreError
```
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from rag_memory_plugins.errors import (
    InvalidInput,
    InvalidURL,
    MissingExtra,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    nearest,
)
from rag_memory_plugins.portal import get_portal, on_portal
from rag_memory_plugins.stores import redis_scripts as scripts
from rag_memory_plugins.stores.local_state import check_numbers
from rag_memory_plugins.stores.redis_words import KEYS, NAMES

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["RedisPart", "RedisState"]

SHARDS: Final = 16
"""Parts of the keys, each in one slot of a cluster. Fixed: what is in a server was put by it."""
_BUCKETS: Final = 32  # that one script looks through: about a millisecond
_AT_ONCE: Final = 64  # a client opens a connection for each question that waits
_LONGEST: Final = 100 * 365 * 86_400  # seconds: for ever, to a store of totals
_MOST: Final = 2**63
_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)


class RedisPart:
    """What is kept in a Redis server: a client on the portal, its scripts, and errors of ours."""

    def __init__(
        self,
        server: str | Redis | RedisCluster,
        *,
        prefix: str = "rag-memory",
        timeout: float = 0.25,
    ) -> None:
        if not isinstance(prefix, str) or not prefix or "{" in prefix or "}" in prefix:
            raise InvalidInput("prefix", prefix, "pass a str without braces, for the keys to be in")
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
            raise InvalidInput("timeout", timeout, "pass seconds, a number > 0")
        self.portal = get_portal()
        self._own = isinstance(server, str)
        if isinstance(server, str):
            self._client, self._where = _client_of(server, timeout)
        else:
            self._client, self._where = server, type(server).__name__
            _check_client(server)
        self._prefix = prefix
        self._timeout = timeout
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where!r}, prefix={self._prefix!r})"

    @on_portal
    async def aclose(self) -> None:
        """Close the connections, if they are its own; what is asked afterwards raises `StoreClosed`."""
        if self._closed:
            return
        self._closed = True
        if self._own:
            pool = getattr(self._client, "connection_pool", None)
            sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
            with self._errors():
                for client in (self._client, *sentinels):
                    await client.aclose()
                if pool is not None:  # Sentinel's is not closed with its client
                    await pool.disconnect()

    async def _run(
        self, script: scripts.Script, key: str, args: Sequence[bytes | str | int]
    ) -> Any:
        if self._closed:
            raise StoreClosed("this state was closed; make a new one")
        with self._errors():
            return await asyncio.wait_for(self._asked(script, key, args), self._timeout)

    async def _asked(
        self, script: scripts.Script, key: str, args: Sequence[bytes | str | int]
    ) -> Any:
        from redis.exceptions import NoScriptError

        async with self._places:
            try:
                return await self._client.evalsha(script.digest, 1, key, *args)
            except NoScriptError:  # of a server that was started anew
                return await self._client.eval(script.text, 1, key, *args)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Whatever the client raises, as an error of ours. None of them holds what was sent."""
        try:
            yield
        except Exception as error:
            theirs = type(error).__module__.startswith("redis.")
            if not theirs and not isinstance(error, (OSError, asyncio.TimeoutError)):
                raise
            kind, said = self._told(error)
            raise kind(f"Redis at {self._where} {said}") from error

    def _told(self, error: Exception) -> tuple[type[StoreError], str]:
        """What an error of the client is here, and in words. One in a script has its name inside."""
        from redis import exceptions

        name, text = type(error).__name__, str(error)
        if isinstance(error, exceptions.OutOfMemoryError) or "OOM command" in text:
            return StoreFull, "has no memory left; raise its maxmemory"
        if isinstance(error, exceptions.ReadOnlyError) or "-READONLY" in text:
            return StoreReadOnly, "is a replica; name the primary, or a Sentinel"
        if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
            return StoreError, "refused the user or password; check the URL"
        if isinstance(error, exceptions.NoPermissionError) or "ACL failure in script" in text:
            remedy = f"allow this user EVAL, EVALSHA and keys ~{{{self._prefix}:*"
            return StoreError, f"does not permit it; {remedy}"
        if isinstance(error, (exceptions.TimeoutError, asyncio.TimeoutError, TimeoutError)):
            return StoreError, f"did not answer within {self._timeout:g} s"
        if isinstance(error, (exceptions.ConnectionError, OSError)):
            return StoreError, f"cannot be reached: {name}; is it running, and is the URL right?"
        return StoreError, f"refused: {name}: {text}"


class RedisState(RedisPart):
    """A `SharedState` of all processes that name the same server and `prefix`.

    `server` is a URL: `redis://[user:password@]host:6379/0`, `rediss://` (TLS), `unix:///path`,
    `redis+sentinel://host:26379,host2:26379/service/0`, `redis+cluster://host:7000`; with TLS these
    too begin with `rediss`. Or a client of `redis.asyncio`, which the portal's loop uses from then
    on, and the caller closes. Redis 6.2 or newer, no modules. All keys begin with `{prefix:`.

    A key lasts as long as asked, by the server's time. A conversation of the token tracker takes
    less than 200 bytes there. Numbers and amounts have 64 bits. No answer within `timeout` seconds,
    and whatever else goes wrong, is a `StoreError`; an update that raised may have been made. To go
    on without the server wrap it: `ResilientState`. May be awaited from any loop.

    >>> RedisState("redis://ann:secret@localhost:6379/2")
    RedisState('redis://localhost:6379', prefix='rag-memory')
    """

    @on_portal
    async def aadd(self, key: str, amounts: Mapping[str, int], seconds: float) -> None:
        """Add each amount to the number of its name under `key`, all at once.

        The key is dropped `seconds` after its last change. Raises `InvalidInput` and `StoreError`,
        changing nothing where a number would leave 64 bits.
        """
        _check("amounts", amounts, seconds)
        short = KEYS.encode(key)
        args = [short, _milliseconds(seconds), *_flat(amounts)]
        await self._run(scripts.ADD, self._place(short), args)

    @on_portal
    async def aget(self, key: str) -> dict[str, int]:
        """The numbers under `key`; empty when there are none."""
        short = KEYS.encode(key)
        flat = iter(await self._run(scripts.GET, self._place(short), [short]))
        return {NAMES.decode(name): int(number) for name, number in zip(flat, flat, strict=True)}

    @on_portal
    async def aswap(
        self, key: str, expected: Mapping[str, int], numbers: Mapping[str, int], seconds: float
    ) -> bool:
        """Put `numbers` in the place of all under `key`, if that is `expected`; say whether.

        Raises `InvalidInput`, changing nothing, and `StoreError`.
        """
        _check("numbers", numbers, seconds)
        short = KEYS.encode(key)
        args = [short, _milliseconds(seconds), len(expected), *_flat(expected), *_flat(numbers)]
        return bool(await self._run(scripts.SWAP, self._place(short), args))

    @on_portal
    async def akeys(self, prefix: str) -> list[str]:
        """Keys that begin with `prefix`, sorted. Looks through all of ours, a little at a time."""
        beginnings = KEYS.beginnings(prefix)
        found = await asyncio.gather(*(self._keys(shard, beginnings) for shard in range(SHARDS)))
        keys = map(KEYS.decode, set().union(*found))
        return sorted(key for key in keys if key.startswith(prefix))

    @on_portal
    async def adrop(self, keys: Sequence[str]) -> int:
        """Forget these keys; return how many there were."""
        shards: dict[int, list[bytes]] = {}
        for short in map(KEYS.encode, dict.fromkeys(keys)):
            shards.setdefault(_shard_of(short), []).append(short)
        batches = [
            (shard, shorts[start : start + _BUCKETS])
            for shard, shorts in shards.items()
            for start in range(0, len(shorts), _BUCKETS)
        ]
        dropped = [
            await self._run(scripts.DROP, self.key_of(shard), batch) for shard, batch in batches
        ]
        return sum(dropped)

    def key_of(self, shard: int) -> str:
        """The server's key of one of `SHARDS`; those of its buckets begin with it."""
        return f"{{{self._prefix}:{shard}}}"

    def _place(self, short: bytes) -> str:
        return self.key_of(_shard_of(short))

    async def _keys(self, shard: int, beginnings: list[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        bucket = 0
        while bucket >= 0:
            answer = await self._run(
                scripts.KEYS, self.key_of(shard), [bucket, _BUCKETS, *beginnings]
            )
            bucket = answer[0]
            found.update(answer[1:])
        return found


def _check(field: str, numbers: Mapping[str, int], seconds: float) -> None:
    check_numbers(field, numbers, seconds)
    for name, number in numbers.items():
        if not -_MOST <= number < _MOST:
            raise InvalidInput(f"{field}[{name!r}]", number, "pass a number of at most 64 bits")


def _milliseconds(seconds: float) -> int:
    return max(ceil(min(seconds, _LONGEST) * 1_000), 1)


def _flat(numbers: Mapping[str, int]) -> list[bytes | int]:
    return [part for name, number in numbers.items() for part in (NAMES.encode(name), int(number))]


def _shard_of(short: bytes) -> int:
    return sha256(short).digest()[0] % SHARDS


def _check_client(client: Any) -> None:
    if not callable(getattr(client, "evalsha", None)) or not hasattr(client, "aclose"):
        raise InvalidInput("server", client, "pass a URL, or a client of redis.asyncio")
    if client.get_encoder().decode_responses:
        remedy = "records are bytes; make the client with decode_responses=False"
        raise InvalidInput("server", type(client).__name__, remedy)


def _client_of(url: str, timeout: float) -> tuple[Any, str]:
    """A client, and the URL without what is secret. Nothing is asked yet.

    Raises `InvalidURL`, which never holds the URL: that may hold a password.
    """
    scheme, _, rest = url.partition("://")
    if not rest:
        raise InvalidURL("server", "no scheme", f"begin with one of {', '.join(_SCHEMES)}")
    if scheme not in _SCHEMES:
        raise InvalidURL("server", scheme, nearest(scheme, _SCHEMES))
    if importlib.util.find_spec("redis") is None:
        raise MissingExtra("redis", f"the shared state {scheme}://")
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # One try: who waits has a patience, and an update that was made twice is counted twice.
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        if scheme.endswith("+sentinel"):
            return _sentinel(scheme, rest, options)
        if scheme.endswith("+cluster"):
            plain = f"{scheme.removesuffix('+cluster')}://{rest}"
            node = urlsplit(plain)
            cluster: Any = RedisCluster.from_url(plain, **options)
            return cluster, f"{scheme}://{node.hostname}:{node.port or 6379}"
        client: Any = Redis.from_url(url, **options)
    except (ValueError, TypeError, AttributeError):
        # Neither the message nor its cause: both may hold the URL.
        remedy = "redis.asyncio cannot read it; see RedisState for the forms"
        raise InvalidURL("server", f"{scheme}://...", remedy) from None
    read = client.connection_pool.connection_kwargs
    place = read.get("path") or f"{read.get('host', 'localhost')}:{read.get('port', 6379)}"
    return client, f"{scheme}://{place}"


def _sentinel(scheme: str, rest: str, options: dict[str, Any]) -> tuple[Any, str]:
    """`[user:password@]host:26379,host2:26379/service[/db]`; the user is the server's."""
    from redis.asyncio.sentinel import Sentinel

    whose, _, place = rest.rpartition("@")
    hosts, _, path = place.partition("?")[0].partition("/")
    service, _, database = path.partition("/")
    if not service:
        raise ValueError(place)
    user, _, password = whose.partition(":")
    if whose:
        options |= {"username": unquote(user) or None, "password": unquote(password) or None}
    if scheme.startswith("rediss"):
        options |= {"ssl": True}
    asked = {name: value for name, value in options.items() if name.startswith(("socket", "retry"))}
    nodes = [urlsplit(f"//{host}") for host in hosts.split(",")]
    places = [(node.hostname, node.port or 26_379) for node in nodes]
    made: Any = Sentinel
    sentinel = made(places, sentinel_kwargs=asked, **options)
    listed = ",".join(f"{host}:{port}" for host, port in places)
    client = sentinel.master_for(service, db=int(database or 0))
    return client, f"{scheme}://{listed}/{service}"
