"""What stands beside a memory: numbers that processes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope

__all__ = ["SharedCache", "SharedState"]


@runtime_checkable
class SharedState(Protocol):
    """Small numbers that the processes of a memory share: totals, limits, breaker states.

    Losing them loses no memory.
    """

    async def aadd(self, key: str, amounts: Mapping[str, int], seconds: float) -> None:
        """Add each amount to the number of its name under `key`, all at once.

        The key is dropped `seconds` after its last change.
        """

    async def aget(self, key: str) -> dict[str, int]:
        """The numbers under `key`; empty when there are none."""

    async def aswap(
        self, key: str, expected: Mapping[str, int], numbers: Mapping[str, int], seconds: float
    ) -> bool:
        """Put `numbers` in the place of all that is under `key`, if that is `expected`; say whether.

        One step, whoever else shares the state: of several who expect the same, one swaps.
        `expected` is what `aget` gave, and empty for a key without numbers; empty `numbers` drop
        the key. It is dropped `seconds` after the swap; a refused one leaves it and its end alone.
        """

    async def akeys(self, prefix: str) -> list[str]:
        """Keys that begin with `prefix`, sorted."""

    async def adrop(self, keys: Sequence[str]) -> int:
        """Forget these keys; return how many there were."""

    async def aclose(self) -> None:
        """Release what it holds; called once, by who made it."""


@runtime_checkable
class SharedCache(Protocol):
    """Bytes that the processes of a router share for a while, each kept on a user's behalf.

    Nothing of one tenant is ever found by another, whatever the keys are. Losing them loses nothing.
    """

    async def alook(self, scope: Scope, key: bytes) -> tuple[bytes | None, str]:
        """(what is kept in the scope's tenant under `key`, None if nothing is; a mark for `akeep`)."""

    async def akeep(
        self, scope: Scope, key: bytes, value: bytes, seconds: float, mark: str
    ) -> bool:
        """Keep it, on the scope's behalf; False if its user was forgotten since `mark` was given."""

    async def aforget(self, who: Scope | str) -> int:
        """Drop all that was kept on behalf of a user, or of a tenant (a str); return how many."""

    async def aclose(self) -> None:
        """Release what it holds; called once, by who made it."""
