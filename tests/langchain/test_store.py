"""`TenantStore` through LangGraph's own doors: what a store promises, and that it keeps it."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from rag_memory_plugins import Memory, open_memory
from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidNamespace
from rag_memory_plugins.langchain import TenantStore
from rag_memory_plugins.testing.fakes import WordEmbedder

ANN = ("users", "ann@acme.com")
START = datetime(2026, 5, 1, tzinfo=timezone.utc)


class Clock:
    """Says what time it is, and goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def on(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def shared() -> Iterator[Memory]:
    """One memory for all that needs no file of its own: each test has a tenant of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_memory(
            Path(folder) / "memory.db",
            embedder=WordEmbedder(),
            background=False,
            drain_seconds=0.0,
        ) as memory,
    ):
        yield memory


@pytest.fixture
def make(shared: Memory, request: pytest.FixtureRequest) -> Callable[..., TenantStore]:
    def made(**options: object) -> TenantStore:
        return TenantStore(shared, request.node.name, **options)

    return made


@pytest.fixture
def store(make: Callable[..., TenantStore]) -> TenantStore:
    return make()


def keys(found) -> list[str]:
    return [item.key for item in found]


def test_an_item_comes_back_with_its_value_place_and_times(make):
    store = make(clock=Clock())
    value = {"b": [1, {"c": None}], "a": "tea", "n": 1.5, "on": True}
    store.put(ANN, "k.1", value)
    item = store.get(ANN, "k.1")
    assert (item.value, item.namespace, item.key) == (value, ANN, "k.1")
    assert (item.created_at, item.updated_at) == (START, START)
    assert store.get(ANN, "k.2") is None


def test_8340_an_overwrite_keeps_created_at_and_moves_updated_at(make):
    clock = Clock()
    store = make(clock=clock)
    store.put(ANN, "k", {"v": 1})
    clock.on(5)
    store.put(ANN, "k", {"v": 2})
    item = store.get(ANN, "k")
    assert (item.value, item.created_at) == ({"v": 2}, START)
    assert item.updated_at == START + timedelta(minutes=5)


def test_the_same_value_again_is_a_touch_that_embeds_nothing(make, shared):
    clock = Clock()
    store = make(clock=clock)
    store.put(ANN, "k", {"v": 1})
    shared.settle()
    clock.on(5)
    store.put(ANN, "k", {"v": 1})
    assert shared.backlog() == 0
    assert store.get(ANN, "k").updated_at == START + timedelta(minutes=5)


def test_8734_reading_deleting_and_searching_make_no_namespace(store):
    store.get(("ghost",), "k")
    store.delete(("ghost",), "k")
    store.search(("ghost",), query="anything")
    assert store.list_namespaces() == []


def test_a_namespace_goes_with_its_last_item(store):
    store.put(ANN, "k", {"v": 1})
    store.put(("users",), "k", {"v": 1})
    store.delete(ANN, "k")
    assert store.list_namespaces() == [("users",)]


@pytest.mark.parametrize("index", [None, False])
def test_8214_what_was_overwritten_is_found_no_more(store, index):
    store.put(ANN, "k", {"text": "the piano is blue"})
    store.put(ANN, "other", {"text": "a cat sleeps"})
    before = {item.key: item.score for item in store.search(ANN, query="the piano is blue")}
    store.put(ANN, "k", {"text": "the train leaves"}, index=index)
    after = {item.key: item.score for item in store.search(ANN, query="the piano is blue")}
    assert before["k"] > 1.0
    assert after.get("k", 0.0) < 0.6


def test_8822_equal_texts_in_one_batch_and_in_two_fields_are_all_stored(make):
    store = make(fields=["a", "b"])
    store.batch([PutOp(ANN, f"k{at}", {"a": "blue tea", "b": "blue tea"}) for at in range(3)])
    assert sorted(keys(store.search(ANN, query="blue tea"))) == ["k0", "k1", "k2"]


def test_7880_and_8365_values_that_cannot_be_compared_skip_their_item_alone(store):
    for key, value in {"a": 5, "b": "tall", "c": None, "d": [1], "e": {"x": 1}, "g": True}.items():
        store.put(ANN, key, {"n": value})
    store.put(ANN, "f", {"other": 1})
    assert keys(store.search(ANN, filter={"n": {"$gt": 3}})) == ["a"]
    assert keys(store.search(ANN, filter={"n": {"$lte": "z"}})) == ["b"]


def test_7684_numbers_compare_as_numbers_and_iso_dates_as_texts(store):
    store.put(ANN, "nine", {"n": 9, "at": "2026-01-09"})
    store.put(ANN, "ten", {"n": 10, "at": "2026-01-10"})
    assert keys(store.search(ANN, filter={"n": {"$gte": 10}})) == ["ten"]
    assert keys(store.search(ANN, filter={"n": {"$lt": 9.5}})) == ["nine"]
    assert keys(store.search(ANN, filter={"at": {"$gt": "2026-01-09"}})) == ["ten"]


FILTERED = {
    "a": {"kind": "fact", "n": 1, "tags": ["x", "y"], "owner": {"name": "Ann", "age": 30}},
    "b": {"kind": "goal", "n": 2, "tags": ["x"], "owner": {"name": "Bob", "age": 17}},
    "c": {"kind": None, "n": 3},
    "d": {"n": 4},
}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"kind": "fact"}, "a"),
        ({"kind": {"$eq": "goal"}}, "b"),
        ({"kind": {"$ne": "fact"}}, "bcd"),  # as LangGraph's own: what is missing is not "fact"
        ({"kind": None}, "cd"),
        ({"kind": {"$in": ["fact", "goal"]}}, "ab"),
        ({"kind": {"$in": ["fact", None]}}, "acd"),
        ({"kind": {"$nin": ["fact"]}}, "bcd"),
        ({"kind": {"$exists": True}}, "abc"),
        ({"n": {"$gt": 1, "$lte": 3}}, "bc"),
        ({"n": 2.0}, "b"),
        ({"n": True}, ""),
        ({"tags": ["x"]}, "b"),
        ({"tags": {"$in": [["x"], ["x", "y"]]}}, "ab"),
        ({"owner": {"name": "Ann"}}, "a"),
        ({"owner": {"age": {"$gte": 18}}}, "a"),
        ({"owner": {"$eq": {"age": 17, "name": "Bob"}}}, "b"),
        ({"owner": {"name": {"$ne": "Ann"}}}, "b"),
        ({"owner": {}}, "ab"),
        ({"$or": [{"kind": "fact"}, {"n": {"$gte": 4}}]}, "ad"),
        ({"$and": [{"n": {"$gt": 1}}, {"n": {"$lt": 4}}]}, "bc"),
        ({"$not": {"kind": "fact"}}, "bcd"),
        ({"n": {"$not": {"$gt": 1}}}, "a"),
    ],
)
def test_a_filter_finds_what_it_says(shared, given, wanted):
    store = TenantStore(shared, "filters")
    if not store.list_namespaces():
        store.batch([PutOp(ANN, key, value) for key, value in FILTERED.items()])
    assert "".join(sorted(keys(store.search((), filter=given)))) == wanted
    assert "".join(sorted(keys(store.search(ANN, query="fact", filter=given)))) == wanted


@pytest.mark.parametrize(
    "given",
    [{"n": {"$near": 1}}, {"$nor": []}, {"$or": []}, {"n": {"$gt": None}}, {"n": {"$in": 3}}, "n"],
)
def test_a_filter_that_cannot_be_meant_is_refused(store, given):
    with pytest.raises(InvalidFilter):
        store.search(ANN, filter=given)


def test_pages_of_a_listing_neither_repeat_nor_skip(store):
    # Of one batch: all were written at the same time.
    store.batch([PutOp(ANN, f"k{at:02}", {"v": at}, False) for at in range(25)])
    pages = [keys(store.search(ANN, limit=10, offset=at)) for at in (0, 10, 20)]
    assert list(chain(*pages)) == [f"k{at:02}" for at in reversed(range(25))]


def test_pages_of_a_search_neither_repeat_nor_skip(store):
    store.batch([PutOp(ANN, f"k{at}", {"text": f"tea number {at}"}) for at in range(70)])
    store.put(ANN, "hidden", {"text": "tea"}, index=False)
    pages = [keys(store.search(ANN, query="tea", limit=20, offset=at)) for at in range(0, 80, 20)]
    assert [len(page) for page in pages] == [20, 20, 20, 10]
    assert len(set(chain(*pages))) == 70


def test_a_listing_begins_with_what_was_written_last(make):
    clock = Clock()
    store = make(clock=clock)
    for key in ("a", "b", "c"):
        store.put(ANN, key, {"v": key})
        clock.on(1)
    store.put(ANN, "a", {"v": "again"})
    assert keys(store.search(())) == ["a", "c", "b"]


def test_what_is_returned_is_a_copy(store):
    store.put(ANN, "k", {"list": [1]})
    for item in (store.get(ANN, "k"), store.search(ANN)[0], store.search(ANN, query="list")[0]):
        item.value["list"].append(2)
        item.value["new"] = 1
    assert store.get(ANN, "k").value == {"list": [1]}


def test_a_value_changed_after_it_was_put_is_not_changed_in_the_store(store):
    value = {"list": [1]}
    store.put(ANN, "k", value)
    value["list"].append(2)
    assert store.get(ANN, "k").value == {"list": [1]}


def test_a_prefix_is_of_whole_labels_and_knows_no_wildcard(store):
    for place in (("a",), ("a", "b"), ("ab",), ("a%",), ("a_",), ("_",), ("%",), ("*",), ("a/b",)):
        store.put(place, "k", {"place": list(place)}, index=False)
    assert {item.namespace for item in store.search(("a",))} == {("a",), ("a", "b")}
    for label in ("%", "_", "*", "a%", "a_", "a/b"):
        assert [item.namespace for item in store.search((label,))] == [(label,)]


def test_8300_a_search_by_query_stays_under_its_prefix(store):
    for place in (
        ("docs", "v1"),
        ("docs", "v10"),
        ("docs", "v_"),
        ("docs.v1",),
        ("docs", "v1", "x"),
    ):
        store.put(place, "k", {"text": "blue tea"})
    found = store.search(("docs", "v1"), query="blue tea")
    assert {item.namespace for item in found} == {("docs", "v1"), ("docs", "v1", "x")}
    assert store.search(("docs", "v%"), query="blue tea") == []


def test_the_empty_prefix_is_one_tenants_and_one_users(shared):
    acme, evil = TenantStore(shared, "wall"), TenantStore(shared, "wall2")
    ann = TenantStore(shared, "wall", "ann")
    for at, store in enumerate((acme, evil, ann)):
        store.put(("wall",), "k", {"text": f"blue tea {at}"})
    for at, store in enumerate((acme, evil, ann)):
        assert [item.value["text"] for item in store.search(())] == [f"blue tea {at}"]
        assert [item.value["text"] for item in store.search((), query="tea")] == [f"blue tea {at}"]
        assert store.list_namespaces() == [("wall",)]


def test_items_are_no_conversation_and_a_conversation_holds_no_items(shared):
    store = TenantStore(shared, "apart", "ann")
    store.put(("monday",), "m1", {"text": "blue tea"})
    ann = shared.conversation("apart", "ann", "monday")
    ann.add("green tea", id="m1")
    assert [hit.message.content for hit in ann.search("tea")] == ["green tea"]
    assert keys(store.search((), query="tea")) == ["m1"]
    ann.erase(level="user")
    assert store.get(("monday",), "m1").value == {"text": "blue tea"}
    assert [space.items for space in shared.namespaces()] == []
    with pytest.raises(InvalidNamespace, match="no conversation"):
        shared.conversation(type(ann.namespace)("apart", "ann", "monday", items=True))


def test_labels_and_keys_hold_any_character(store):
    labels = ("ann@acme.com", "a.b", "50%/day", "caf\u00e9", "\U0001f600", "\n", "*", "..", "%2F")
    for label in labels:
        store.put(("x", label), label, {"label": label})
    for label in labels:
        assert store.get(("x", label), label).value == {"label": label}
    assert store.list_namespaces(prefix=("x",)) == sorted(("x", label) for label in labels)


@pytest.mark.parametrize(
    "place", [(), ("",), ("a", 1), "users", ("langgraph",), ("x" * 300,), ("\ud800",)]
)
def test_a_namespace_that_cannot_be_is_refused_as_langgraph_refuses(store, place):
    with pytest.raises(InvalidNamespaceError) as caught:
        store.put(place, "k", {"v": 1})
    assert isinstance(caught.value, InvalidInput)
    with pytest.raises(InvalidNamespaceError):  # past the methods that check labels
        store.batch([PutOp(place, "k", {"v": 1})])


@pytest.mark.parametrize(
    ("field", "op"),
    [
        ("value", PutOp(ANN, "bad", {"v": {1: 2}})),
        ("value", PutOp(ANN, "bad", {"v": {1, 2}})),
        ("value", PutOp(ANN, "bad", {"v": float("nan")})),
        ("value", PutOp(ANN, "bad", {"v": "\x00"})),
        ("value", PutOp(ANN, "bad", [1])),
        ("key", PutOp(ANN, "", {"v": 1})),
        ("key", PutOp(ANN, "x" * 300, {"v": 1})),
        ("index", PutOp(ANN, "bad", {"v": 1}, "v")),
        ("ttl", PutOp(ANN, "bad", {"v": 1}, None, -1)),
        ("limit", SearchOp(ANN, limit=-1)),
        ("offset", SearchOp(ANN, offset=-1)),
        ("max_depth", ListNamespacesOp(max_depth=0)),
        ("op", ("users", "k")),
    ],
)
def test_one_bad_operation_changes_nothing_of_its_batch(store, field, op):
    with pytest.raises(InvalidInput) as caught:
        store.batch([PutOp(ANN, "good", {"v": 1}), op])
    assert (caught.value.field, store.search(())) == (field, [])


def test_a_batch_reads_what_was_before_it_and_the_last_write_counts(store):
    store.put(ANN, "k", {"v": "old"})
    results = store.batch(
        [
            PutOp(ANN, "k", {"v": "first"}),
            GetOp(ANN, "k"),
            PutOp(ANN, "k", {"v": "last"}),
            SearchOp(ANN),
            PutOp(ANN, "gone", {"v": 1}),
            PutOp(ANN, "gone", None),
            ListNamespacesOp(),
        ]
    )
    assert [results[at] for at in (0, 2, 4, 5)] == [None] * 4
    assert (results[1].value, keys(results[3]), results[6]) == ({"v": "old"}, ["k"], [ANN])
    assert (store.get(ANN, "k").value, keys(store.search(ANN))) == ({"v": "last"}, ["k"])


def test_what_is_not_indexed_is_listed_and_filtered_but_answers_no_query(store):
    store.put(ANN, "seen", {"text": "blue tea"})
    store.put(ANN, "hidden", {"text": "blue tea"}, index=False)
    store.put(ANN, "in part", {"text": "blue tea", "note": "a train"}, index=["note"])
    assert keys(store.search(ANN)) == ["in part", "hidden", "seen"]
    assert "hidden" not in keys(store.search(ANN, query="blue tea"))
    scores = {item.key: item.score for item in store.search(ANN, query="blue tea")}
    assert scores["seen"] > scores["in part"]


def test_fields_say_what_is_searched(tmp_path):
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        store = TenantStore(memory, "acme", fields=["note", "turns[*].said"])
        store.put(
            ANN, "k", {"note": "piano", "turns": [{"said": "tea"}, {"said": "cat"}], "x": "dog"}
        )
        found = [word for word in ("piano", "tea", "cat", "dog") if store.search((), query=word)]
    assert found == ["piano", "tea", "cat"]


def test_by_keywords_alone_only_what_matches_is_found(tmp_path):
    with open_memory(tmp_path / "memory.db", embedder=None) as memory:
        store = TenantStore(memory, "acme")
        for key in ("tea", "cat", "dog"):
            store.put(ANN, key, {"text": f"a {key}"})
        assert keys(store.search((), query="cat")) == ["cat"]


NAMES = [
    ("a", "b", "c"),
    ("a", "b", "d", "e"),
    ("a", "b", "d", "i"),
    ("a", "b", "f"),
    ("a", "c", "f"),
]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, NAMES),
        ({"prefix": ("a", "b")}, NAMES[:4]),
        ({"prefix": ("a", "b"), "max_depth": 3}, [NAMES[0], ("a", "b", "d"), NAMES[3]]),
        ({"prefix": ("a", "*", "f")}, NAMES[3:]),
        ({"suffix": ("f",)}, NAMES[3:]),
        ({"suffix": ("d", "*")}, NAMES[1:3]),
        ({"prefix": ("a", "b"), "suffix": ("f",)}, NAMES[3:4]),
        ({"limit": 2, "offset": 1}, NAMES[1:3]),
        ({"prefix": ("b",)}, []),
        ({"max_depth": 1}, [("a",)]),
    ],
)
def test_namespaces_are_listed_as_asked(shared, asked, wanted):
    store = TenantStore(shared, "names")
    if not store.list_namespaces():
        store.batch([PutOp(name, "k", {"v": 1}, False) for name in NAMES])
    assert store.list_namespaces(**asked) == wanted


def test_several_conditions_hold_together(store):
    store.batch([PutOp(name, "k", {"v": 1}, False) for name in NAMES])
    conditions = (MatchCondition("prefix", ("a", "*")), MatchCondition("suffix", ("*", "f")))
    assert store.batch([ListNamespacesOp(conditions)]) == [NAMES[3:]]


def test_an_item_expires_unless_it_is_read_or_written(make):
    clock = Clock()
    store = make(clock=clock)
    for key in ("got", "searched", "found", "written", "left", "kept"):
        store.put(ANN, key, {"text": key}, ttl=None if key == "kept" else 10)
    clock.on(6)
    store.get(ANN, "got")
    store.search(ANN, filter={"text": "searched"})
    store.search(ANN, query="found", filter={"text": "found"})
    store.put(ANN, "written", {"text": "written"}, ttl=10)
    store.get(ANN, "left", refresh_ttl=False)
    clock.on(6)
    assert store.get(ANN, "left") is None
    assert sorted(keys(store.search(ANN, query="left", limit=5))) == sorted(
        ["found", "got", "kept", "searched", "written"]
    )
    clock.on(60)
    assert keys(store.search(())) == ["kept"]


def test_a_namespace_of_expired_items_is_not_listed_and_they_are_swept(make):
    clock = Clock()
    store = make(clock=clock, ttl={"default_ttl": 1, "refresh_on_read": False})
    store.put(("a",), "k", {"v": 1})
    store.put(("b",), "k", {"v": 1}, ttl=None)
    clock.on(0.5)
    store.get(("a",), "k")
    clock.on(0.5)
    assert store.list_namespaces() == [("b",)]
    assert (store.sweep_ttl(), keys(store.search(()))) == (0, ["k"])


def test_what_is_put_where_something_expired_is_new(make):
    clock = Clock()
    store = make(clock=clock)
    store.put(ANN, "k", {"v": 1}, ttl=1)
    clock.on(2)
    store.put(ANN, "k", {"v": 1})
    assert store.get(ANN, "k").created_at == clock.now


@pytest.mark.parametrize("ttl", [{"default_ttl": 0}, {"default_tll": 1}, 5])
def test_settings_of_time_that_cannot_be_meant_are_refused(make, ttl):
    with pytest.raises(InvalidInput, match="ttl"):
        make(ttl=ttl)


async def test_the_async_methods_do_the_same(store):
    await store.aput(ANN, "k", {"text": "blue tea"})
    await asyncio.gather(*(store.aput(ANN, f"n{at}", {"text": f"{at}"}) for at in range(5)))
    assert (await store.aget(ANN, "k")).value == {"text": "blue tea"}
    assert keys(await store.asearch((), query="blue tea", limit=1)) == ["k"]
    assert await store.alist_namespaces() == [ANN]
    await store.adelete(ANN, "k")
    assert await store.aget(ANN, "k") is None
    assert (await store.aerase()).messages == 5


def test_items_outlive_the_process(tmp_path):
    for at in range(2):
        with open_memory(tmp_path / "memory.db", embedder=WordEmbedder()) as memory:
            store = TenantStore(memory, "acme")
            if not at:
                store.put(ANN, "k", {"text": "blue tea"})
            assert keys(store.search((), query="tea")) == ["k"]


def test_a_rebuild_changes_no_score(tmp_path):
    with open_memory(tmp_path / "memory.db", embedder=WordEmbedder(), background=False) as memory:
        store = TenantStore(memory, "acme")
        for text in ("blue tea on 3 June", "where is the blue piano?", "green tea"):
            store.put(ANN, text, {"text": text})
        before = [(item.key, item.score) for item in store.search((), query="blue tea")]
        memory.rebuild()
        assert [(item.key, item.score) for item in store.search((), query="blue tea")] == before


def test_what_stands_beside_an_item_has_no_part_in_its_score(tmp_path):
    def score(path, order):
        with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
            store = TenantStore(memory, "acme")
            for text in order:
                store.put(ANN, text, {"text": text})
            return {item.key: item.score for item in store.search((), query="blue tea")}

    texts = ["blue tea", "what is blue?", "a cat", "a dog sleeps"]
    there = score(tmp_path / "a.db", texts)
    back = score(tmp_path / "b.db", texts[::-1])
    assert there == {key: pytest.approx(value) for key, value in back.items()}


@pytest.mark.parametrize("how", ["overwrite", "delete", "erase", "erase prefix", "expire"])
def test_what_is_replaced_or_deleted_is_in_no_file(tmp_path, how):
    path, clock = tmp_path / "memory.db", Clock()
    with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
        store = TenantStore(memory, "acme", clock=clock)
        store.put(ANN, "k", {"text": "xylophone4821"}, ttl=5)
        memory.settle()
        if how == "overwrite":
            store.put(ANN, "k", {"text": "tea"})
        elif how == "delete":
            store.delete(ANN, "k")
        elif how == "expire":
            clock.on(6)
            assert store.sweep_ttl() == 1
        else:
            assert store.erase(() if how == "erase" else ("users",)).complete
            assert b"xylophone4821" not in b"".join(
                file.read_bytes() for file in tmp_path.iterdir()
            )
    assert b"xylophone4821" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_overwrites_cut_the_log_of_writes_once_and_not_each(tmp_path, monkeypatch):
    from rag_memory_plugins.stores.sqlite import SqliteDatabase

    cuts = []
    whole = SqliteDatabase.acheckpoint

    async def counted(self):
        cuts.append(1)
        return await whole(self)

    monkeypatch.setattr(SqliteDatabase, "acheckpoint", counted)
    with open_memory(tmp_path / "memory.db", embedder=None, background=False) as memory:
        store = TenantStore(memory, "acme")
        for at in range(30):
            store.put(ANN, "k", {"v": at})
        assert cuts == []
        assert memory.portal.call(memory.log.atidy())
        assert cuts == [1]


def test_a_write_that_fails_midway_leaves_what_was_there(tmp_path):
    path = tmp_path / "memory.db"
    with open_memory(path, embedder=None, background=False) as memory:
        store = TenantStore(memory, "acme")
        store.put(ANN, "k", {"text": "blue tea"})
        with sqlite3.connect(path) as other:
            other.execute(
                "CREATE TRIGGER stop BEFORE INSERT ON items BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        other.close()
        with pytest.raises(Exception, match="no"):
            store.put(ANN, "k", {"text": "green tea"})
        assert store.get(ANN, "k").value == {"text": "blue tea"}
        assert keys(store.search((), query="blue")) == ["k"]
