"""`TenantVectorStore`: one tenant's view of any LangChain vector store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidNamespace,
    StoreError,
    UnknownArgument,
)
from rag_memory_plugins.langchain import TenantVectorStore
from tests.langchain.listening import Heard
from tests.langchain.stores import Chroma, NoLookUps, Plain, WithoutIds, in_memory

VECTOR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
SEARCHES: dict[str, Callable[..., Any]] = {
    "similarity_search": lambda store, **given: store.similarity_search("Oslo", k=9, **given),
    "with_score": lambda store, **given: [
        document for document, _ in store.similarity_search_with_score("Oslo", k=9, **given)
    ],
    "by_vector": lambda store, **given: store.similarity_search_by_vector(VECTOR, k=9, **given),
    "mmr": lambda store, **given: store.max_marginal_relevance_search("Oslo", k=9, **given),
    "mmr_by_vector": lambda store, **given: store.max_marginal_relevance_search_by_vector(
        VECTOR, k=9, **given
    ),
    "search": lambda store, **given: store.search("Oslo", "similarity", k=9, **given),
}


async def _with_score(store: VectorStore, **given: Any) -> list[Document]:
    found = await store.asimilarity_search_with_score("Oslo", k=9, **given)
    return [document for document, _ in found]


ASYNC_SEARCHES: dict[str, Callable[..., Any]] = {
    "similarity_search": lambda store, **given: store.asimilarity_search("Oslo", k=9, **given),
    "with_score": _with_score,
    "by_vector": lambda store, **given: store.asimilarity_search_by_vector(VECTOR, k=9, **given),
    "mmr": lambda store, **given: store.amax_marginal_relevance_search("Oslo", k=9, **given),
    "mmr_by_vector": lambda store, **given: store.amax_marginal_relevance_search_by_vector(
        VECTOR, k=9, **given
    ),
    "search": lambda store, **given: store.asearch("Oslo", "mmr", k=9, **given),
}
STORES = {
    "in-memory": in_memory,
    "operators": Chroma,
    "plain": Plain,
    "without ids": WithoutIds,
}


def texts(found: list[Document]) -> list[str]:
    return sorted(document.page_content for document in found)


@pytest.fixture(params=STORES.values(), ids=STORES)
def shared(request: pytest.FixtureRequest) -> Any:
    store = request.param()
    TenantVectorStore(store, "globex").add_texts(["Oslo", "Bergen"], ids=["o", "b"])
    store.add_documents([Document("nobody's", id="n")])
    return store


@pytest.fixture
def acme(shared: Any) -> TenantVectorStore:
    store = TenantVectorStore(shared, "acme")
    store.add_texts(["Lisbon", "Porto"], [{"size": 1}, {"size": 2}], ids=["l", "p"])
    return store


@pytest.mark.parametrize("name", SEARCHES)
async def test_every_search_finds_the_tenants_documents_alone(
    acme: TenantVectorStore, name: str
) -> None:
    assert texts(SEARCHES[name](acme)) == ["Lisbon", "Porto"]
    assert texts(await ASYNC_SEARCHES[name](acme)) == ["Lisbon", "Porto"]


def function(document: Document) -> bool:
    return bool(document.metadata["size"] == 2)


@pytest.mark.parametrize(
    ("make", "stated"),
    [(in_memory, function), (Chroma, {"size": 2}), (Chroma, {"size": 2, "kind": {"$eq": "city"}})],
    ids=["function", "operators", "two fields"],
)
@pytest.mark.parametrize("name", SEARCHES)
async def test_a_filter_narrows_every_search(make: Any, stated: Any, name: str) -> None:
    store = TenantVectorStore(make(), "acme")
    store.add_texts(["Lisbon", "Porto"], [{"size": 1, "kind": "city"}, {"size": 2, "kind": "city"}])
    assert texts(SEARCHES[name](store, filter=stated)) == ["Porto"]
    assert texts(await ASYNC_SEARCHES[name](store, filter=stated)) == ["Porto"]


def test_a_function_is_never_shown_another_tenants_document() -> None:
    store = in_memory()
    TenantVectorStore(store, "globex").add_texts(["Oslo"])
    seen: list[str] = []
    acme = TenantVectorStore(store, "acme")
    acme.add_texts(["Lisbon"])
    acme.similarity_search("?", filter=lambda document: bool(seen.append(document.page_content)))
    assert seen == ["Lisbon"]


def test_an_or_does_not_widen() -> None:
    store = Chroma()
    TenantVectorStore(store, "globex").add_texts(["Oslo"], [{"size": 2}])
    acme = TenantVectorStore(store, "acme")
    acme.add_texts(["Lisbon"], [{"size": 1}])
    stated = {"$or": [{"size": 1}, {"size": 2}]}
    assert texts(acme.similarity_search("?", filter=stated)) == ["Lisbon"]
    assert store.asked[-1] == {"$and": [{"tenant": {"$eq": "acme"}}, stated]}


@pytest.mark.parametrize(
    "stated",
    [{"tenant": "globex"}, {"$or": [{"size": 1}, {"$and": [{"tenant": {"$eq": "acme"}}]}]}],
    ids=repr,
)
def test_a_filter_that_names_the_tenant_is_refused(stated: Any) -> None:
    with pytest.raises(InvalidFilter, match="tenant"):
        TenantVectorStore(Chroma(), "acme").similarity_search("?", filter=stated)


@pytest.mark.parametrize(("make", "stated"), [(in_memory, {"size": 2}), (Chroma, function)])
def test_a_filter_of_another_form_is_refused(make: Any, stated: Any) -> None:
    with pytest.raises(InvalidFilter, match="filter"):
        TenantVectorStore(make(), "acme").similarity_search("?", filter=stated)


@pytest.mark.parametrize("name", ["where", "namespace", "pre_filter", "expr", "collection_name"])
async def test_an_argument_that_could_replace_the_filter_is_refused(
    acme: TenantVectorStore, name: str
) -> None:
    with pytest.raises(InvalidFilter, match=name):
        acme.similarity_search("?", **{name: None})
    with pytest.raises(InvalidFilter, match=name):
        await acme.asimilarity_search("?", **{name: None})


@pytest.mark.parametrize("kind", ["similarity", "mmr"])
async def test_invoke_cannot_drop_the_tenant_as_it_drops_a_filter_in_search_kwargs(
    acme: TenantVectorStore, kind: str
) -> None:
    retriever = acme.as_retriever(search_type=kind, search_kwargs={"k": 9})
    assert texts(retriever.invoke("Oslo", filter=None)) == ["Lisbon", "Porto"]
    assert texts(await retriever.ainvoke("Oslo", filter=None)) == ["Lisbon", "Porto"]


def test_invoke_drops_a_filter_in_search_kwargs_of_the_store_itself() -> None:
    """What the wall is for: `invoke(filter=None)` undoes the retriever's own filter."""
    store = in_memory()
    store.add_documents([Document("Oslo", metadata={"tenant": "globex"})])
    mine = store.as_retriever(
        search_kwargs={"filter": lambda document: document.metadata["tenant"] == "acme"}
    )
    assert mine.invoke("?") == []
    assert texts(mine.invoke("?", filter=None)) == ["Oslo"]


def test_a_score_threshold_keeps_the_wall() -> None:
    inner = type("Scoring", (InMemoryVectorStore,), {})(DeterministicFakeEmbedding(size=6))
    inner._select_relevance_score_fn = lambda: abs
    TenantVectorStore(inner, "globex").add_texts(["Oslo"])
    mine = TenantVectorStore(inner, "acme")
    mine.add_texts(["Lisbon"])
    retriever = mine.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.0}
    )
    assert texts(retriever.invoke("Oslo")) == ["Lisbon"]
    assert mine.similarity_search_with_relevance_scores("Lisbon", score_threshold=0.99)[0][
        1
    ] == pytest.approx(1.0)


async def test_another_tenants_id_is_not_found_and_not_deleted(
    acme: TenantVectorStore, shared: Any
) -> None:
    assert acme.get_by_ids(["o", "n", "l", "missing"]) == [
        Document("Lisbon", id="l", metadata={"size": 1})
    ]
    assert texts(await acme.aget_by_ids(["b", "p"])) == ["Porto"]
    acme.delete(["o", "n", "missing"])
    await acme.adelete(["b", "l"])
    assert texts(TenantVectorStore(shared, "globex").get_by_ids(["o", "b"])) == ["Bergen", "Oslo"]
    assert texts(acme.get_by_ids(["l", "p"])) == ["Porto"]


async def test_an_id_that_another_tenant_has_is_refused_and_nothing_is_stored(
    acme: TenantVectorStore, shared: Any
) -> None:
    for ids in (["new", "o"], ["new", "n"]):
        with pytest.raises(InvalidInput, match="not the tenant's"):
            acme.add_texts(["a", "b"], ids=ids)
        with pytest.raises(InvalidInput, match="not the tenant's"):
            await acme.aadd_documents([Document("a", id=ids[0]), Document("b", id=ids[1])])
    assert acme.get_by_ids(["new"]) == []
    assert texts(TenantVectorStore(shared, "globex").get_by_ids(["o"])) == ["Oslo"]


def test_a_document_that_names_another_tenant_is_refused(acme: TenantVectorStore) -> None:
    with pytest.raises(InvalidNamespace, match="globex"):
        acme.add_documents([Document("x"), Document("y", metadata={"tenant": "globex"})])
    assert texts(acme.similarity_search("x", k=9)) == ["Lisbon", "Porto"]


def test_what_is_given_is_not_changed(acme: TenantVectorStore) -> None:
    given = Document("Faro", metadata={"size": 3})
    acme.add_documents([given])
    assert given == Document("Faro", metadata={"size": 3})


def test_documents_come_back_without_the_stamp_unless_it_is_to_be_seen(shared: Any) -> None:
    hidden = TenantVectorStore(shared, "acme")
    hidden.add_texts(["Lisbon"], ids=["l"])
    shown = TenantVectorStore(shared, "acme", show_tenant=True)
    assert hidden.get_by_ids(["l"])[0].metadata == {}
    assert shown.get_by_ids(["l"])[0].metadata == {"tenant": "acme"}
    assert shown.similarity_search("Lisbon")[0].metadata == {"tenant": "acme"}


def test_changing_what_was_found_moves_no_document_to_another_tenant(
    acme: TenantVectorStore, shared: Any
) -> None:
    for found in (*acme.similarity_search("?", k=9), *acme.get_by_ids(["l", "p"])):
        found.metadata["tenant"] = "globex"
    globex = TenantVectorStore(shared, "globex")
    assert texts(globex.similarity_search("?", k=9)) == ["Bergen", "Oslo"]


@pytest.mark.parametrize(
    "tenant", [None, "", 7, lambda: None, lambda: {}["tenant"]], ids=list("abcde")
)
async def test_without_a_tenant_nothing_is_done(tenant: Any) -> None:
    def made() -> TenantVectorStore:
        return TenantVectorStore(in_memory(), tenant)

    for call in (
        lambda: made().add_texts(["x"]),
        lambda: made().similarity_search("x"),
        lambda: made().get_by_ids(["x"]),
        lambda: made().delete(["x"]),
        lambda: made().tenant,
    ):
        with pytest.raises(InvalidNamespace, match="tenant"):
            call()
    with pytest.raises(InvalidNamespace, match="tenant"):
        await made().asimilarity_search("x")


async def test_a_function_is_asked_for_the_tenant_of_every_call() -> None:
    whose: ContextVar[str] = ContextVar("whose")
    store = TenantVectorStore(in_memory(), whose.get)

    async def turn(tenant: str) -> list[str]:
        whose.set(tenant)
        await store.aadd_texts([f"{tenant}'s"])
        return texts(await store.asimilarity_search("?", k=9))

    assert await asyncio.gather(turn("acme"), turn("globex")) == [["acme's"], ["globex's"]]


def test_a_store_that_returns_others_documents_is_looked_at_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Leaking(Chroma):
        def _similarity_search_with_score_by_vector(
            self,
            embedding: list[float],
            k: int = 4,
            filter: Any = None,  # noqa: A002  # it forgets it
        ) -> Any:
            return super()._similarity_search_with_score_by_vector(embedding, k)

    store = Leaking()
    TenantVectorStore(store, "globex").add_texts(["Oslo"])
    acme = TenantVectorStore(store, "acme")
    acme.add_texts(["Lisbon"])
    heard = Heard()
    search = RunnableLambda(acme.similarity_search_with_score)
    with caplog.at_level(logging.WARNING):
        found = search.invoke("Oslo", {"callbacks": [heard]})
    assert texts([document for document, _ in found]) == ["Lisbon"]
    assert heard.reasons() == [
        "1 of 2 documents that Leaking found were not the tenant's and were left out"
    ]
    assert "Oslo" not in caplog.text


def test_a_store_that_cannot_be_asked_is_asked_for_more_until_enough_are_the_tenants() -> None:
    store = Plain()
    TenantVectorStore(store, "globex").add_texts([f"Oslo {at}" for at in range(100)])
    acme = TenantVectorStore(store, "acme")
    acme.add_texts(["Lisbon", "Porto"])
    assert texts(acme.similarity_search("Oslo", k=2)) == ["Lisbon", "Porto"]
    assert store.counts == sorted(store.counts)
    assert max(store.counts) <= 4 * 102


def test_a_store_that_cannot_be_asked_says_where_it_stopped_looking(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rag_memory_plugins.langchain.walled._MOST", 50)
    store = Plain()
    TenantVectorStore(store, "globex").add_texts([f"Oslo {at}" for at in range(100)])
    with caplog.at_level(logging.WARNING):
        assert TenantVectorStore(store, "acme").similarity_search("Oslo") == []
    assert "among the first 50" in caplog.text
    assert max(store.counts) == 50


def test_a_function_of_ones_own_makes_the_filter() -> None:
    class Other(Plain):
        def similarity_search(self, query: str, k: int = 4, *, only: Any = None) -> list[Document]:
            self.counts.append(k)
            return self.inner.similarity_search(
                query, k, filter=lambda document: holds_all(only, document.metadata)
            )

    def holds_all(pairs: list[tuple[str, Any]], metadata: dict[str, Any]) -> bool:
        return all(metadata.get(key) == value for key, value in pairs)

    store = Other()
    TenantVectorStore(store, "globex").add_texts([f"Oslo {at}" for at in range(9)])
    acme = TenantVectorStore(
        store,
        "acme",
        filter=lambda tenant, stated: [("tenant", tenant), *(stated or [])],
        filter_argument="only",
    )
    acme.add_texts(["Lisbon", "Porto"], [{"size": 1}, {"size": 2}])
    assert texts(acme.similarity_search("?", k=4)) == ["Lisbon", "Porto"]
    assert texts(acme.similarity_search("?", k=4, filter=[("size", 2)])) == ["Porto"]
    assert store.counts == [4, 4]


@pytest.mark.parametrize("made", [lambda _, __: None, lambda one: one], ids=["none", "fails"])
def test_a_function_that_makes_no_filter_fails_closed(made: Any) -> None:
    store = TenantVectorStore(in_memory(), "acme", filter=made)
    with pytest.raises(InvalidFilter, match="filter= of the store"):
        store.similarity_search("?")


async def test_a_store_without_look_ups_needs_unique_ids() -> None:
    store = NoLookUps()
    acme = TenantVectorStore(store, "acme")
    assert len(acme.add_texts(["Lisbon"])) == 1
    for call in (
        lambda: acme.add_texts(["Porto"], ids=["p"]),
        lambda: acme.get_by_ids(["p"]),
        lambda: acme.delete(["p"]),
    ):
        with pytest.raises(StoreError, match="NoLookUps cannot look documents up"):
            call()
    assert TenantVectorStore(store, "acme", unique_ids=True).add_texts(["Faro"], ids=["f"]) == ["f"]


@pytest.mark.parametrize("given", [{"delete_all": True}, {"filter": {}}, {"where": {}}], ids=repr)
def test_a_delete_that_cannot_be_checked_is_refused(
    acme: TenantVectorStore, given: dict[str, Any]
) -> None:
    with pytest.raises(UnknownArgument, match="delete"):
        acme.delete(["l"], **given)
    with pytest.raises(InvalidInput, match="ids"):
        acme.delete()
    assert texts(acme.similarity_search("?", k=9)) == ["Lisbon", "Porto"]


def test_ids_that_are_missing_are_made() -> None:
    store = TenantVectorStore(in_memory(), "acme")
    first, second = store.add_documents([Document("a", id="a"), Document("b")])
    assert first == "a"
    assert texts(store.get_by_ids([first, second])) == ["a", "b"]


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("k", lambda store: store.similarity_search("?", k=0)),
        ("ids", lambda store: store.add_texts(["a"], ids=["1", "2"])),
        ("ids", lambda store: store.get_by_ids("abc")),
        ("ids", lambda store: store.delete([7])),
        ("texts", lambda store: store.add_texts("abc")),
        ("metadatas", lambda store: store.add_texts(["a"], [{}, {}])),
        ("documents", lambda store: store.add_documents(["a"])),
        ("store", lambda _: TenantVectorStore(None, "acme")),
        ("filter", lambda _: TenantVectorStore(in_memory(), "acme", filter="dicts")),
        ("filter_argument", lambda store: TenantVectorStore(store, "a", filter_argument="")),
        ("unique", lambda _: TenantVectorStore(in_memory(), "acme", unique=True)),
    ],
    ids=list("abcdefghijk"),
)
def test_what_cannot_be_used_is_refused_by_name(field: str, call: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match=field):
        call(TenantVectorStore(in_memory(), "acme"))


async def test_it_is_made_of_texts_and_of_documents() -> None:
    model = DeterministicFakeEmbedding(size=6)
    shared = InMemoryVectorStore(model)
    acme = TenantVectorStore.from_texts(["Lisbon"], model, tenant="acme", store=shared)
    globex = await TenantVectorStore.afrom_documents(
        [Document("Oslo", id="o")], model, tenant="globex", store=shared
    )
    assert texts(acme.similarity_search("?")) == ["Lisbon"]
    assert await globex.asimilarity_search("?") == [Document("Oslo", id="o")]
    assert texts(TenantVectorStore.from_texts(["x"], model, tenant="t").similarity_search("?")) == [
        "x"
    ]
    with pytest.raises(InvalidNamespace, match="tenant"):
        TenantVectorStore.from_texts(["x"], model, store=shared)
    with pytest.raises(InvalidInput, match="embedding"):
        TenantVectorStore.from_texts(
            ["x"], DeterministicFakeEmbedding(size=7), tenant="acme", store=shared
        )


def test_index_adds_updates_and_cleans_up_within_the_wall() -> None:
    shared = in_memory()
    stores = {tenant: TenantVectorStore(shared, tenant) for tenant in ("acme", "globex")}
    for tenant, store in stores.items():
        records = InMemoryRecordManager(namespace=tenant)
        records.create_schema()

        def key(document: Document, tenant: str = tenant) -> str:
            return f"{tenant}:{document.page_content}"

        for given in (["Lisbon", "Porto"], ["Lisbon"]):
            documents = [Document(text, metadata={"source": "cities"}) for text in given]
            index(
                documents,
                records,
                store,
                cleanup="full",
                source_id_key="source",
                key_encoder=key,
            )
        assert texts(store.similarity_search("?", k=9)) == ["Lisbon"]
    assert texts(stores["acme"].similarity_search("?", k=9)) == ["Lisbon"]


async def test_a_store_with_only_sync_methods_does_not_block_the_loop() -> None:
    store, entered, release = Plain(), threading.Event(), threading.Event()

    def waits(query: str, k: int = 4) -> list[Document]:
        entered.set()
        assert release.wait(10)
        return []

    store.similarity_search = waits  # type: ignore[method-assign]
    search = asyncio.ensure_future(TenantVectorStore(store, "acme").asimilarity_search("?"))
    assert await asyncio.to_thread(entered.wait, 10)
    release.set()
    assert await search == []
