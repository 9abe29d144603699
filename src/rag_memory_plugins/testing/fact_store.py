"""What every `FactStore` keeps, as tests: an engine's author subclasses and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rag_memory_plugins.errors import InvalidInput, MessageConflict
from rag_memory_plugins.namespace import SHARED, Namespace, Scope
from rag_memory_plugins.ports import Claim, Fact, FactQuery, FactStore, NewFact, Said
from rag_memory_plugins.testing.stores import MONDAY, NOON, Stores, StoresConformance, said
from rag_memory_plugins.testing.vector_points import AWKWARD

__all__ = ["FactStoreConformance"]

ANN: Final = MONDAY.scope
BOB: Final = Namespace("acme", "bob", "monday")


def day(number: int) -> datetime:
    """So many days after the first."""
    return NOON + timedelta(days=number)


def fact(
    key: str, subject: str, predicate: str, value: str, since: int = 0, **options: Any
) -> NewFact:
    """A fact under an id, valid from a day and recorded on it, or when it is told."""
    recorded = day(options.pop("recorded", since))
    sources = tuple(Said("monday", each) for each in options.pop("sources", ()))
    by = options.pop("by", "user")
    claim = Claim(subject, predicate, value, valid_from=day(since), **options)
    return NewFact(key, claim, recorded, by, sources)


def asked(**options: Any) -> FactQuery:
    """A question about day 50 unless it says otherwise."""
    at = day(options.pop("at", 50))
    known = options.pop("known_at", None)
    return FactQuery(at, known_at=None if known is None else day(known), **options)


def values(found: Sequence[Fact]) -> list[str]:
    """What the facts say."""
    return [each.object for each in found]


class FactStoreConformance(StoresConformance):
    """Tests of the port. Subclass it as `Test...`, say how to open one, and pytest runs them.

    >>> import pathlib, tempfile
    >>> from rag_memory_plugins.stores.facts import SqlFacts
    >>> from rag_memory_plugins.stores.sql import SqlLog
    >>> from rag_memory_plugins.stores.sqlite import SqliteDatabase
    >>> folder = tempfile.TemporaryDirectory()
    >>> class TestSqlite(FactStoreConformance):
    ...     async def aopen(self):
    ...         database = SqliteDatabase(pathlib.Path(folder.name) / "a.db", busy_timeout=10.0)
    ...         await database.aopen()
    ...         return Stores(SqlLog(database), facts=SqlFacts(database))
    ...     async def ashare(self, kept):
    ...         return await self.aopen()
    >>> TestSqlite().test_where_nothing_was_stated_nothing_holds()
    >>> folder.cleanup()
    """

    part = "facts"
    port = FactStore

    def test_where_nothing_was_stated_nothing_holds(self) -> None:
        async def story(facts: FactStore) -> None:
            assert not await facts.aany(ANN)
            assert await facts.aheld(ANN, asked()) == []
            assert await facts.ahistory(ANN, None, None, 10) == []
            assert await facts.aentities(ANN, None, 10) == []
            assert await facts.arelations(ANN, None, 1, day(0)) == []
            assert await facts.aoutdated(ANN, [1, 2], day(0)) == set()
            assert await facts.arefold(ANN) == 0
            assert await facts.astate(MONDAY, []) == []

        self._with(story)

    def test_each_statement_is_decided_on_and_nothing_is_overwritten(self) -> None:
        async def story(facts: FactStore) -> None:
            decided = await facts.astate(
                MONDAY,
                [
                    fact("f1", "Ann", "lives in", "Lisbon", 3),
                    fact("f2", "Ann", "lives in", "Porto", 9),
                    fact("f3", "ann", "Lives in", "porto", 12),
                    fact("f4", "Ann", "lives in", "Faro", 9, recorded=13),
                ],
            )
            assert [(each.decision, each.over) for each in decided] == [
                ("ADD", ()),
                ("UPDATE", ("f1",)),
                ("NOOP", ("f2",)),
                ("CONFLICT", ("f2",)),
            ]
            now = await facts.aheld(ANN, asked(subject="Ann"))
            assert sorted((each.object, each.conflict) for each in now) == [
                ("Faro", True),
                ("Porto", True),
            ]
            (then,) = await facts.aheld(ANN, asked(subject="Ann", at=5))
            assert (then.object, then.valid_to, then.superseded_at) == ("Lisbon", day(9), day(9))
            told = await facts.ahistory(ANN, "Ann", "lives in", 10)
            assert [(each.id, each.old, each.new) for each in told] == [
                ("f1", (), "Lisbon"),
                ("f2", ("Lisbon",), "Porto"),
                ("f3", (), "porto"),
                ("f4", (), "Faro"),
            ]

        self._with(story)

    def test_an_id_is_one_fact_and_another_under_it_is_refused(self) -> None:
        async def story(facts: FactStore) -> None:
            first = fact("f1", "Ann", "lives in", "Lisbon")
            (one,) = await facts.astate(MONDAY, [first])
            (again,) = await facts.astate(MONDAY, [first])
            assert (one.new, again.new, again.decision) == (True, False, "ADD")
            both = [fact("f2", "Ann", "has", "a cat"), fact("f1", "Ann", "lives in", "Faro")]
            await _refused(MessageConflict, facts.astate(MONDAY, both))
            assert [each.id for each in await facts.ahistory(ANN, None, None, 10)] == ["f1"]

        self._with(story)

    def test_a_fact_rests_on_messages_of_its_user_alone(self) -> None:
        async def story(stores: Stores) -> None:
            facts = stores.facts
            assert facts is not None
            await stores.log.aappend(MONDAY, said("Lisbon"), [1])
            await stores.log.aappend(BOB, said("Faro", first=7), [1])
            await facts.astate(MONDAY, [fact("f1", "Ann", "lives in", "Lisbon", sources=["m0"])])
            (held,) = await facts.aheld(ANN, asked())
            assert held.sources == (Said("monday", "m0"),)
            for source in ("m7", "nothing"):
                wrong = fact("f2", "Ann", "lives in", "Faro", sources=[source])
                await _refused(InvalidInput, facts.astate(MONDAY, [wrong]))
            assert values(await facts.aheld(ANN, asked())) == ["Lisbon"]

        self._with_stores(story)

    def test_messages_are_outdated_when_every_value_of_theirs_gave_way(self) -> None:
        async def story(stores: Stores) -> None:
            facts = stores.facts
            assert facts is not None
            await stores.log.aappend(MONDAY, said("Lisbon", "Porto", "Hello"), [1, 1, 1])
            seqs = [item.seq for item in await stores.log.arecent(MONDAY, 3)]
            await facts.astate(
                MONDAY,
                [
                    fact("f1", "Ann", "lives in", "Lisbon", 1, sources=["m0"]),
                    fact("f2", "Ann", "lives in", "Porto", 2, sources=["m1"]),
                ],
            )
            assert await facts.aoutdated(ANN, seqs, day(5)) == {seqs[0]}
            found = await facts.aheld(ANN, asked(found=[], said=[seqs[0]]))
            assert values(found) == ["Porto"]

        self._with_stores(story)

    def test_what_was_known_then_leaves_out_what_was_learned_and_undone_since(self) -> None:
        async def story(facts: FactStore) -> None:
            await facts.astate(
                MONDAY,
                [
                    fact("f1", "Ann", "lives in", "Lisbon", 3),
                    fact("f2", "Ann", "lives in", "Faro", 1, recorded=20),
                ],
            )
            question = {"subject": "Ann", "at": 2}
            assert values(await facts.aheld(ANN, asked(**question))) == ["Faro"]
            assert await facts.aheld(ANN, asked(**question, known_at=10)) == []
            assert await facts.aundo(ANN, "f2", day(30)) == 1
            assert await facts.aheld(ANN, asked(**question)) == []
            assert values(await facts.aheld(ANN, asked(**question, known_at=29))) == ["Faro"]

        self._with(story)

    def test_a_value_is_retracted_whole_and_counted_in_again(self) -> None:
        async def story(facts: FactStore) -> None:
            await facts.astate(
                MONDAY,
                [
                    fact("f1", "Ann", "lives in", "Lisbon", 1),
                    fact("f2", "Ann", "lives in", "Porto", 2),
                    fact("f3", "Ann", "lives in", "porto", 3),
                ],
            )
            before = await facts.aheld(ANN, asked())
            act, count = await facts.aretract(ANN, "f2", day(9))
            assert (count, values(await facts.aheld(ANN, asked()))) == (2, ["Lisbon"])
            await _refused(InvalidInput, facts.aretract(ANN, "f2", day(9)))
            assert await facts.aundo(ANN, act, day(10)) == 2
            assert await facts.aheld(ANN, asked()) == before
            assert await facts.aundo(ANN, "f3", day(10)) == 1
            for unknown in (act, "f3", "nothing"):
                await _refused(InvalidInput, facts.aundo(ANN, unknown, day(11)))

        self._with(story)

    def test_a_fold_from_nothing_comes_to_the_same(self) -> None:
        async def story(facts: FactStore) -> None:
            for number, place in enumerate(["Lisbon", "Porto", "Lisbon", "Faro"]):
                since = (7 * number) % 5
                await facts.astate(MONDAY, [fact(f"f{number}", "Ann", "lives in", place, since)])
            moments = [asked(at=number) for number in range(6)]
            before = [await facts.aheld(ANN, each) for each in moments]
            assert await facts.arefold(ANN) == 1
            assert [await facts.aheld(ANN, each) for each in moments] == before

        self._with(story)

    def test_names_that_mean_one_entity_share_its_states_and_edges(self) -> None:
        async def story(facts: FactStore) -> None:
            await facts.astate(
                MONDAY,
                [
                    fact("f1", "Robert Lee", "works at", "Acme", 1),
                    fact("f2", "Bob", "works at", "Globex", 2),
                    fact("f3", "Globex", "is led by", "Ann Kim", 3),
                ],
            )
            assert values(await facts.aheld(ANN, asked(subject="R. Lee"))) == ["Globex"]
            (bob,) = await facts.aentities(ANN, "bob", 1)
            assert (bob.name, set(bob.names), bob.facts) == ("Robert Lee", {"Robert Lee", "Bob"}, 1)
            near = await facts.arelations(ANN, "Bob", 2, day(9))
            assert [(each.source, each.target) for each in near] == [
                ("Robert Lee", "Globex"),
                ("Globex", "Ann Kim"),
            ]
            assert len(await facts.arelations(ANN, None, 1, day(1))) == 1

        self._with(story)

    def test_nobody_sees_or_touches_the_facts_of_another(self) -> None:
        async def story(facts: FactStore) -> None:
            pairs: list[Any] = [*AWKWARD[:4]]
            places = [Namespace(tenant, user, "s") for tenant in pairs for user in (*pairs, SHARED)]
            for number, place in enumerate(places):
                own = fact("f1", "Ann", "lives in", f"Place {number}")
                await facts.astate(place, [own])
            for number, place in enumerate(places):
                found = await facts.aheld(place.scope, asked())
                assert values(found) == [f"Place {number}"]
            gone = places[1].scope
            await facts.aretract(gone, "f1", day(9))
            for number, place in enumerate(places):
                left = [] if place.scope == gone else [f"Place {number}"]
                assert values(await facts.aheld(place.scope, asked())) == left
            stranger = Scope("acme", "nobody")
            await _refused(InvalidInput, facts.aundo(stranger, "f1", day(9)))

        self._with(story)

    def test_two_who_state_at_once_lose_nothing(self) -> None:
        async def story(one: FactStore, other: FactStore) -> None:
            await asyncio.gather(
                *[
                    store.astate(MONDAY, [fact(f"{name}{n}", "Ann", "lives in", f"Place {n}", n)])
                    for n in range(8)
                    for name, store in (("a", one), ("b", other))
                ]
            )
            told = await one.ahistory(ANN, "Ann", None, 100)
            assert sorted(each.id for each in told) == sorted(
                f"{s}{n}" for s in "ab" for n in range(8)
            )
            for moment in range(8):
                found = await other.aheld(ANN, asked(at=moment))
                assert values(found) == [f"Place {moment}"]

        self._with_two(story)


async def _refused(error: type[Exception], work: Any) -> None:
    """The work raises this error and nothing else."""
    try:
        await work
    except error:
        return
    raise AssertionError(f"not refused with {error.__name__}")
