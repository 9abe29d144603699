"""`Conversation`: one namespace's memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidMessage, InvalidQuery, nearest
from rag_memory_plugins.events import Event
from rag_memory_plugins.memory.context import Material, assemble
from rag_memory_plugins.memory.rendering import Fence
from rag_memory_plugins.portal import blocking, on_portal
from rag_memory_plugins.results import Context, EraseReceipt, SearchResult, Stats, TokenBudget
from rag_memory_plugins.types import LEVELS, Image, Level, Message, Messages, Role, ToolCall

if TYPE_CHECKING:
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.portal import Portal

__all__ = ["Conversation"]

MAX_HITS: Final = 1_000
_RECENT_LOOKED_AT: Final = 200
"""Turns read for the recent part: nothing in a context grows with the history."""

Said = Message | str | Mapping[str, Any]


class Conversation:
    """What was said in one namespace, and what of it matters now.

    Made by `Memory.conversation`. Methods with an `a` are async and may be awaited on any loop;
    those without are the same, waited for.

    >>> from rag_memory_plugins import open_memory
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add("The launch is on 3 June", id="m1")
    ...     _ = ann.add("The launch is on 3 June", id="m1")  # a retry stores nothing twice
    ...     len(ann.recent()), ann.context("When is the launch?", 500).tokens <= 500
    (1, True)
    >>> folder.cleanup()
    """

    def __init__(self, memory: Memory, namespace: Namespace) -> None:
        self.memory = memory
        self.namespace = namespace

    @property
    def portal(self) -> Portal:
        """Where its work runs."""
        return self.memory.portal

    @on_portal
    async def aadd(
        self,
        message: Said | Sequence[Said],
        *,
        role: Role = "user",
        id: str | None = None,  # noqa: A002  # the word of the design, and of both frameworks
        name: str | None = None,
        time: datetime | None = None,
        tool_calls: Sequence[ToolCall] = (),
        tool_call_id: str | None = None,
        images: Sequence[Image] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Messages:
        """Store a message, or several at once: all or none, on disk when this returns.

        A str becomes a message of the given fields; a mapping has the fields of `Message`. A
        message whose id is already stored here with the same content is a retry and is stored
        once. Returns the messages with their ids. Raises `InvalidMessage`, `MessageConflict` (the
        id is taken by other content) or a `StoreError`; then nothing was stored.
        """
        given = {
            "role": None if role == "user" else role,
            "id": id,
            "name": name,
            "time": time,
            "tool_calls": tuple(tool_calls),
            "tool_call_id": tool_call_id,
            "images": tuple(images),
            "metadata": metadata,
        }
        set_fields = {key: value for key, value in given.items() if value}
        batch = _batch(message, set_fields)
        await self.memory.astore(self.namespace, batch)
        return batch

    @on_portal
    async def arecent(self, limit: int = 20) -> Messages:
        """The last `limit` messages of the session, oldest first."""
        _limit(limit)
        found = await self.memory.log.arecent(self.namespace, limit)
        return Messages(item.message for item in found)

    @on_portal
    async def amessages(self) -> Messages:
        """Every message of the session, in order."""
        return await self.memory.log.amessages(self.namespace)

    @on_portal
    async def asearch(self, query: str, limit: int = 10, *, level: Level = "user") -> SearchResult:
        """The messages that matter for `query`, best first, with how they were found.

        Looks through all the user's sessions, or with `level="session"` through this one. Scores
        are in standard deviations of each lane and mean something only within one search.
        Raises `InvalidQuery`. An embedder that fails costs its lane, not the search.
        """
        return await self._search(query, limit, level, neighbours=True)

    @on_portal
    async def acontext(
        self,
        query: str,
        budget: int | TokenBudget = 4_000,
        *,
        level: Level = "user",
    ) -> Context:
        """What the model should see for `query`: pins, recent turns, recalled turns.

        Never holds more tokens than `budget` (a total, or a `TokenBudget`). A blank `query`
        recalls nothing. The user's last message is always among the recent turns. Raises
        `InvalidBudget`, and `BudgetTooSmall` when the pins and that message alone are larger.
        """
        started = time.perf_counter()
        if not isinstance(query, str):
            raise InvalidQuery("query", query, 'pass a str; "" recalls nothing')
        limits = TokenBudget.of(budget)
        log = self.memory.log
        pins = await log.apins(self.namespace)
        recent = []
        if limits.recent != 0:
            recent = await log.arecent(self.namespace, _RECENT_LOOKED_AT)
        found = SearchResult(query, (), {})
        if limits.retrieved != 0 and query.strip():
            # Twice as many as fit of the usual length: short ones are taken before long ones.
            most = min(MAX_HITS, 40 + (limits.retrieved or limits.total) // 20)
            found = await self._search(query, most, level, neighbours=False)
        groups = {item.group for item in (*pins, *recent) if item.group is not None}
        groups |= {hit.group for hit in found.hits if hit.group is not None}
        whole = await log.agroups(self.namespace.scope, sorted(groups)) if groups else []
        fence = Fence(self.memory.secret, self.namespace.key)
        material = Material(pins, recent, found.hits, whole)
        pack = partial(assemble, query, material, limits, self.memory.counter, fence)
        context = await self.portal.acompute(pack)
        self._emit("context", started, tokens=context.tokens, budget=limits.total)
        return replace(context, lanes=found.lanes, degraded=found.degraded)

    @on_portal
    async def apin(self, message_id: str, level: Level = "session") -> None:
        """Keep a stored message in every context of the session, or of all the user's sessions.

        Raises `InvalidMessage` for an id that is not stored in this session.
        """
        await self.memory.log.apin(self.namespace, message_id, _level(level))

    @on_portal
    async def aunpin(self, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""
        await self.memory.log.aunpin(self.namespace, message_id)

    @on_portal
    async def aforget(self, ids: str | Sequence[str]) -> EraseReceipt:
        """Erase messages of this session by id, from every file. Unknown ids erase nothing."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        if any(not isinstance(item, str) for item in wanted):
            raise InvalidMessage("ids", ids, "pass message ids, as str")
        receipt = await self.memory.log.aforget(self.namespace, wanted)
        self.memory.wake(chore=not receipt.complete)
        return receipt

    @on_portal
    async def aerase(self, level: Level = "session") -> EraseReceipt:
        """Erase this session, or with `level="user"` all the user's, from every file.

        The receipt is `complete` when no byte of it is left, else `pending`: see `EraseReceipt`.
        """
        receipt = await self.memory.log.aerase(self.namespace, _level(level))
        self.memory.wake(chore=not receipt.complete)
        return receipt

    @on_portal
    async def aexport(self, level: Level = "session") -> list[dict[str, Any]]:
        """Everything stored, in order, as plain values: a message's `to_dict` and its session."""
        pages = self.memory.log.aexport(self.namespace, _level(level))
        return [{**message.to_dict(), "session": session} async for session, message in pages]

    @on_portal
    async def astats(self) -> Stats:
        """Counts of everything the user has stored, in all sessions."""
        return await self.memory.log.astats(self.namespace.scope)

    async def _search(
        self, query: str, limit: int, level: Level, *, neighbours: bool
    ) -> SearchResult:
        started = time.perf_counter()
        if not isinstance(query, str) or not query.strip():
            raise InvalidQuery("query", query, "pass the words to look for, as a str")
        _limit(limit)
        result = await self.memory.afind(
            self.namespace, query, limit, _level(level), neighbours=neighbours
        )
        self._emit("search", started, hits=len(result), degraded=len(result.degraded))
        return result

    def _emit(self, name: str, started: float, **data: object) -> None:
        seconds = time.perf_counter() - started
        self.memory.emit(Event(name, self.namespace.scope.key, seconds, data))

    add = blocking(aadd)
    recent = blocking(arecent)
    messages = blocking(amessages)
    search = blocking(asearch)
    context = blocking(acontext)
    pin = blocking(apin)
    unpin = blocking(aunpin)
    forget = blocking(aforget)
    erase = blocking(aerase)
    export = blocking(aexport)
    stats = blocking(astats)

    def __repr__(self) -> str:
        space = self.namespace
        return (
            f"Conversation(tenant={space.tenant!r}, user={space.user!r}, session={space.session!r})"
        )


def _batch(message: Said | Sequence[Said], given: dict[str, Any]) -> Messages:
    if isinstance(message, str):
        return Messages([_from_text(message, given)])
    if given:
        names = ", ".join(given)
        raise InvalidMessage(names, given, "pass these with a str, or set them in the message")
    if isinstance(message, (Message, Mapping)):
        return Messages([_one(message)])
    if not isinstance(message, Sequence) or not message:
        raise InvalidMessage("message", message, "pass a Message, a str, a mapping or a list")
    return Messages(_one(item) for item in message)


def _from_text(text: str, given: dict[str, Any]) -> Message:
    return Message.from_dict({"role": "user", "content": text, **given})


def _one(item: object) -> Message:
    if isinstance(item, Message):
        return item
    if isinstance(item, str):
        return Message("user", item)
    if isinstance(item, Mapping):
        return Message.from_dict(item)
    raise InvalidMessage("message", item, "pass a Message, a str or a mapping")


def _limit(limit: object) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_HITS:
        raise InvalidQuery("limit", limit, f"pass an int from 1 to {MAX_HITS}")


def _level(level: str) -> Any:
    if level not in LEVELS:
        raise InvalidQuery("level", level, nearest(str(level), LEVELS))
    return level
