"""What every `MessageLog` keeps of what is appended: retries, batches, order, tool groups, names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import MessageLog
from rag_memory_plugins.testing.stores import MONDAY, NOON, StoresConformance, ids, said
from rag_memory_plugins.testing.vector_points import AWKWARD, awkward_scopes
from rag_memory_plugins.types import Image, Message, ToolCall

__all__ = ["LogWriting"]

BOB = Namespace("acme", "bob", "monday")


def call(message_id: str, *calls: str) -> Message:
    """An assistant message that makes these calls."""
    tools = tuple(ToolCall(name, "weather", '{"city": "Lisbon"}') for name in calls)
    return Message("assistant", "", message_id, tool_calls=tools)


def result(message_id: str, call_id: str) -> Message:
    """What a tool answered to a call."""
    return Message("tool", "sunny", message_id, tool_call_id=call_id)


class LogWriting(StoresConformance):
    """Tests of `aappend`, and of the order in which it stores."""

    part = "log"
    port = MessageLog

    async def _aput(
        self, log: MessageLog, batch: Sequence[Message], place: Namespace = MONDAY, size: int = 7
    ) -> int:
        return await log.aappend(place, batch, [size] * len(batch))

    def _refused(self, outcomes: Sequence[Any]) -> int:
        """How many were refused for the other's content; any other error is raised."""
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, MessageConflict):
                raise outcome
        return sum(isinstance(outcome, MessageConflict) for outcome in outcomes)

    def test_what_is_appended_is_read_back_whole(self) -> None:
        async def story(log: MessageLog) -> None:
            batch = [
                Message("system", "be brief", "s"),
                Message("user", "caf\u00e9 \U0001f600 ' \" \\ % _", "u", name="Ann", time=NOON),
                Message("user", "", "i", images=(Image("data:image/png;base64,AA==", 3, 4),)),
                call("a", "c1"),
                result("t", "c1"),
                Message(
                    "assistant", "x" * 100_000, "long", metadata={"a": [1, {"b": None}], "": 0}
                ),
            ]
            assert await self._aput(log, batch) == len(batch)
            assert list(await log.amessages(MONDAY)) == batch
            assert [item.message for item in await log.arecent(MONDAY, 9)] == batch

        self._with(story)

    def test_a_retry_stores_nothing_twice(self) -> None:
        async def story(log: MessageLog) -> None:
            batch = said("one", "two")
            assert await self._aput(log, batch) == 2
            assert await self._aput(log, batch) == 0
            later = Message("user", "one", "m0")  # a retry that builds it again stamps it anew
            assert await self._aput(log, [later, *said("three", first=2), later]) == 1
            assert list(await log.amessages(MONDAY)) == said("one", "two", "three")
            assert (await log.aview(MONDAY, 0, 0)).tokens == 21

        self._with(story)

    def test_a_message_twice_in_a_batch_is_stored_once(self) -> None:
        async def story(log: MessageLog) -> None:
            assert await self._aput(log, said("one") * 3) == 1
            assert list(await log.amessages(MONDAY)) == said("one")

        self._with(story)

    def test_other_content_under_an_id_is_refused_with_its_whole_batch(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, said("one"))
            for batch in (
                [*said("x", "y", first=1), *said("other"), *said("z", first=3)],
                [*said("x", first=1), *said("y", first=1)],
            ):
                assert self._refused(
                    await asyncio.gather(self._aput(log, batch), return_exceptions=True)
                )
            assert list(await log.amessages(MONDAY)) == said("one")
            assert (await log.aview(MONDAY, 0, 0)).said == 7
            assert (await log.astats(MONDAY.scope)).messages == 1

        self._with(story)

    def test_an_id_belongs_to_its_session(self) -> None:
        async def story(log: MessageLog) -> None:
            tuesday = Namespace("acme", "ann", "tuesday")
            places = [MONDAY, tuesday, BOB, Namespace("evil", "ann", "monday")]
            for number, place in enumerate(places):
                assert await self._aput(log, said(f"number {number}"), place) == 1
            for number, place in enumerate(places):
                assert list(await log.amessages(place)) == said(f"number {number}")

        self._with(story)

    def test_equal_texts_are_messages_of_their_own(self) -> None:
        async def story(log: MessageLog) -> None:
            assert await self._aput(log, said(*["yes"] * 5)) == 5
            assert len(await log.amessages(MONDAY)) == 5

        self._with(story)

    def test_a_message_tells_its_size_and_what_was_said_before(self) -> None:
        async def story(log: MessageLog) -> None:
            await log.aappend(MONDAY, said("a", "b"), [3, 4])
            await log.aappend(BOB, said("x"), [100])
            await log.aappend(MONDAY, said("a", "c", first=0)[:1] + said("c", first=2), [3, 5])
            found = await log.arecent(MONDAY, 9)
            assert [(item.tokens, item.said) for item in found] == [(3, 0), (4, 3), (5, 7)]
            assert [item.session for item in found] == ["monday"] * 3

        self._with(story)

    def test_numbers_grow_and_are_never_given_again(self) -> None:
        async def story(log: MessageLog) -> None:
            for number in range(6):
                await self._aput(log, said("x", first=number), (MONDAY, BOB)[number % 2])
            seqs = [item.seq for item in await log.arecent(MONDAY, 9)]
            assert seqs == sorted(set(seqs))
            last = max(*seqs, *(item.seq for item in await log.arecent(BOB, 9)))
            for place in (MONDAY, BOB):
                await log.aerase(place, "user")
            await self._aput(log, said("again"))
            assert (await log.arecent(MONDAY, 9))[0].seq > last

        self._with(story)

    def test_a_call_its_results_and_the_answer_are_one_group(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, [*said("and?"), call("a", "c1", "c2"), result("r2", "c2")])
            await self._aput(log, [result("r1", "c1")])
            await self._aput(log, [Message("assistant", "sunny", "z"), *said("ok", first=1)])
            await self._aput(log, [call("a", "c1"), result("r1", "c1")], BOB)
            found = {item.message.id: item for item in await log.arecent(MONDAY, 9)}
            groups = {key: item.group for key, item in found.items()}
            seq = found["a"].seq
            inside = dict.fromkeys(("a", "r2", "r1", "z"), seq)
            assert groups == {"m0": None, **inside, "m1": None}
            assert ids(await log.agroups(MONDAY.scope, [seq])) == ["a", "r2", "r1", "z"]
            assert await log.agroups(BOB.scope, [seq]) == []
            assert await log.agroups(MONDAY.scope, []) == []

        self._with(story)

    def test_a_call_made_again_begins_a_group_of_its_own(self) -> None:
        async def story(log: MessageLog) -> None:
            for number in range(2):  # providers give the same call ids again
                await self._aput(log, [call(f"a{number}", "c"), result(f"r{number}", "c")])
            found = {item.message.id: item for item in await log.arecent(MONDAY, 9)}
            for number in range(2):
                assert found[f"r{number}"].group == found[f"a{number}"].seq
                group = await log.agroups(MONDAY.scope, [found[f"a{number}"].seq])
                assert ids(group) == [f"a{number}", f"r{number}"]

        self._with(story)

    def test_writers_of_two_processes_keep_order_and_lose_nothing(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            async def write(number: int) -> None:
                for turn in range(6):
                    pair = [Message("user", "x", f"{number}-{turn}-{part}") for part in "ab"]
                    assert await self._aput((log, other)[turn % 2], pair) == 2

            await asyncio.gather(*(write(number) for number in range(6)))
            for reader in (log, other):
                found = await reader.arecent(MONDAY, 100)
                assert ids(found) == [message.id for message in await reader.amessages(MONDAY)]
                assert [item.said for item in found] == [7 * n for n in range(72)]
                assert sorted(item.seq for item in found) == [item.seq for item in found]
                for number in range(6):
                    own = [key for key in ids(found) if key.startswith(f"{number}-")]
                    assert own == [f"{number}-{turn}-{part}" for turn in range(6) for part in "ab"]
                together = [key[:-2] for key in ids(found)]
                assert together[::2] == together[1::2]

        self._with_two(story)

    def test_of_two_who_say_the_same_at_once_one_stores_it(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            for number in range(10):
                place = Namespace("acme", f"user {number}", "monday")
                both = [self._aput(each, said("x", "y"), place) for each in (log, other)]
                assert sorted(await asyncio.gather(*both)) == [0, 2]
                assert list(await other.amessages(place)) == said("x", "y")

        self._with_two(story)

    def test_of_two_who_take_an_id_at_once_one_is_refused(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            for number in range(10):
                place = Namespace("acme", "ann", f"session {number}")
                both = [
                    self._aput(each, [*said(text), *said(text, first=1 + of)], place)
                    for of, (each, text) in enumerate(((log, "x"), (other, "y")))
                ]
                assert self._refused(await asyncio.gather(*both, return_exceptions=True)) == 1
                assert len({message.content for message in await log.amessages(place)}) == 1
                assert len(await log.amessages(place)) == 2

        self._with_two(story)

    def test_names_that_look_alike_are_apart(self) -> None:
        async def story(log: MessageLog) -> None:
            scopes = [scope for scope in awkward_scopes() if not scope.items]
            places = [Namespace(who.tenant, who.user, "monday") for who in scopes]
            places += [Namespace("acme", "ann", name) for name in AWKWARD]
            for place in places:
                await self._aput(log, said(place.key), place)
            for place in places:
                assert list(await log.amessages(place)) == said(place.key)
                assert await log.acounted(place) == 1
            assert {space.key for space in await log.anamespaces()} == {p.key for p in places}
            sessions = ["monday", *AWKWARD]
            assert await log.asessions(Scope("acme", "ann")) == sessions
            assert (await log.astats(Scope("acme", "ann"))).sessions == len(sessions)
            first, *others = places
            assert (await log.aerase(first, "session")).messages == 1
            for place in others:
                assert await log.acounted(place) == 1

        self._with(story)
