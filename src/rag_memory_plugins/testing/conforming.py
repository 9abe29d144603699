"""What the conformance suites of the store ports share: gaps, signatures, how a test is run."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

__all__ = ["Conformance", "SharedConformance", "methods_of"]

Kept = TypeVar("Kept")


class Conformance:
    """Tests of a `port`. `gaps` names those that an engine cannot pass, each with the reason.

    They must fail: a gap that was closed is a failure too.

    >>> class Suite(Conformance):
    ...     def test_it_flies(self): raise AssertionError
    >>> class Penguin(Suite):
    ...     gaps = {"test_it_flies": "its wings are for water"}
    >>> [mark.kwargs["reason"] for mark in Penguin.test_it_flies.pytestmark]
    ['its wings are for water']
    """

    port: ClassVar[Any] = None
    gaps: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **values: Any) -> None:
        super().__init_subclass__(**values)
        for name, reason in cls.gaps.items():
            if name not in cls.__dict__:
                setattr(cls, name, _failing(getattr(cls, name), reason))

    def _with(self, story: Callable[[Any], Awaitable[None]]) -> None:
        """Run a story on what keeps the port, in a loop of its own."""
        raise NotImplementedError

    def test_its_methods_are_called_as_the_ports_are(self) -> None:
        async def story(kept: Any) -> None:
            for name, method in methods_of(self.port).items():
                own = getattr(type(kept), name)
                awaited = inspect.iscoroutinefunction
                assert awaited(own) == awaited(method), name
                assert _called(own) == _called(method), name

        self._with(story)


class SharedConformance(Conformance):
    """Tests of a port whose engine several processes open at once.

    Each test is a plain function that opens the engine inside a loop of its own, so a client bound
    to a loop is at home.
    """

    async def aopen(self) -> Any:
        """An empty one."""
        raise NotImplementedError

    async def ashare(self, kept: Any) -> Any:
        """The same as another process would open it; `kept` itself within a process."""
        return kept

    def _with(self, story: Callable[[Any], Awaitable[None]]) -> None:
        async def run() -> None:
            kept = await self.aopen()
            try:
                await story(kept)
            finally:
                await kept.aclose()

        asyncio.run(run())

    @asynccontextmanager
    async def _shared(self, kept: Kept) -> AsyncIterator[Kept]:
        """The same once more, for a block."""
        other: Any = await self.ashare(kept)
        try:
            yield other
        finally:
            if other is not kept:
                await other.aclose()


def methods_of(port: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a port, by name.

    >>> from rag_memory_plugins.ports import SharedState
    >>> sorted(methods_of(SharedState))
    ['aadd', 'aclose', 'adrop', 'aget', 'akeys', 'aswap']
    """
    found = inspect.getmembers(port, inspect.isfunction)
    return {name: method for name, method in found if not name.startswith("_")}


def _called(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(method).parameters.values()
    return [(item.name, item.kind, item.default) for item in parameters]


def _failing(test: Callable[[Any], None], reason: str) -> Callable[[Any], None]:
    """The same test, expected to fail for this reason."""
    import pytest

    @functools.wraps(test)
    def gap(self: Any) -> None:
        test(self)

    marked: Callable[[Any], None] = pytest.mark.xfail(strict=True, reason=reason)(gap)
    return marked
