"""Items in the file and in memory: what was replaced leaves no trace in any score."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.namespace import SHARED, Namespace, Scope
from rag_memory_plugins.ports import ItemChange
from rag_memory_plugins.stores import erasing
from rag_memory_plugins.testing.fakes import WordEmbedder

SCOPE = Scope("acme", SHARED, items=True)
NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
TEXTS = ["blue tea", "green tea", "a blue piano is blue", "who has the cat?", "on 3 June", ""]
changes = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "c"]), st.sampled_from("xyz"), st.sampled_from([*TEXTS, None])
    ),
    min_size=1,
    max_size=4,
)


def change(path, key, text, stay=None):
    message = None if text is None else Message("user", text, key, metadata={"text": text})
    return ItemChange(path, key, message, stay)


def found(memory, query="blue tea", under=""):
    shelf = Shelf(memory, SCOPE)
    hits = memory.portal.call(shelf.asearch(query, under, None, 20, 0))
    return [(item.path, item.message.id, item.message.content, score) for item, score in hits]


def scores(hits):
    return {(path, key): score for path, key, _, score in hits}


def near(expected):
    # BLAS rounds a product by where its row stands: by 1e-8.
    return pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(
    max_examples=150 if os.environ.get("RAG_MEMORY_LONG") == "1" else 12,
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(changes, min_size=2, max_size=7), most=st.sampled_from([2, 2_000]))
def test_columns_that_left_items_out_score_as_columns_read_anew(tmp_path_factory, steps, most):
    folder = tmp_path_factory.mktemp("items")
    options = {"embedder": WordEmbedder(), "background": False, "drain_seconds": 0}
    with pytest.MonkeyPatch.context() as patch, open_memory(folder / "a.db", **options) as memory:
        patch.setattr(erasing, "MOST_REMOVED", most)
        shelf, model = Shelf(memory, SCOPE), {}
        for step in steps:
            memory.portal.call(shelf.achange([change(*one) for one in step]))
            model.update({(path, key): text for path, key, text in step})
            grown = found(memory)
        held = {place: text for place, text in model.items() if text}
        assert {(path, key): text for path, key, text, _ in grown} == held
        memory.portal.call(memory.index.database.acheckpoint())
        shutil.copy(folder / "a.db", folder / "b.db")
        with open_memory(folder / "b.db", **options) as fresh:
            assert scores(found(fresh)) == near(scores(grown))
            assert scores(found(fresh, under="a")) == near(scores(found(memory, under="a")))


def test_a_search_of_an_older_state_still_finds_what_was_replaced_since(tmp_path):
    with open_memory(tmp_path / "a.db", embedder=WordEmbedder(), background=False) as memory:
        shelf = Shelf(memory, SCOPE)
        call = memory.portal.call
        call(shelf.achange([change("a", "x", "blue tea"), change("a", "y", "a cat")]))
        before = found(memory)
        index = memory.index
        query = index.database.aread

        async def between(unit, whose):
            """The search's snapshot is taken; then another replaces the item, and searches."""

            def first(connection):
                connection.exec_driver_sql("SELECT count(*) FROM scopes").scalar()
                memory.portal.loop.call_soon_threadsafe(started.set)
                assert done.wait(10)
                return unit(connection)

            return await query(first, whose)

        import asyncio
        import threading

        done = threading.Event()
        started = call(_event())

        async def both():
            index.database.aread = between
            late = asyncio.ensure_future(index.asearch(place, asked))
            await started.wait()
            index.database.aread = query
            await shelf.achange([change("a", "x", "green")])
            await memory.asettle()
            newer = await index.asearch(place, asked)
            done.set()
            return await late, newer

        from rag_memory_plugins.ports import Query

        place = Namespace("acme", SHARED, "/", items=True)
        asked = Query("blue tea", None, 5, "user", NOW, 0, recall=shelf.recall)
        late, newer = call(both())
    assert [hit.message.content for hit in late.hits] == ["blue tea"]
    assert newer.hits == ()
    assert len(before) == 2


async def _event():
    import asyncio

    return asyncio.Event()


def test_items_are_never_summarised_nor_counted_as_said(opened):
    memory = opened(embedder=None)
    shelf = Shelf(memory, SCOPE)
    for text in ("long " * 20_000, "other " * 20_000):
        memory.portal.call(shelf.achange([change("a", "x", text)]))
    memory.settle()
    place = Namespace("acme", SHARED, "a", items=True)
    assert memory.portal.call(memory.log.asummary(place)) is None
    assert memory.portal.call(memory.log.aview(place, 100, 1)).tokens == 0


def test_what_has_expired_is_erased_in_the_background_for_every_tenant(opened):
    memory = opened(embedder=None)
    for tenant in ("acme", "evil"):
        scope = Scope(tenant, SHARED, items=True)
        stay = timedelta(minutes=5)
        made = memory.items.achange(scope, [change("a", "x", "tea", stay)], NOW)
        memory.portal.call(made)
    gone = memory.portal.call(memory._lifetime.outbox._chore())
    assert gone
    assert memory.portal.call(memory.items.aexpire(NOW + timedelta(days=1))) == 0
    assert memory.health()["rows"]["messages"] == 0


def test_a_path_that_is_too_long_changes_nothing(opened):
    memory = opened(embedder=None)
    batch = [change("a", "x", "tea"), change("b" * 257, "x", "tea")]
    with pytest.raises(InvalidNamespace, match="256"):
        memory.portal.call(memory.items.achange(SCOPE, batch, NOW))
    assert memory.portal.call(memory.items.apaths(SCOPE)) == []
