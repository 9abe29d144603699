"""`TokenTracker`: what contexts sent and saved, of a conversation, of a tenant, and in all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.tallies import (
    TALLY,
    Usage,
    last_day,
    number_name,
    tally_names,
    usage_of,
)
from rag_memory_plugins.namespace import SHARED, Namespace, Scope
from rag_memory_plugins.portal import blocking, get_portal, on_portal

if TYPE_CHECKING:
    from rag_memory_plugins.ports import SharedState

__all__ = ["TokenTracker"]

_CONVERSATION: Final = "usage/conversation/"
_TENANT: Final = "usage/tenant/"
_TOTAL: Final = "usage/total"
_DAY: Final = 86_400
_MOST_MODELS: Final = 1_000
"""Names a process tells apart: one that holds a request's id must not grow a key for ever."""
_MOST_WAITING: Final = 10_000
"""Keys that wait while the state does not answer."""
_PATIENCE: Final = 2.0  # seconds that a reader waits for what is being counted
_AT_ONCE: Final = 200  # keys looked at before others get their turn on the loop


class CountedPart(Protocol):
    """A part of a context, as far as it is counted."""

    @property
    def name(self) -> str: ...
    @property
    def tokens(self) -> int: ...


class CountedContext(Protocol):
    """A `Context`, as far as it is counted."""

    @property
    def tokens(self) -> int: ...
    @property
    def history_tokens(self) -> int: ...
    @property
    def mode(self) -> str: ...
    @property
    def parts(self) -> Sequence[CountedPart]: ...


class TokenTracker:
    """Counts contexts on a `SharedState`: three keys an update, whatever was counted before.

    `record` never waits and never raises: the state is told in the background, and what it
    refuses is lost to the figures and told as an event "usage.failed". While the state is slow,
    updates of a key are added up and sent as one. Keys are dropped `keep_seconds` after their last
    change. `clock` is the time of day, in seconds since 1970.

    >>> from rag_memory_plugins.stores.local_state import LocalState
    >>> tracker = TokenTracker(LocalState())
    >>> tracker.total()
    Usage(contexts=0, sent=0, history=0, by_mode={}, by_part={}, by_model={}, last_day=None)
    """

    def __init__(
        self,
        state: SharedState,
        hooks: tuple[Hook, ...] = (),
        clock: Callable[[], float] = time.time,
        keep_seconds: float = 90.0 * _DAY,
    ) -> None:
        self.portal = get_portal()
        self._state = state
        self._hooks = hooks
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._waiting: dict[str, dict[str, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._models: set[str] = set()

    def record(
        self, namespace: Namespace, context: CountedContext, model: str | None = None
    ) -> None:
        """Count a context that was made, for `model` if it is known. Any thread may call this."""
        try:
            amounts = self._amounts(context, model)
            keys = (_CONVERSATION + namespace.key, _tenant_key(namespace.scope), _TOTAL)
            if self.portal.is_current_thread:
                self._take(keys, amounts)
            else:
                self.portal.loop.call_soon_threadsafe(self._take, keys, amounts)
        except Exception as error:  # a figure that cannot be counted must not cost a turn
            self._failed(error, 1)

    @on_portal
    async def aconversation(self, namespace: Namespace) -> Usage:
        """What was counted for one conversation."""
        if not isinstance(namespace, Namespace):
            raise InvalidNamespace("namespace", namespace, "pass a Namespace")
        return await self._usage(_CONVERSATION + namespace.key)

    @on_portal
    async def atenant(self, tenant: str) -> Usage:
        """What was counted for all conversations of a tenant, forgotten ones too."""
        return await self._usage(_tenant_key(Scope(tenant, SHARED)))

    @on_portal
    async def atotal(self) -> Usage:
        """What was counted for everybody."""
        return await self._usage(_TOTAL)

    @on_portal
    async def atenants(self) -> list[str]:
        """Tenants for whom something is counted, sorted: for the owner, not for a tenant."""
        await self._settled(_PATIENCE)
        return sorted(unquote(key[len(_TENANT) :]) for key in await self._state.akeys(_TENANT))

    @on_portal
    async def aforget(self, what: Namespace | Scope | str) -> int:
        """Forget a conversation, all of a user, or all of a tenant (a str); return how many keys.

        The sums above it stay: they say how much was sent, not by whom.
        """
        await self._settled(_PATIENCE)
        if isinstance(what, Namespace):
            return await self._state.adrop([_CONVERSATION + what.key])
        if isinstance(what, Scope):
            return await self._state.adrop(await self._state.akeys(f"{_CONVERSATION}{what.key}/"))
        own = _tenant_key(Scope(what, SHARED))
        theirs = await self._state.akeys(f"{_CONVERSATION}{own[len(_TENANT) :]}/")
        return await self._state.adrop([own, *theirs])

    @on_portal
    async def acleanup(self, days: int) -> int:
        """Forget conversations and tenants last counted more than `days` days (UTC) ago.

        Looks at every key. Returns how many went.
        """
        if not isinstance(days, int) or isinstance(days, bool) or days < 0:
            raise InvalidInput("days", days, "pass days, an int >= 0")
        await self._settled(_PATIENCE)
        oldest = self._today() - days
        keys = await self._state.akeys(_CONVERSATION) + await self._state.akeys(_TENANT)
        dropped = 0
        for start in range(0, len(keys), _AT_ONCE):
            batch = keys[start : start + _AT_ONCE]
            old = [key for key in batch if last_day(await self._state.aget(key)) < oldest]
            dropped += await self._state.adrop(old)
            await asyncio.sleep(0)  # a state in this process never waits by itself
        return dropped

    @on_portal
    async def adrain(self, seconds: float = 5.0) -> bool:
        """Wait until all is counted; what takes longer than `seconds` is given up (False)."""
        if await self._settled(seconds):
            return True
        if self._task is not None:
            self._task.cancel()
            await self._settled(0.1)
        return False

    conversation = blocking(aconversation)
    tenant = blocking(atenant)
    total = blocking(atotal)
    tenants = blocking(atenants)
    forget = blocking(aforget)
    cleanup = blocking(acleanup)
    drain = blocking(adrain)

    def _amounts(self, context: CountedContext, model: str | None) -> dict[str, int]:
        counted = (1, int(context.tokens), int(context.history_tokens))
        amounts = dict(zip(TALLY, counted, strict=True))
        amounts.update(zip(tally_names("mode", context.mode), counted, strict=True))
        if model is not None:
            amounts.update(zip(tally_names("model", self._known(model)), counted, strict=True))
        for part in context.parts:
            name = number_name("part", part.name)
            amounts[name] = amounts.get(name, 0) + int(part.tokens)
        amounts[f"day/{self._today()}"] = 1
        return amounts

    def _known(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= _MOST_MODELS:
            return "(other)"
        self._models.add(model)
        return model

    def _today(self) -> int:
        return int(self._clock() // _DAY)

    def _take(self, keys: Iterable[str], amounts: Mapping[str, int]) -> None:
        """Add to what waits, and see that somebody sends it; on the portal."""
        for key in keys:
            waiting = self._waiting.get(key)
            if waiting is not None:
                for name, amount in amounts.items():
                    waiting[name] = waiting.get(name, 0) + amount
            elif len(self._waiting) < _MOST_WAITING:
                self._waiting[key] = dict(amounts)
            else:
                self._failed(TimeoutError(f"{_MOST_WAITING} keys wait for the state"), 1)
        if self._task is None:
            self._task = self.portal.loop.create_task(self._send())
            # Also for a task that is cancelled before it begins, which runs none of its own lines.
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None

    async def _send(self) -> None:
        """Tell the state until nothing waits."""
        sending: dict[str, dict[str, int]] = {}
        try:
            while self._waiting:
                sending, self._waiting = self._waiting, {}
                refused: list[Exception] = []
                while sending:
                    key = next(iter(sending))
                    try:
                        await self._state.aadd(key, sending[key], self._keep_seconds)
                    except Exception as error:  # whatever the state's client raises
                        refused.append(error)
                    del sending[key]
                if refused:
                    self._failed(refused[0], len(refused))
        except asyncio.CancelledError as error:
            self._failed(error, len(sending) + len(self._waiting))
            self._waiting = {}
            raise
        finally:
            self._task = None  # not left to the callback: what is recorded next must be sent

    def _failed(self, error: BaseException, keys: int) -> None:
        emit(self._hooks, Event("usage.failed", data={"error": repr(error), "keys": keys}))

    async def _settled(self, seconds: float) -> bool:
        """Wait for what is being sent, so that who reads sees the contexts made before."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        return bool(done)

    async def _usage(self, key: str) -> Usage:
        await self._settled(_PATIENCE)
        return usage_of(await self._state.aget(key))


def _tenant_key(scope: Scope) -> str:
    return _TENANT + scope.key.partition("/")[0]
