"""What every `MessageLog` keeps of an erase: exactly what was asked for, and a receipt of it."""

from __future__ import annotations

from dataclasses import replace

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.ports import MessageLog
from rag_memory_plugins.results import EraseReceipt
from rag_memory_plugins.testing.log_writing import BOB, LogWriting, call, result
from rag_memory_plugins.testing.stores import MONDAY, ids, said
from rag_memory_plugins.types import Level

__all__ = ["LogErasing"]

TUESDAY = Namespace("acme", "ann", "tuesday")


def receipt(messages: int, pins: int = 0, level: Level = "session") -> EraseReceipt:
    """A receipt of ann's that waits for nothing."""
    return EraseReceipt(MONDAY.scope.key, level, messages, 0, pins, complete=True)


def brief(given: EraseReceipt) -> EraseReceipt:
    """A receipt without what an engine may count and note besides."""
    assert given.removed.get("messages", 0) == given.messages
    return replace(given, removed={}, note="")


class LogErasing(LogWriting):
    """Tests of `aforget`, `aerase` and `atidy`."""

    async def _afill(self, log: MessageLog) -> None:
        for place in (MONDAY, TUESDAY, BOB):
            await self._aput(log, said("a", "b", "c", metadata={"n": 1}), place)

    async def _aheld(self, log: MessageLog) -> list[list[str]]:
        """Ids in ann's two sessions, and in bob's."""
        places = (MONDAY, TUESDAY, BOB)
        return [[message.id for message in await log.amessages(place)] for place in places]

    def test_the_messages_of_these_ids_go_and_no_others(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._afill(log)
            everything = ["m0", "m1", "m2"]
            for none in ([], ["m", "m00", "M0", "%", "*", "m_", "m0 ", "' OR '1'='1"]):
                assert brief(await log.aforget(MONDAY, none, None, "session")) == receipt(0)
            assert brief(await log.aforget(MONDAY, ["m0", "no", "m0"], None, "session")) == receipt(
                1
            )
            assert await self._aheld(log) == [["m1", "m2"], everything, everything]
            assert brief(await log.aforget(MONDAY, ["m1"], None, "user")) == receipt(
                2, level="user"
            )
            assert await self._aheld(log) == [["m2"], ["m0", "m2"], everything]
            assert await log.atidy()

        self._with(story)

    def test_what_matches_goes_within_the_session_or_the_user(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._afill(log)
            everything = ["m0", "m1", "m2"]
            where = Filter(metadata={"n": 1}) & Filter(ids=["m0", "m2"])
            assert brief(await log.aforget(MONDAY, ["m1", "m2"], where, "session")) == receipt(1)
            assert await self._aheld(log) == [["m0", "m1"], everything, everything]
            anything = ~Filter(sessions="nothing") | Filter(metadata={"tenant": "*"})
            assert brief(await log.aforget(MONDAY, None, anything, "session")) == receipt(2)
            assert await self._aheld(log) == [[], everything, everything]
            assert brief(await log.aforget(MONDAY, None, where, "user")) == receipt(2, level="user")
            assert await self._aheld(log) == [[], ["m1"], everything]
            assert brief(await log.aforget(BOB, ["m0"], Filter(ids="m1"), "user")) == EraseReceipt(
                BOB.scope.key, "user", 0, 0, 0, complete=True
            )

        self._with(story)

    def test_a_call_is_forgotten_without_its_result(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._aput(log, [call("a", "c1"), result("r", "c1")])
            seq = (await log.arecent(MONDAY, 1))[0].group
            assert seq is not None
            assert brief(await log.aforget(MONDAY, ["a"], None, "session")) == receipt(1)
            assert ids(await log.agroups(MONDAY.scope, [seq])) == ["r"]

        self._with(story)

    def test_an_erased_session_is_gone_with_all_that_hung_on_it(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._afill(log)
            await log.apin(MONDAY, "m0", "user")
            await log.apin(MONDAY, "m1", "session")
            await log.aarchive(MONDAY, ["m0"])
            assert brief(await log.aerase(MONDAY, "session")) == receipt(3, 2)
            assert brief(await log.aerase(MONDAY, "session")) == receipt(0)
            assert await self._aheld(log) == [[], ["m0", "m1", "m2"], ["m0", "m1", "m2"]]
            assert await log.apins(TUESDAY) == []
            assert await log.asessions(MONDAY.scope) == ["tuesday"]
            await self._aput(log, said("other"))  # the id is free again
            assert await log.acounted(MONDAY, archived=True) == 0
            view = await log.aview(MONDAY, 9, 1)
            assert (view.tokens, view.said, view.peak, list(view.pins)) == (7, 7, 7, [])

        self._with(story)

    def test_an_erased_user_is_gone_and_no_other(self) -> None:
        async def story(log: MessageLog) -> None:
            await self._afill(log)
            await self._aput(log, said("x"), Namespace("evil", "ann", "monday"))
            assert brief(await log.aerase(MONDAY, "user")) == receipt(6, level="user")
            assert brief(await log.aerase(MONDAY, "user")) == receipt(0, level="user")
            keys = {space.key for space in await log.anamespaces()}
            assert keys == {BOB.key, "evil/ann/monday"}
            assert (await log.astats(MONDAY.scope)).messages == 0

        self._with(story)

    def test_what_another_process_erased_is_gone_at_once(self) -> None:
        async def story(log: MessageLog, other: MessageLog) -> None:
            await self._afill(log)
            assert len(await other.amessages(MONDAY)) == 3
            await log.aforget(MONDAY, ["m1"], None, "session")
            assert ids(await other.arecent(MONDAY, 9)) == ["m0", "m2"]
            await other.aerase(MONDAY, "user")
            assert await self._aheld(log) == [[], [], ["m0", "m1", "m2"]]
            await self._aput(log, said("new"))
            assert [message.content for message in await other.amessages(MONDAY)] == ["new"]

        self._with_two(story)
