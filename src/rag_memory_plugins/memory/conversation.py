"""`Conversation`: one namespace's memory."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.config import Recall, Strategy, strategy_of
from rag_memory_plugins.errors import InvalidFilter, InvalidMessage, InvalidQuery
from rag_memory_plugins.events import Event
from rag_memory_plugins.filters import Filter, When, combined
from rag_memory_plugins.forgetting import Erased
from rag_memory_plugins.memory.arguments import (
    Said,
    check_limit,
    check_window,
    checked_ids,
    checked_level,
    checked_recall,
    checked_relevance,
    messages_of,
)
from rag_memory_plugins.memory.calibrating import Calibrated, fitted, written
from rag_memory_plugins.memory.context import Settings
from rag_memory_plugins.memory.current import about_the_past, aoutdated, demoted
from rag_memory_plugins.memory.entities import Entities
from rag_memory_plugins.memory.facts import Facts
from rag_memory_plugins.memory.making import amade
from rag_memory_plugins.memory.modes import Recommended, checked_mode, recommended
from rag_memory_plugins.memory.pinning import acheck_pins
from rag_memory_plugins.memory.rendering import Fence, said_only
from rag_memory_plugins.portal import blocking, on_portal
from rag_memory_plugins.ports import Query
from rag_memory_plugins.results import (
    Context,
    EraseReceipt,
    Hit,
    SearchResult,
    Stats,
    Summary,
)
from rag_memory_plugins.types import Image, Level, Messages, Role, ToolCall

if TYPE_CHECKING:
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.portal import Portal

__all__ = ["Conversation"]

Names = str | Collection[str]


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

    @property
    def facts(self) -> Facts:
        """What holds for the user: read in every session, stated in this one."""
        return Facts(self)

    @property
    def entities(self) -> Entities:
        """Whom and what the user's facts are about."""
        return Entities(self)

    @property
    def fence(self) -> Fence:
        """What stands around remembered text in its contexts."""
        return Fence(self.memory.secret, self.namespace.key)

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
        once. What a context made up for a prompt (its blocks, known by their fence) was said by
        nobody: it is left out. Returns the messages with their ids. Raises `InvalidMessage`, `MessageConflict` (the
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
        batch = said_only(messages_of(message, set_fields), self.fence)
        if batch:
            await self.memory.astore(self.namespace, batch)
        return batch

    @on_portal
    async def arecent(self, limit: int = 20) -> Messages:
        """The last `limit` messages of the session, oldest first."""
        check_limit(limit)
        found = await self.memory.log.arecent(self.namespace, limit)
        return Messages(item.message for item in found)

    @on_portal
    async def amessages(self) -> Messages:
        """Every message of the session, in order."""
        return await self.memory.log.amessages(self.namespace)

    @on_portal
    async def aaround(self, ids: Names, before: int = 2, after: int = 2) -> tuple[Messages, ...]:
        """The session's messages of these ids, with up to so many said before and after each.

        Windows that overlap or touch are one, so every message comes once, in the order it was
        said. An id that is not stored in this session has none. Raises `InvalidMessage`,
        `InvalidQuery`.
        """
        check_window(before, "before")
        check_window(after, "after")
        wanted = checked_ids(ids)
        if wanted is None:
            raise InvalidMessage("ids", ids, "pass message ids, as str")
        return tuple(await self.memory.log.aaround(self.namespace, wanted, before, after))

    @on_portal
    async def asearch(
        self,
        query: str,
        limit: int = 10,
        *,
        level: Level = "user",
        since: When | None = None,
        until: When | None = None,
        roles: Names | None = None,
        metadata: Mapping[str, object] | None = None,
        where: Filter | None = None,
        window: int = 1,
        recall: Recall | None = None,
        min_relevance: float = 0.0,
    ) -> SearchResult:
        """The messages that matter for `query`, best first, with how they were found.

        Looks through all the user's sessions, or with `level="session"` through this one. Only
        messages of which every filter is true are found; see `Filter` for what the words mean.
        Each hit comes with the `window` messages to either side of it (2 shows most exchanges);
        windows of more than 1 that overlap are merged. `recall` weighs the steps of this search.
        Nothing is returned when what is stored answers the query with a probability below
        `min_relevance` (0 to 1), which needs a calibration: the local model brings one, others
        raise `InvalidQuery` until `calibrate` has run.

        Scores are in standard deviations of each lane, over all that is stored, and mean something
        only within one search. Raises `InvalidQuery`, `InvalidFilter`. An embedder that fails
        costs its lane, not the search.
        """
        given = combined(where, since=since, until=until, roles=roles, metadata=metadata)
        result = await self._search(
            query,
            limit,
            level=level,
            where=given,
            neighbours=window,
            recall=recall,
            min_relevance=min_relevance,
        )
        if len(result) < 2 or about_the_past(query):
            return result
        return demoted(result, await aoutdated(self, [hit.seq for hit in result.hits]))

    @on_portal
    async def afind(
        self,
        where: Filter | None = None,
        limit: int = 100,
        *,
        level: Level = "user",
        since: When | None = None,
        until: When | None = None,
        roles: Names | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> tuple[Hit, ...]:
        """The last `limit` messages stored that match, without a query; oldest first.

        They come as hits, because each needs its session beside it; there is no score.
        """
        check_limit(limit)
        given = combined(where, since=since, until=until, roles=roles, metadata=metadata)
        found = await self.memory.log.afind(self.namespace, given, limit, checked_level(level))
        return tuple(
            Hit(item.message, item.session, 0.0, {}, seq=item.seq, group=item.group)
            for item in found
        )

    @on_portal
    async def acontext(
        self,
        query: str,
        budget: int | TokenBudget | None = None,
        *,
        mode: str = "auto",
        strategy: Strategy | str = "chat",
        system: str = "",
        model: str | None = None,
        level: Level = "user",
        since: When | None = None,
        until: When | None = None,
        roles: Names | None = None,
        metadata: Mapping[str, object] | None = None,
        where: Filter | None = None,
    ) -> Context:
        """What the model should see for `query`: anchors, facts, summary, recent, recalled turns.

        Never holds more tokens than `budget` leaves (a total, or a `TokenBudget`; the memory's own
        when left out). `mode` is "full" (the whole history), "balanced", "safe" (few recent turns)
        or "auto", by the size of the session; `strategy` a name of `config.STRATEGIES` or a
        `Strategy`. `system` is the caller's system message: it comes first and is counted; `model` is
        what the context is for, for `memory.usage` to count by. A blank
        `query` recalls nothing. The user's last message is always in. Filters are about what is
        recalled; with a recalled tool call come its results and the answer that used them. Raises
        `InvalidBudget`, `InvalidFilter`, `InvalidInput`, and `BudgetTooSmall` when the system
        message and the user's last message alone are larger.
        """
        started = time.perf_counter()
        given = combined(where, since=since, until=until, roles=roles, metadata=metadata)
        if not isinstance(query, str):
            raise InvalidQuery("query", query, 'pass a str; "" recalls nothing')
        memory = self.memory
        settings = Settings(
            memory.budget if budget is None else TokenBudget.of(budget),
            checked_mode(mode),
            strategy_of(strategy),
            memory.modes,
            system,
        )
        asked = partial(self._search, query, level=checked_level(level), where=given)
        context = await amade(self, query, settings, asked)
        self._emit("context", started, tokens=context.tokens, mode=context.mode)
        memory.usage.record(self.namespace, context, model)
        return context

    @on_portal
    async def apin(self, message_id: str, level: Level = "session") -> None:
        """Keep a stored message in every context of the session, or of all the user's sessions.

        Raises `InvalidMessage` for an id that is not stored in this session, and `BudgetTooSmall`
        when the pins would not fit into the memory's budget: its share of anchors, or half of it.
        """
        checked_level(level)
        await acheck_pins(self, message_id)
        await self.memory.log.apin(self.namespace, message_id, level)

    @on_portal
    async def aunpin(self, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""
        await self.memory.log.aunpin(self.namespace, message_id)

    @on_portal
    async def asummary(self) -> Summary | None:
        """The session's rolling summary as it stands; None while there is none."""
        return await self.memory.log.asummary(self.namespace)

    @on_portal
    async def aresummarize(self) -> Summary | None:
        """Make the summary anew from the log, and wait for it.

        None when the session is too short to be summarised, or the memory summarises nothing.
        """
        await self.memory.log.adrop_summary(self.namespace)
        await self.memory.afold()
        return await self.memory.log.asummary(self.namespace)

    @on_portal
    async def arecommended_config(self, budget: int | TokenBudget | None = None) -> Recommended:
        """The mode and the budget's shares that suit this session now, and why."""
        limits = self.memory.budget if budget is None else TokenBudget.of(budget)
        view = await self.memory.log.aview(self.namespace, 0, 0)
        return recommended(view, limits, self.memory.modes)

    @on_portal
    async def aforget(
        self,
        ids: Names | Filter | None = None,
        *,
        where: Filter | None = None,
        level: Level = "session",
    ) -> EraseReceipt:
        """Erase messages of this session by id, from every file. Unknown ids erase nothing.

        With a filter (as `where`, or alone) those that match; with both, those of the ids that do;
        with `level="user"` of all the user's sessions. Exactly these: the result of a tool call
        is another message. Raises `InvalidFilter` for a filter that states nothing.
        """
        if isinstance(ids, Filter) and where is None:
            ids, where = None, ids
        wanted = checked_ids(ids)
        matching = combined(where)
        if matching is None and (wanted is None or where is not None):
            raise InvalidFilter("where", where, "state what to forget; erase() takes everything")
        receipt = await self.memory.log.aforget(
            self.namespace, wanted, matching, checked_level(level)
        )
        self.memory.forget_texts(Erased(self.namespace, level, wanted, matching))
        receipt = await self.memory.acleaned(receipt)
        self.memory.wake(chore=not receipt.complete)
        return receipt

    @on_portal
    async def aerase(self, level: Level = "session") -> EraseReceipt:
        """Erase this session, or with `level="user"` all the user's, from every file.

        The receipt is `complete` when no byte of it is left, else `pending`: see `EraseReceipt`.
        """
        receipt = await self.memory.log.aerase(self.namespace, checked_level(level))
        place = self.namespace if level == "session" else self.namespace.scope
        counters = await self.memory.aforget_usage(place)
        caches = self.memory.forget_texts(Erased(self.namespace, level))
        beside = {"counters": counters, "caches": caches}
        receipt = replace(receipt, removed={**receipt.removed, **beside})
        receipt = await self.memory.acleaned(receipt)
        self.memory.wake(chore=not receipt.complete)
        return receipt

    @on_portal
    async def aexport(self, level: Level = "session") -> list[dict[str, Any]]:
        """Everything stored, in order, as plain values: a message's `to_dict` and its session."""
        pages = self.memory.log.aexport(self.namespace, checked_level(level))
        return [{**message.to_dict(), "session": session} async for session, message in pages]

    @on_portal
    async def astats(self) -> Stats:
        """Counts of everything the user has stored, in all sessions."""
        return await self.memory.log.astats(self.namespace.scope)

    @on_portal
    async def acalibrate(self, answered: Sequence[str], unanswered: Sequence[str]) -> Calibrated:
        """Fit `min_relevance` to this user's data: questions that it answers, and some it does not.

        At least 10 of each; 50 are better, and the unanswered ones should sound like the others.
        Kept for all the user's sessions, for the embedder at hand. Raises `InvalidInput`.
        """
        if await self.memory.index.apending(self.namespace.scope, 1):
            await self.memory.asettle()  # else the dense signals would be missing, for good
        signals = []
        for questions in (answered, unanswered):
            asked = [self._asked(question) for question in questions]
            search = self.memory.asignals
            signals.append([await search(self.namespace, query) for query in asked])
        made, worth = fitted(*[[row for row in rows if row] for rows in signals])
        await self.memory.index.acalibrate(self.namespace.scope, written(made))
        return worth

    def _asked(self, question: str) -> Query:
        if not isinstance(question, str) or not question.strip():
            raise InvalidQuery("question", question, "pass the words to look for, as a str")
        now = datetime.now(timezone.utc)
        return Query(question, None, 1, "user", now, 0, recall=self.memory.recall)

    async def _search(
        self,
        query: str,
        limit: int,
        *,
        level: Level,
        where: Filter | None,
        neighbours: int = 0,
        recall: Recall | None = None,
        min_relevance: float = 0.0,
        focus: int = 0,
    ) -> SearchResult:
        started = time.perf_counter()
        if not isinstance(query, str) or not query.strip():
            raise InvalidQuery("query", query, "pass the words to look for, as a str")
        check_limit(limit)
        check_window(neighbours)
        asked = Query(
            query,
            None,
            limit,
            checked_level(level),
            datetime.now(timezone.utc),
            neighbours,
            where,
            checked_recall(recall) or self.memory.recall,
            checked_relevance(min_relevance),
            focus,
        )
        result = await self.memory.asearch(self.namespace, asked)
        self._emit("search", started, hits=len(result), degraded=len(result.degraded))
        return result

    def _emit(self, name: str, started: float, **data: object) -> None:
        seconds = time.perf_counter() - started
        self.memory.emit(Event(name, self.namespace.scope.key, seconds, data))

    add = blocking(aadd)
    recent = blocking(arecent)
    messages = blocking(amessages)
    around = blocking(aaround)
    search = blocking(asearch)
    find = blocking(afind)
    context = blocking(acontext)
    pin = blocking(apin)
    unpin = blocking(aunpin)
    forget = blocking(aforget)
    erase = blocking(aerase)
    export = blocking(aexport)
    stats = blocking(astats)
    summary = blocking(asummary)
    resummarize = blocking(aresummarize)
    recommended_config = blocking(arecommended_config)
    calibrate = blocking(acalibrate)

    def __repr__(self) -> str:
        space = self.namespace
        return (
            f"Conversation(tenant={space.tenant!r}, user={space.user!r}, session={space.session!r})"
        )
