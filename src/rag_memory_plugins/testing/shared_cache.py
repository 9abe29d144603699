"""What every `SharedCache` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

from typing import ClassVar

from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.ports import SharedCache
from rag_memory_plugins.testing.conforming import SharedConformance

__all__ = ["SharedCacheConformance"]

ANN, BEN, ELSE = Scope("acme", "ann"), Scope("acme", "ben"), Scope("else", "ann")
ALIKE = ("acme", "acme/ann", "acme*", "Acme", "acme%2Fann", "acm", "acme:", "{acme}", "a\u0301cme")
"""Tenants that a pattern, a separator or a fold would take for another one."""


class SharedCacheConformance(SharedConformance):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    `lifetime` is in seconds: an engine whose clock is real takes a short one.

    >>> from rag_memory_plugins.stores.local_cache import LocalCache
    >>> class TestLocalCache(SharedCacheConformance):
    ...     async def aopen(self):
    ...         self.now = 0.0
    ...         return LocalCache(clock=lambda: self.now)
    ...     async def apass(self, seconds):
    ...         self.now += seconds
    >>> TestLocalCache().test_what_was_kept_ends()
    """

    port = SharedCache
    lifetime: ClassVar[float] = 60.0

    async def aopen(self) -> SharedCache:
        """An empty cache."""
        raise NotImplementedError

    async def apass(self, seconds: float) -> None:
        """Let time pass for the cache: move its clock, or wait."""
        raise NotImplementedError

    def test_it_is_a_shared_cache(self) -> None:
        async def story(cache: SharedCache) -> None:
            assert isinstance(cache, SharedCache)

        self._with(story)

    def test_what_was_kept_is_found_by_its_tenant_in_every_process(self) -> None:
        async def story(cache: SharedCache) -> None:
            assert await _keep(cache, ANN, value=b"\x00\xff")
            async with self._shared(cache) as other:
                assert await _found(other, ANN) == await _found(other, BEN) == b"\x00\xff"
                assert await _found(other, ANN, b"another") is None
                assert await _found(other, ELSE) is None

        self._with(story)

    def test_what_is_kept_again_takes_its_own_place(self) -> None:
        async def story(cache: SharedCache) -> None:
            await _keep(cache, ANN, value=b"old")
            await _keep(cache, BEN, value=b"new")
            assert await _found(cache, ANN) == b"new"
            assert await cache.aforget(ANN) == 1  # it rests on what Ann said, too
            assert await _found(cache, BEN) is None

        self._with(story)

    def test_keys_and_values_may_be_any_bytes(self) -> None:
        async def story(cache: SharedCache) -> None:
            keys = (
                b"",
                b"\x00",
                b"a",
                b"A",
                b"*",
                b"a:b",
                "\u00e4".encode(),
                bytes(range(256)) * 4,
            )
            for key in keys:
                await _keep(cache, ANN, key, key * 2)
            assert [await _found(cache, ANN, key) for key in keys] == [key * 2 for key in keys]

        self._with(story)

    def test_what_was_kept_ends(self) -> None:
        async def story(cache: SharedCache) -> None:
            await _keep(cache, ANN, seconds=self.lifetime)
            await self.apass(self.lifetime * 2)
            assert await _found(cache, ANN) is None

        self._with(story)

    def test_a_user_is_forgotten_and_nobody_else(self) -> None:
        async def story(cache: SharedCache) -> None:
            shared = Scope("acme", SHARED)
            everybody = (ANN, BEN, ELSE, shared)
            for number, scope in enumerate(everybody):
                await _keep(cache, scope, bytes([number]))
            async with self._shared(cache) as other:
                assert await other.aforget(Scope("acme", "ann", items=True)) == 1
            held = [await _found(cache, s, bytes([n])) for n, s in enumerate(everybody)]
            assert held == [None, b"value", b"value", b"value"]
            assert await cache.aforget("acme") == 2
            assert await cache.aforget("acme") == 0
            assert await _found(cache, ELSE, b"\x02") == b"value"

        self._with(story)

    def test_tenants_that_look_alike_share_nothing(self) -> None:
        async def story(cache: SharedCache) -> None:
            for number, tenant in enumerate(ALIKE):
                await _keep(cache, Scope(tenant, "ann"), value=bytes([number]))
            for number, tenant in enumerate(ALIKE):
                assert await _found(cache, Scope(tenant, "ann")) == bytes([number])
                assert await cache.aforget(tenant) == 1

        self._with(story)

    def test_what_was_asked_before_a_user_was_forgotten_is_not_kept_after_it(self) -> None:
        self._after_an_erase_of(ANN)

    def test_what_was_asked_before_a_tenant_was_forgotten_is_not_kept_after_it(self) -> None:
        self._after_an_erase_of("acme")

    def _after_an_erase_of(self, who: Scope | str) -> None:
        async def story(cache: SharedCache) -> None:
            mark = (await cache.alook(ANN, b"key"))[1]
            other = (await cache.alook(ELSE, b"key"))[1]
            async with self._shared(cache) as elsewhere:
                await elsewhere.aforget(who)
            assert not await cache.akeep(ANN, b"key", b"value", self.lifetime, mark)
            assert await cache.akeep(ELSE, b"key", b"value", self.lifetime, other)
            assert await _found(cache, ANN) is None
            assert await _keep(cache, ANN)

        self._with(story)


async def _keep(
    cache: SharedCache,
    scope: Scope,
    key: bytes = b"key",
    value: bytes = b"value",
    seconds: float = 60.0,
) -> bool:
    mark = (await cache.alook(scope, key))[1]
    return await cache.akeep(scope, key, value, seconds, mark)


async def _found(cache: SharedCache, scope: Scope, key: bytes = b"key") -> bytes | None:
    return (await cache.alook(scope, key))[0]
