"""What every `VectorIndex` keeps of its queue: who embeds what, and what is written of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.ports import Encoded, Pending, VectorIndex
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.stores import MONDAY, Stores, StoresConformance, said

__all__ = ["IndexQueue"]

BOB = Namespace("acme", "bob", "monday")
LONG = 3_600.0


class IndexQueue(StoresConformance):
    """Tests of `apending`, `alease`, `astore`, `arelease`, `abacklog` and `arebuild`."""

    part = "index"
    port = VectorIndex

    def _index(self, stores: Stores) -> VectorIndex:
        assert stores.index is not None
        return stores.index

    async def _asay(self, stores: Stores, *texts: str, place: Namespace = MONDAY) -> None:
        first = await stores.log.acounted(place)
        await stores.log.aappend(place, said(*texts, first=first), [5] * len(texts))

    async def _aencoded(self, pending: Sequence[Pending]) -> list[Encoded]:
        made = await WordEmbedder().aembed_documents([item.text for item in pending])
        return [Encoded(vectors) for vectors in made]

    async def _aembed(self, stores: Stores) -> int:
        """Embed all that waits, and bring a store outside up to date; how many were embedded."""
        index, total = self._index(stores), 0
        while taken := await index.alease(100, LONG):
            total += await index.astore(taken, await self._aencoded(taken))
        while await index.amirror():
            pass
        return total

    def test_what_is_said_waits_until_it_has_a_vector(self) -> None:
        async def story(stores: Stores) -> None:
            index = self._index(stores)
            assert index.ready
            assert await index.abacklog() == 0
            assert await index.alease(5, LONG) == []
            await self._asay(stores, "red", "green", "blue")
            await self._asay(stores, "grey", place=BOB)
            waiting = await index.apending(MONDAY.scope, 2)
            assert [item.text for item in waiting] == ["red", "green"]
            assert await index.apending(Scope("evil", "ann"), 5) == []
            assert (await index.abacklog(), (await stores.log.astats(MONDAY.scope)).pending) == (
                4,
                3,
            )
            assert await index.astore(waiting, await self._aencoded(waiting)) == 2
            assert [item.text for item in await index.apending(MONDAY.scope, 9)] == ["blue"]
            assert await index.astore(waiting, await self._aencoded(waiting)) == 0
            assert await index.astore([], []) == 0
            assert await self._aembed(stores) == 2
            assert await index.abacklog() == 0

        self._with_stores(story)

    def test_what_is_taken_is_nobody_elses_until_its_time_is_over(self) -> None:
        async def story(stores: Stores) -> None:
            index = self._index(stores)
            await self._asay(stores, "red", "green", "blue")
            first = await index.alease(2, LONG)
            second = await index.alease(9, -1.0)  # it is over at once
            assert [item.text for item in (*first, *second)] == ["red", "green", "blue"]
            assert await index.alease(9, LONG) == second
            await index.arelease(first, LONG)
            assert await index.alease(9, LONG) == []
            await index.arelease(first, -1.0)
            assert await index.alease(9, LONG) == first
            assert len(await index.apending(MONDAY.scope, 9)) == 3  # leased or not

        self._with_stores(story)

    def test_users_are_served_in_turn(self) -> None:
        async def story(stores: Stores) -> None:
            await self._asay(stores, *["many"] * 40)
            for user in ("bob", "cem"):
                await self._asay(stores, user, place=Namespace("acme", user, "monday"))
            texts = [item.text for item in await self._index(stores).alease(5, LONG)]
            assert sorted(texts) == ["bob", "cem", "many", "many", "many"]

        self._with_stores(story)

    def test_each_message_is_taken_by_one_of_many_workers(self) -> None:
        async def run(stores: Stores) -> None:
            async with self._shared(stores) as others:
                for user in range(4):
                    place = Namespace("acme", f"user {user}", "monday")
                    await self._asay(stores, *(f"{user} {n}" for n in range(6)), place=place)
                taken: list[Pending] = []
                for _ in range(6):
                    leases = [self._index(each).alease(3, LONG) for each in [stores, others] * 3]
                    for some in await asyncio.gather(*leases):
                        taken += some
                assert sorted(item.text for item in taken) == [
                    f"{user} {n}" for user in range(4) for n in range(6)
                ]
                encoded = await self._aencoded(taken)
                both = [self._index(each).astore(taken, encoded) for each in (stores, others)]
                assert sum(await asyncio.gather(*both)) == 24
                assert await self._index(others).abacklog() == 0

        self._with_stores(run)

    def test_what_was_erased_gets_no_vector(self) -> None:
        async def story(stores: Stores) -> None:
            index = self._index(stores)
            await self._asay(stores, "red", "green")
            taken = await index.alease(9, LONG)
            await stores.log.aforget(MONDAY, ["m0"], None, "session")
            assert await index.astore(taken, await self._aencoded(taken)) == 1
            receipt = await stores.log.aerase(MONDAY, "user")
            assert (receipt.messages, receipt.vectors) == (1, 1)
            assert await index.abacklog() == 0
            assert await index.aclean() == ""

        self._with_stores(story)

    def test_a_rebuild_queues_all_or_one_users_again(self) -> None:
        async def story(stores: Stores) -> None:
            index = self._index(stores)
            assert await index.arebuild() == 0
            await self._asay(stores, "red", "green")
            await self._asay(stores, "blue", place=BOB)
            assert await self._aembed(stores) == 3
            assert await index.arebuild(BOB.scope) == 1
            assert [item.text for item in await index.apending(BOB.scope, 9)] == ["blue"]
            assert await index.apending(MONDAY.scope, 9) == []
            assert await index.arebuild(Scope("evil", "ann")) == 0
            assert await index.arebuild() == 3
            assert await self._aembed(stores) == 3
            assert await index.abacklog() == 0

        self._with_stores(story)
