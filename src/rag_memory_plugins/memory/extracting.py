"""The worker that has facts read out of what was said: leased batches, behind the user's turns."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.facts.values import same_value
from rag_memory_plugins.memory.facts import checked_claim
from rag_memory_plugins.memory.worker import Worker
from rag_memory_plugins.ports import FactQuery, NewFact, Said, StateComparer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Claim, FactExtractor, FactStore, ReadingQueue, Unread
    from rag_memory_plugins.types import Message

__all__ = ["Extracting"]

BATCH: Final = 64
LEASE_SECONDS: Final = 300.0
"""Longer than a language model takes, with its retries."""
POLL_SECONDS: Final = 5.0
FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 300.0
MOST: Final = 32
"""Claims of one message that are taken: more are a list, or an attack."""


class Extracting(Worker):
    """Reads facts in the background of one memory; a turn never waits for it.

    A batch that fails goes back and is tried again after a pause that doubles up to five minutes.
    What is read twice is stored once: the id of a fact is made from its message and its place there.
    `stored` is called when there is something new to embed.
    """

    def __init__(
        self,
        queue: ReadingQueue,
        store: FactStore,
        extractor: FactExtractor,
        hooks: tuple[Hook, ...],
    ) -> None:
        super().__init__(FIRST_RETRY, LAST_RETRY)
        self.queue = queue
        self._store = store
        self._extractor = extractor
        self._hooks = hooks
        self._one_batch = asyncio.Lock()
        self.stored: Callable[[], None] = lambda: None
        self.count = 0
        """Facts that were read so far."""

    async def adrain(self, seconds: float) -> int:
        """Read what waits until nothing is left, time is up or something fails; what is left."""
        await self.afinish(seconds)
        return await self.queue.abacklog()

    async def astep(self) -> int:
        """Read one batch; how many messages it held. Raises what the extractor raises."""
        async with self._one_batch:
            batch = await self.queue.alease(BATCH, LEASE_SECONDS)
            if not batch:
                return 0
            try:
                await self._read(batch)
            except BaseException as error:
                pause = self._retry_after(error)
                await self.queue.arelease(batch, pause)
                data = {"messages": len(batch), "error": repr(error), "retry_seconds": pause}
                emit(self._hooks, Event("facts.failed", data=data))
                raise
            self._pause = 0.0
            return len(batch)

    async def _read(self, batch: Sequence[Unread]) -> None:
        started = time.perf_counter()
        by_scope: dict[Scope, list[Unread]] = {}
        for item in batch:
            if not item.namespace.items:
                by_scope.setdefault(item.namespace.scope, []).append(item)
        count = 0
        for scope, some in by_scope.items():
            messages = [item.message for item in some]
            read = await self._extractor.aextract(scope, messages)
            read = await self._as_known(scope, messages, read)
            for item, claims in zip(some, read, strict=True):
                count += await self._state(item, claims)
        await self.queue.asettle(batch)
        seconds = time.perf_counter() - started
        data = {"messages": len(batch), "facts": count, "by": self._extractor.name}
        emit(self._hooks, Event("facts.read", seconds=seconds, data=data))
        self.count += count
        if count:
            self.stored()

    async def _as_known(
        self, scope: Scope, messages: Sequence[Message], read: Sequence[Sequence[Claim]]
    ) -> list[list[Claim]]:
        """The claims, those in the known wording that only say in other words what is known.

        What rules cannot tell from a change is asked of an extractor that can: one question a batch.
        """
        given = [list(claims) for claims in read]
        if not isinstance(self._extractor, StateComparer):
            return given
        places, states = [], []
        for number, claims in enumerate(given):
            for at, claim in enumerate(claims):
                old = await self._held(scope, claim, messages[number].time)
                if old is not None and not same_value(old, claim.object):
                    places.append((number, at, old))
                    states.append((claim.subject, claim.predicate, old, claim.object))
        answers = await self._extractor.asame(scope, states) if states else []
        for (number, at, old), same in zip(places, answers, strict=True):
            if same:
                given[number][at] = replace(given[number][at], object=old)
        return given

    async def _held(self, scope: Scope, claim: Claim, said: datetime) -> str | None:
        """The one value that a claim would take the place of."""
        if claim.many or claim.negated or claim.corrects or not claim.object:
            return None
        if not claim.subject.strip() or not claim.predicate.strip():
            return None
        asked = FactQuery(
            claim.valid_from or said, claim.subject, claim.predicate, min_confidence=0.0, limit=2
        )
        found = await self._store.aheld(scope, asked)
        return found[0].object if len(found) == 1 and not found[0].many else None

    async def _state(self, item: Unread, claims: Sequence[Claim]) -> int:
        """Store what was read in one message; how many facts that were."""
        said = Said(item.namespace.session, item.message.id)
        facts = []
        if len(claims) > MOST:
            error = f"{len(claims)} claims of one message; the first {MOST} are taken"
            self._refused(item, error)
        for number, claim in enumerate(claims[:MOST]):
            try:
                checked = checked_claim(claim)
            except InvalidInput as error:
                self._refused(item, str(error))
                continue
            for place, stated in enumerate(_moments(checked, item.message.time)):
                key = _id(self._extractor.name, said, number, place)
                facts.append(NewFact(key, stated, item.message.time, "extracted", (said,)))
        if not facts:
            return 0
        try:
            await self._store.astate(item.namespace, facts)
        except InvalidInput as error:
            if error.field != "sources":
                raise
            return 0  # the message was erased meanwhile, and nothing rests on it
        return len(facts)

    def _refused(self, item: Unread, error: str) -> None:
        data = {"error": error, "by": self._extractor.name}
        emit(self._hooks, Event("facts.refused", item.namespace.scope.key, data=data))

    async def _round(self) -> None:
        try:
            await self._all()
        except Exception as error:  # an extractor of a user's may raise anything; we live on
            emit(self._hooks, Event("facts.waiting", data={"error": repr(error)}))
        await self._rest(max(POLL_SECONDS, self._pause))


def _moments(claim: Claim, said: datetime) -> list[Claim]:
    """The claim; one that holds since a time before it was said, and no end, also as it holds then.

    "I moved to Faro last week" is news of last week and of today, whatever was said between.
    """
    if claim.valid_from is None or claim.valid_to is not None or claim.valid_from >= said:
        return [claim]
    return [claim, replace(claim, valid_from=said)]


def _id(reader: str, said: Said, number: int, place: int) -> str:
    parts = "\x00".join((reader, said.session, said.id, str(number), str(place)))
    return f"read-{hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()}"
