"""What an Ollama server has installed, as of a few seconds ago, and whether it runs at all.

```
known, young  -> answered at once, from any thread
known, old    -> answered at once; one look goes on in the background
not known yet -> the one look is waited for, for as long as its short time-out
```
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import ProviderError
from rag_memory_plugins.router.ollama_models import Variant

if TYPE_CHECKING:
    from rag_memory_plugins.portal import Portal

__all__ = ["Inventory", "Known"]

YOUNG: Final = 10.0
FIRST_SECONDS: Final = 1.0
LATER_SECONDS: Final = 5.0
AGAIN: Final = (0.5, 10.0)
"""Seconds until a server that is down is looked at again: doubled each time, at most the second."""


@dataclass(frozen=True)
class Known:
    """What was seen at `seen`; `down` says why there was nothing to see, "" if there was."""

    installed: tuple[Variant, ...] = ()
    down: str = ""
    seen: float = 0.0
    until: float = 0.0
    failures: int = 0


class Inventory:
    """Looks with `look(seconds)`, which runs on the portal and raises `ProviderError`.

    Every time is 10 % more or less, by `random`, so that many processes do not look at once.
    """

    def __init__(
        self,
        look: Callable[[float], Awaitable[tuple[Variant, ...]]],
        portal: Callable[[], Portal],
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._look = look
        self._portal = portal
        self._clock = clock
        self._random = random
        self._known: Known | None = None
        self._looking: tuple[Portal, asyncio.Task[Known]] | None = None
        self._asked: tuple[Portal, float] | None = None
        self._lock = threading.Lock()

    def at_hand(self) -> Known | None:
        """What is known, at once; an old one sets off a look. None before the first."""
        known = self._known
        if known is not None and self._clock() >= known.until:
            self._look_soon()
        return known

    async def aknown(self) -> Known:
        """What is known; the first one to ask waits for a look. From any loop."""
        known = self.at_hand()
        return known if known is not None else await self.anew()

    async def anew(self) -> Known:
        """What a look of now sees; those who ask meanwhile share it. From any loop."""
        return await self._portal().acall(self._shared())

    def mark_down(self, why: str) -> None:
        """A request found nobody there: nobody else needs to find out."""
        self._known = self._down(why)

    def mark_old(self) -> None:
        """What is known was found wrong: the next one to ask sets off a look."""
        known = self._known
        if known is not None:
            self._known = Known(known.installed, known.down, known.seen, failures=known.failures)

    def _look_soon(self) -> None:
        portal = self._portal()  # a forked child has one of its own
        now = self._clock()
        with self._lock:
            asked = self._asked
            # One that was never heard of again does not stop the looking for good.
            if asked and asked[0] is portal and now - asked[1] < 2 * LATER_SECONDS:
                return
            self._asked = (portal, now)
        asyncio.run_coroutine_threadsafe(self._shared(), portal.loop)

    async def _shared(self) -> Known:
        portal = self._portal()
        looking = self._looking
        if looking is None or looking[0] is not portal or looking[1].done():
            looking = self._looking = (portal, asyncio.create_task(self._see()))
        # Shielded: one who no longer waits must not take the look from the others.
        return await asyncio.shield(looking[1])

    async def _see(self) -> Known:
        seconds = FIRST_SECONDS if self._known is None else LATER_SECONDS
        try:
            installed = await self._look(seconds)
        except ProviderError as error:
            known = self._down(str(error))
        else:
            now = self._clock()
            known = Known(installed, seen=now, until=now + self._about(YOUNG))
        self._known = known
        self._asked = None
        return known

    def _down(self, why: str) -> Known:
        before = self._known
        failures = 1 + (before.failures if before is not None else 0)
        least, most = AGAIN
        now = self._clock()
        wait = self._about(min(most, least * 2 ** min(failures - 1, 10)))
        return Known(down=why, seen=now, until=now + wait, failures=failures)

    def _about(self, seconds: float) -> float:
        return seconds * (0.9 + 0.2 * self._random())
