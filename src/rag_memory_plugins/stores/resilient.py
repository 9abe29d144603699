"""`ResilientState`: a `SharedState` that goes on while the one it wraps does not answer.

```text
add     -> the state | while it is down: kept here, and added when it is back
get     -> the state | while it is down: what was added here since
swap, keys, drop -> the state | while it is down: StoreError, at once
```
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rag_memory_plugins.errors import InvalidInput, StoreClosed, StoreError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.portal import get_portal, on_portal
from rag_memory_plugins.router.outage import Outage, check_down
from rag_memory_plugins.stores.local_state import check_numbers

if TYPE_CHECKING:
    from rag_memory_plugins.ports import SharedState

__all__ = ["ResilientState"]

R = TypeVar("R")


class _Waiting(NamedTuple):
    """Amounts that the state has not got yet, and when (by our clock) the key would end."""

    amounts: dict[str, int]
    end: float


class ResilientState:
    """Wraps a `SharedState` whose server may go away, and joins it again when it is back.

    A state that fails, or takes longer than `timeout` seconds, is left alone for a second: a server
    that swallows everything costs one call a second so much, and the others nothing. Meanwhile
    amounts are added up here, those of `most_keys` keys at most, and sent when it answers again; an
    amount may be counted twice if the state broke off in the middle, and is not lost while the
    process lives. What must not be answered from one process alone raises `StoreError` at once: a
    swap promises that nobody else swapped, a list of keys that it is whole, and a drop that nothing
    is left. Breakers, rates and budgets have their own answer to that.

    Events: `shared.store_down` (data: error), once a second at most, `shared.store_back`, and
    `shared.lost` (data: keys) for amounts that found no room here or waited when it was closed.
    `clock` gives seconds that never go back. Closing it closes the state.

    >>> from rag_memory_plugins.stores.local_state import LocalState
    >>> state = ResilientState(LocalState())
    >>> asyncio.run(state.aadd("tokens/acme", {"sent": 120}, seconds=60))
    >>> asyncio.run(state.aget("tokens/acme")), state.degraded
    ({'sent': 120}, False)
    """

    def __init__(
        self,
        state: SharedState,
        *,
        hooks: Iterable[Hook] = (),
        timeout: float = 0.25,
        most_keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_down("local", 1, timeout)
        if not isinstance(most_keys, int) or isinstance(most_keys, bool) or most_keys < 1:
            raise InvalidInput("most_keys", most_keys, "pass a number of keys, an int >= 1")
        self.portal = get_portal()
        self._state = state
        self._hooks = tuple(hooks)
        self._timeout: Final = timeout
        self._most_keys = most_keys
        self._clock = clock
        self._outage = Outage("shared", "local", clock, self._hooks, timeout)
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._lock = Lock()
        self._sending = asyncio.Lock()  # so that no reader comes between what was taken and sent
        self._joining: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"ResilientState({self._state!r}{', degraded' if self.degraded else ''})"

    @property
    def degraded(self) -> bool:
        """Whether the state is down, or some of what was counted meanwhile still waits."""
        return self._outage.is_down or bool(self._waiting)

    @on_portal
    async def aadd(self, key: str, amounts: Mapping[str, int], seconds: float) -> None:
        """Add each amount to the number of its name under `key`, now or when the state is back.

        Raises `InvalidInput`, changing nothing.
        """
        check_numbers("amounts", amounts, seconds)
        if await self._ask(lambda: self._state.aadd(key, amounts, seconds)) is None:
            self._keep(key, amounts, self._clock() + seconds)

    @on_portal
    async def aget(self, key: str) -> dict[str, int]:
        """The numbers under `key`; while the state is down, what was added here since."""

        async def read() -> dict[str, int]:
            await self._send([key])
            return await self._state.aget(key)

        got = await self._ask(read)
        if got is not None:
            return got[0]
        with self._lock:
            waiting = self._waiting.get(key)
        return dict(waiting.amounts) if waiting and self._clock() < waiting.end else {}

    @on_portal
    async def aswap(
        self, key: str, expected: Mapping[str, int], numbers: Mapping[str, int], seconds: float
    ) -> bool:
        """As the state's; raises `StoreError` at once while it is down."""
        check_numbers("numbers", numbers, seconds)

        async def swap() -> bool:
            await self._send([key])
            return await self._state.aswap(key, expected, numbers, seconds)

        got = await self._ask(swap)
        if got is None:
            raise self._down()
        return got[0]

    @on_portal
    async def akeys(self, prefix: str) -> list[str]:
        """As the state's; raises `StoreError` at once while it is down."""
        with self._lock:
            waiting = [key for key in self._waiting if key.startswith(prefix)]
        return await self._whole(waiting, lambda: self._state.akeys(prefix))

    @on_portal
    async def adrop(self, keys: Sequence[str]) -> int:
        """As the state's; raises `StoreError` at once while it is down, and then drops nothing."""
        return await self._whole(keys, lambda: self._state.adrop(keys))

    @on_portal
    async def aclose(self) -> None:
        """Send what waits if the state answers, and close it."""
        joining = self._joining
        if joining is not None:
            await asyncio.wait({joining}, timeout=self._timeout)
            joining.cancel()
        if self._waiting and self._outage.asks():
            await self._join()
        if self._waiting:
            self._lost(len(self._waiting))
            self._waiting.clear()
        await self._state.aclose()

    async def _ask(self, work: Callable[[], Coroutine[Any, Any, R]]) -> tuple[R] | None:
        """What the state says, in a tuple; None while it is down."""
        if not self._outage.asks():
            return None
        got = await self._outage.ask(work, _nothing)
        if got is not None and self._waiting and self._joining is None:
            self._joining = asyncio.ensure_future(self._join())
        return got

    async def _whole(self, keys: Iterable[str], work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What looks through many keys takes longer than `timeout`: that is for its steps."""
        if not self._outage.asks():
            raise self._down()
        try:
            await self._send(keys)
            got = await work()
        except StoreClosed:
            raise
        except StoreError as error:
            self._outage.failed(error)
            raise
        self._outage.worked()
        return got

    def _down(self) -> StoreError:
        seconds = self._outage.seconds
        return StoreError(f"{self._state!r} does not answer; it is asked again in {seconds:.1f} s")

    def _keep(self, key: str, amounts: Mapping[str, int], end: float) -> None:
        with self._lock:
            kept = self._waiting.get(key)
            if kept is None and len(self._waiting) >= self._most_keys:
                room = False
            else:
                room = True
                totals = dict(kept.amounts) if kept and self._clock() < kept.end else {}
                for name, amount in amounts.items():
                    totals[name] = totals.get(name, 0) + amount
                self._waiting[key] = _Waiting(totals, end)
        if not room:
            self._lost(1)

    async def _send(self, keys: Iterable[str]) -> None:
        """Tell the state what waits of these keys; what it does not take goes on waiting."""
        for key in keys:
            if key not in self._waiting and not self._sending.locked():
                continue
            async with self._sending:
                with self._lock:
                    waiting = self._waiting.pop(key, None)
                if waiting is None or waiting.end <= (now := self._clock()):
                    continue
                try:
                    await self._state.aadd(key, waiting.amounts, waiting.end - now)
                except BaseException:
                    self._put_back(key, waiting)
                    raise

    def _put_back(self, key: str, waiting: _Waiting) -> None:
        with self._lock:
            newer = self._waiting.pop(key, None)
        self._keep(key, waiting.amounts, waiting.end)
        if newer is not None:
            self._keep(key, newer.amounts, newer.end)

    async def _join(self) -> None:
        """The state is back: send it all that waits, a key at a time, while it answers."""
        try:
            while self._waiting:
                key = next(iter(self._waiting))
                await asyncio.wait_for(self._send([key]), self._timeout)
            self._outage.worked()
        except Exception as error:  # whatever a state's client raises: it is down again
            self._outage.failed(error)
        finally:
            self._joining = None

    def _lost(self, keys: int) -> None:
        emit(self._hooks, Event("shared.lost", data={"keys": keys}))


async def _nothing(_: object) -> None:
    """There is nothing to undo: an amount that was added was meant to be."""
