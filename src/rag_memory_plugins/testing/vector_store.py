"""What every `VectorStore` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Point, RemovedPoint, VectorStore
from rag_memory_plugins.testing.conforming import Conformance
from rag_memory_plugins.testing.vector_points import (
    ANN,
    AWKWARD,
    along,
    awkward_scopes,
    leaning,
    message,
    ranked,
    stacked,
    text_of,
    units,
)

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Vectors

__all__ = ["VectorStoreConformance"]

Story = Callable[[VectorStore], Awaitable[None]]


class VectorStoreConformance(Conformance):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    Each test is a plain function that opens the store inside a loop of its own, so a client bound
    to a loop is at home, and under a place of its own, so a server may serve them all. Texts say
    their vector (`vector_of`), for a store that embeds by itself. `gaps` names tests that the
    engine cannot pass, each with the reason: they must fail.

    >>> from rag_memory_plugins.stores.edge import EdgeStore
    >>> class TestEdge(VectorStoreConformance):
    ...     async def aopen_store(self, place):
    ...         return EdgeStore(f"vectors/{place}")
    """

    port = VectorStore
    dimension: ClassVar[int] = 48
    durable: ClassVar[bool] = True
    """Whether points are there when the store is closed and the same place is opened again."""
    recall: ClassVar[float] = 0.95
    """Least share of the ten nearest of 2,000 random vectors that are found."""

    async def aopen_store(self, place: str) -> VectorStore:
        """A store that keeps its points under `place`; `aopen`, which the tests call, is not yet."""
        raise NotImplementedError

    async def asettled(self, store: VectorStore) -> None:
        """Wait until everything that was put and removed shows in searches."""

    async def aforget(self, place: str) -> None:
        """Drop whatever a test left under `place`."""

    def _with(self, story: Story) -> None:
        """Run a story on one store that is open for the log "log"."""

        async def run(place: str) -> None:
            await self._aserve(place, story)

        self._in_a_place(run)

    def _in_a_place(self, run: Callable[[str], Awaitable[None]]) -> None:
        place = f"conformance-{uuid4().hex}"

        async def whole() -> None:
            try:
                await run(place)
            finally:
                await self.aforget(place)

        asyncio.run(whole())

    async def _aserve(
        self, place: str, story: Story, log: str = "log", fingerprint: str = "fp/1", more: int = 0
    ) -> None:
        store = await self.aopen_store(place)
        try:
            await store.aopen(log, fingerprint, self.dimension + more)
            await story(store)
        finally:
            await store.aclose()

    async def _aput(self, store: VectorStore, *points: Point) -> None:
        await store.aput(points)
        await self.asettled(store)

    async def _aremove(self, store: VectorStore, *points: RemovedPoint) -> None:
        await store.aremove(points)
        await self.asettled(store)

    def _point(
        self, seq: int, vectors: Vectors | int, scope: Scope = ANN, session: str = "monday"
    ) -> Point:
        """A message of this number; an int stands for the axis that its one vector lies along."""
        if isinstance(vectors, int):
            vectors = self._axis(vectors)
        return message(seq, vectors, scope, session)

    def _axis(self, number: int) -> Vectors:
        return along(number, self.dimension)

    def _random(self, count: int, seed: int = 7) -> Vectors:
        return units(count, self.dimension, seed)

    async def _anear(
        self,
        store: VectorStore,
        vector: Vectors | int = 0,
        limit: int = 10,
        scope: Scope = ANN,
        session: str | None = None,
    ) -> list[int]:
        if isinstance(vector, int):
            vector = self._axis(vector)
        return await store.anearest(scope, text_of(vector), vector, limit, session)

    def test_it_is_a_vector_store(self) -> None:
        async def story(store: VectorStore) -> None:
            assert isinstance(store, VectorStore)
            assert isinstance(store.name, str)
            assert store.name

        self._with(story)

    def test_it_says_no_secret_of_a_point(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store, self._point(1, 0, Scope("secret-tenant", "secret-user")))
            assert "secret-" not in repr(store) + str(store)

        self._with(story)

    def test_a_store_that_holds_nothing_finds_nothing(self) -> None:
        async def story(store: VectorStore) -> None:
            assert await self._anear(store) == []
            assert await self._anear(store, session="monday") == []
            await self._aremove(store, RemovedPoint(ANN, 1, 1))

        self._with(story)

    def test_what_is_put_is_found(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store, self._point(7, 0))
            assert await self._anear(store) == [7]

        self._with(story)

    def test_putting_and_removing_nothing_changes_nothing(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store)
            await self._aput(store, self._point(7, 0))
            await self._aput(store)
            await self._aremove(store)
            assert await self._anear(store) == [7]

        self._with(story)

    def test_numbers_may_be_large(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store, self._point(2**40, 0), self._point(2**40 + 1, 1))
            assert await self._anear(store) == [2**40, 2**40 + 1]

        self._with(story)

    def test_a_point_put_again_takes_its_own_place(self) -> None:
        async def story(store: VectorStore) -> None:
            near = leaning(0, 1, 0.1, self.dimension)
            await self._aput(store, self._point(1, 0), self._point(2, near))
            assert await self._anear(store) == [1, 2]
            await self._aput(store, self._point(1, 5))
            assert await self._anear(store) == [2, 1]
            assert await self._anear(store, 5) == [1, 2]

        self._with(story)

    def test_one_put_may_hold_a_point_twice(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store, self._point(1, 0), self._point(2, 1), self._point(1, 0))
            assert await self._anear(store) == [1, 2]

        self._with(story)

    def test_the_pieces_of_a_message_give_its_number_once(self) -> None:
        async def story(store: VectorStore) -> None:
            pieces = stacked(*(self._axis(number) for number in range(5)))
            tilted = stacked(*(leaning(number, 9, 0.5, self.dimension) for number in range(5)))
            await self._aput(store, self._point(1, pieces), self._point(2, tilted))
            for axis in range(5):
                assert await self._anear(store, axis, 20) == [1, 2]

        self._with(story)

    def test_the_best_come_first(self) -> None:
        async def story(store: VectorStore) -> None:
            vectors = self._random(20)
            points = [self._point(seq, vector) for seq, vector in enumerate(vectors, 1)]
            await self._aput(store, *points)
            for question in self._random(5, seed=8):
                expected = [1 + row for row in ranked(vectors, question)]
                assert await self._anear(store, question, 20) == expected

        self._with(story)

    def test_about_as_many_are_found_as_are_asked_for(self) -> None:
        async def story(store: VectorStore) -> None:
            vectors = self._random(60)
            points = [self._point(seq, vector) for seq, vector in enumerate(vectors, 1)]
            await self._aput(store, *points)
            best = [1 + row for row in ranked(vectors, vectors[0])]
            for limit in (1, 2, 10):
                found = await self._anear(store, vectors[0], limit)
                assert limit <= len(found) <= 2 * limit
                assert found == best[: len(found)]
            assert len(await self._anear(store, vectors[0], 500)) == 60

        self._with(story)

    def test_a_session_restricts(self) -> None:
        async def story(store: VectorStore) -> None:
            points = [self._point(seq, 0, session=name) for seq, name in enumerate(AWKWARD, 1)]
            await self._aput(store, *points)
            for seq, name in enumerate(AWKWARD, 1):
                assert await self._anear(store, limit=100, session=name) == [seq]
            assert await self._anear(store, limit=100, session="nothing") == []
            assert len(await self._anear(store, limit=100)) == len(AWKWARD)

        self._with(story)

    def test_a_user_sees_and_removes_nobody_elses(self) -> None:
        async def story(store: VectorStore) -> None:
            scopes = awkward_scopes()
            await self._aput(store, *(self._point(n, 0, who) for n, who in enumerate(scopes)))
            for number, scope in enumerate(scopes):
                assert await self._anear(store, limit=200, scope=scope) == [number]
                assert await self._anear(store, 0, 200, scope, "monday") == [number]
            first, *others = scopes
            # Their numbers under another's name: no point of that name is held.
            strangers = [RemovedPoint(first, n, 2) for n, _ in enumerate(others, 1)]
            await self._aremove(store, *strangers, RemovedPoint(first, 0, 1))
            assert await self._anear(store, limit=200, scope=first) == []
            for number, scope in enumerate(others, 1):
                assert await self._anear(store, limit=200, scope=scope) == [number]

        self._with(story)

    def test_users_may_have_messages_of_the_same_number(self) -> None:
        async def story(store: VectorStore) -> None:
            scopes = awkward_scopes()
            await self._aput(store, *(self._point(5, 0, scope) for scope in scopes))
            await self._aremove(store, *(RemovedPoint(who, 5, 1) for who in scopes[::2]))
            for number, scope in enumerate(scopes):
                assert await self._anear(store, scope=scope) == ([5] if number % 2 else [])

        self._with(story)

    def test_a_log_sees_and_removes_nothing_of_another(self) -> None:
        self._kept_apart([("log", "fp/1"), ("log2", "fp/1"), ("lo", "fp/1"), ("LOG", "fp/1")])

    def test_an_embedder_sees_and_removes_nothing_of_another(self) -> None:
        names = ["fp/1", "fp_1", "fp-1", "FP/1", "fp/1/2", "fp", "\u00e9", "e\u0301", "x" * 200]
        self._kept_apart([(f"log of {name}", name) for name in names])

    def _kept_apart(self, logs: Sequence[tuple[str, str]]) -> None:
        async def run(place: str) -> None:
            for number, (log, fingerprint) in enumerate(logs):

                async def put(store: VectorStore, number: int = number) -> None:
                    # The same number and user in all of them, and one of its own.
                    await self._aput(store, self._point(500, 0), self._point(number, 1))
                    assert sorted(await self._anear(store, limit=50)) == sorted([number, 500])

                await self._aserve(place, put, log, fingerprint)

            async def remove(store: VectorStore) -> None:
                numbers = [500, *range(len(logs))]
                await self._aremove(store, *(RemovedPoint(ANN, n, 2) for n in numbers))
                assert await self._anear(store, limit=50) == []

            await self._aserve(place, remove, *logs[0])
            for number, (log, fingerprint) in list(enumerate(logs))[1:]:

                async def look(store: VectorStore, number: int = number) -> None:
                    kept = sorted([number, 500]) if self.durable else []
                    assert sorted(await self._anear(store, limit=50)) == kept

                await self._aserve(place, look, log, fingerprint)

        self._in_a_place(run)

    def test_embedders_may_differ_in_dimension(self) -> None:
        async def run(place: str) -> None:
            for more in (0, 16):

                async def story(store: VectorStore, more: int = more) -> None:
                    vector = along(-1, self.dimension + more)
                    await self._aput(store, self._point(3, vector))
                    assert await self._anear(store, vector) == [3]

                await self._aserve(place, story, f"log{more}", f"fp/{more}", more)

        self._in_a_place(run)

    def test_what_is_removed_is_gone_and_the_rest_stays(self) -> None:
        async def story(store: VectorStore) -> None:
            pieces = stacked(*(self._axis(number) for number in range(3)))
            points = [self._point(seq, pieces) for seq in range(1, 8)]
            await self._aput(store, *points)
            gone = [RemovedPoint(ANN, seq, 3) for seq in (1, 4, 99, 4)]
            await self._aremove(store, *gone)
            await self._aremove(store, *gone)
            for axis in range(3):
                assert sorted(await self._anear(store, axis, 50)) == [2, 3, 5, 6, 7]

        self._with(story)

    def test_what_was_removed_may_be_put_again(self) -> None:
        async def story(store: VectorStore) -> None:
            await self._aput(store, self._point(1, 0), self._point(2, 1))
            await self._aremove(store, RemovedPoint(ANN, 1, 1))
            assert await self._anear(store) == [2]
            await self._aput(store, self._point(1, 0))
            assert await self._anear(store) == [1, 2]

        self._with(story)

    def test_what_was_put_and_removed_is_so_after_reopening(self) -> None:
        async def run(place: str) -> None:
            async def write(store: VectorStore) -> None:
                await self._aput(store, *(self._point(seq, seq) for seq in range(1, 9)))
                await self._aremove(store, RemovedPoint(ANN, 3, 1), RemovedPoint(ANN, 4, 1))

            async def read(store: VectorStore) -> None:
                await self.asettled(store)
                kept = [1, 2, 5, 6, 7, 8] if self.durable else []
                assert sorted(await self._anear(store, 1, 50)) == kept

            await self._aserve(place, write)
            await self._aserve(place, read)

        self._in_a_place(run)

    def test_a_thousand_points_are_put_at_once_and_removed_at_once(self) -> None:
        async def story(store: VectorStore) -> None:
            vectors = self._random(1_000)
            await self._aput(store, *(self._point(n, vector) for n, vector in enumerate(vectors)))
            for number in (0, 499, 999):
                assert (await self._anear(store, vectors[number], 1))[0] == number
            await self._aremove(store, *(RemovedPoint(ANN, n, 1) for n in range(998)))
            assert sorted(await self._anear(store, vectors[0], 50)) == [998, 999]

        self._with(story)

    def test_puts_and_searches_may_run_at_once(self) -> None:
        async def story(store: VectorStore) -> None:
            vectors = self._random(200)
            points = [self._point(seq, vector) for seq, vector in enumerate(vectors)]

            async def put(number: int) -> None:
                await store.aput(points[10 * number : 10 * number + 10])

            async def search(number: int) -> list[int]:
                return await self._anear(store, vectors[number], 5)

            work = [(put(number), search(number)) for number in range(20)]
            found = await asyncio.gather(*(each for pair in work for each in pair))
            assert all(0 <= seq < 200 for seqs in found if seqs for seq in seqs)
            await self.asettled(store)
            assert sorted(await self._anear(store, vectors[0], 500)) == list(range(200))

        self._with(story)

    def test_of_random_vectors_the_nearest_are_found(self) -> None:
        async def story(store: VectorStore) -> None:
            vectors, questions = self._random(2_000), self._random(50, seed=8)
            points = [self._point(seq, vector) for seq, vector in enumerate(vectors)]
            for start in range(0, len(points), 250):
                await store.aput(points[start : start + 250])
            await self.asettled(store)
            right = 0
            for question in questions:
                best = set(ranked(vectors, question)[:10])
                right += len(best & set((await self._anear(store, question, 10))[:10]))
            assert right / (10 * len(questions)) >= self.recall

        self._with(story)

    def test_a_closed_store_says_so(self) -> None:
        async def run(place: str) -> None:
            stores: list[VectorStore] = []

            async def story(store: VectorStore) -> None:
                await self._aput(store, self._point(1, 0))
                stores.append(store)

            await self._aserve(place, story)
            for work in (
                self._anear(stores[0]),
                stores[0].aput([self._point(2, 0)]),
                stores[0].aremove([RemovedPoint(ANN, 1, 1)]),
            ):
                try:
                    await work
                except StoreError as error:
                    assert "closed" in str(error)  # noqa: PT017  # pytest is not imported here
                else:
                    raise AssertionError("a closed store went on")

        self._in_a_place(run)
