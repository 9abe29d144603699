"""`TenantVectorStore`: one tenant's view of any LlamaIndex vector store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    IndexNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryMode

from rag_memory_plugins.errors import (
    InvalidFilter,
    InvalidInput,
    InvalidNamespace,
    StoreError,
    UnknownArgument,
)
from rag_memory_plugins.llama_index import TenantVectorStore
from rag_memory_plugins.llama_index.events import DegradeEvent
from tests.llama_index.doubles import (
    INSTALLED,
    AsyncStore,
    NestingStore,
    async_qdrant,
    id_of,
    needs_qdrant,
    qdrant,
)
from tests.llama_index.listening import listening

EVERYTHING = VectorStoreQuery(query_embedding=[1.0, 0.5], similarity_top_k=100, query_str="?")


STORES: dict[str, Callable[[], BasePydanticVectorStore]] = {
    "simple": SimpleVectorStore,
    "nesting": NestingStore,
    "qdrant": qdrant,
}
ASYNC_STORES: dict[str, Callable[[], BasePydanticVectorStore]] = {
    "simple": SimpleVectorStore,
    "nesting": NestingStore,
    "async": AsyncStore,
    "qdrant": async_qdrant,
}


def named(stores: dict[str, Any]) -> Any:
    """Those that are installed."""
    return [
        pytest.param(make, id=name)
        for name, make in stores.items()
        if INSTALLED or make not in (qdrant, async_qdrant)
    ]


@needs_qdrant
def test_qdrant_is_among_the_stores() -> None:
    assert len(named(STORES)) == len(STORES)


@pytest.fixture(params=named(STORES))
def shared(request: pytest.FixtureRequest) -> BasePydanticVectorStore:
    return request.param()


@pytest.fixture(params=named(ASYNC_STORES))
def ashared(request: pytest.FixtureRequest) -> BasePydanticVectorStore:
    return request.param()


def node(name: str, document: str = "", **metadata: Any) -> TextNode:
    relationships = {}
    if document:
        relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(
        id_=id_of(name),
        text=name,
        metadata=metadata,
        embedding=[1.0, 0.5],
        relationships=relationships,
    )


def equals(key: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, value=value)


def one_of(*filters: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=FilterCondition.OR)


def all_of(*filters: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(filters))


def found(store: BasePydanticVectorStore, filters: MetadataFilters | None = None) -> list[str]:
    """Ids found, sorted."""
    asked = VectorStoreQuery(**{**vars(EVERYTHING), "filters": filters})
    return sorted(store.query(asked).ids or [])


async def afound(store: BasePydanticVectorStore) -> list[str]:
    return sorted((await store.aquery(EVERYTHING)).ids or [])


def ids(*names: str) -> list[str]:
    return sorted(map(id_of, names))


@pytest.fixture
def two(shared: BasePydanticVectorStore) -> tuple[TenantVectorStore, TenantVectorStore]:
    acme, globex = TenantVectorStore(shared, "acme"), TenantVectorStore(shared, "globex")
    acme.add([node("a1", "readme", color="red"), node("a2", color="blue")])
    globex.add([node("g1", "readme", color="red")])
    return acme, globex


def test_a_tenant_finds_its_own_nodes_alone(two: Any) -> None:
    assert [found(store) for store in two] == [ids("a1", "a2"), ids("g1")]


async def test_async_a_tenant_finds_its_own_nodes_alone(ashared: BasePydanticVectorStore) -> None:
    acme, globex = TenantVectorStore(ashared, "acme"), TenantVectorStore(ashared, "globex")
    await acme.async_add([node("a1")])
    await globex.async_add([node("g1")])
    assert [await afound(store) for store in (acme, globex)] == [ids("a1"), ids("g1")]


def test_12046_the_tenant_is_asked_for_though_no_filter_is_given(two: Any) -> None:
    result = two[1].query(VectorStoreQuery(query_embedding=[1.0, 0.5], similarity_top_k=100))
    assert result.ids == ids("g1")


def test_filters_narrow_what_is_the_tenants(two: Any) -> None:
    assert found(two[0], all_of(equals("color", "red"))) == ids("a1")


def test_an_or_filter_of_one_member_is_flat(two: Any) -> None:
    assert found(two[0], one_of(equals("color", "red"))) == ids("a1")


def test_nested_filters_that_all_hold_are_flat(two: Any) -> None:
    nested = all_of(equals("color", "red"), all_of(one_of(equals("doc_id", "readme"))))
    assert found(two[0], nested) == ids("a1")


def test_anything_but_filters_of_llama_index_is_refused(two: Any) -> None:
    with pytest.raises(InvalidFilter, match="MetadataFilters"):
        found(two[0], {"color": "red"})  # type: ignore[arg-type]


def test_filters_that_state_nothing_leave_the_tenants(two: Any) -> None:
    assert found(two[0], one_of()) == found(two[0], all_of(all_of())) == ids("a1", "a2")


def test_a_group_that_states_nothing_beside_others_is_refused(two: Any) -> None:
    with pytest.raises(InvalidFilter, match="states nothing"):
        found(two[0], one_of(equals("color", "red"), all_of()))


@pytest.mark.parametrize("make", named({"nesting": NestingStore, "qdrant": qdrant}))
def test_an_or_filter_does_not_escape(make: Callable[[], BasePydanticVectorStore]) -> None:
    store = make()
    acme, globex = TenantVectorStore(store, "acme"), TenantVectorStore(store, "globex")
    acme.add([node("a1", color="red"), node("a2", color="blue"), node("a3", color="green")])
    globex.add([node("g1", color="red")])
    either = one_of(equals("color", "red"), equals("color", "blue"))
    assert found(acme, either) == ids("a1", "a2")


def test_a_store_that_cannot_nest_raises_instead_of_a_wrong_answer() -> None:
    acme = TenantVectorStore(SimpleVectorStore(), "acme")
    acme.add([node("a1")])
    either = one_of(equals("color", "red"), equals("color", "blue"))
    with pytest.raises(InvalidFilter, match=r"SimpleVectorStore cannot .* \(AND\)"):
        found(acme, either)


@pytest.mark.parametrize("value", ["globex", "acme"])
@pytest.mark.parametrize(
    "wrap",
    [all_of, one_of, lambda part: all_of(one_of(equals("a", 1), part))],
    ids=["and", "or", "deeper"],
)
def test_filters_that_name_the_tenant_are_refused(two: Any, value: str, wrap: Any) -> None:
    with pytest.raises(InvalidFilter, match="its own tenant"):
        found(two[0], wrap(equals("tenant", value)))


@pytest.mark.parametrize(
    "name", ["qdrant_filters", "where", "string_expr", "es_filter", "custom_query", "namespace"]
)
async def test_arguments_that_replace_filters_are_refused(two: Any, name: str) -> None:
    with pytest.raises(InvalidFilter, match=name):
        two[0].query(EVERYTHING, **{name: None})
    with pytest.raises(InvalidFilter, match=name):
        await two[0].aquery(EVERYTHING, **{name: None})


@needs_qdrant
def test_a_retriever_cannot_pass_filters_of_qdrants_own() -> None:
    from qdrant_client.models import Filter

    index = VectorStoreIndex.from_vector_store(
        TenantVectorStore(qdrant(), "acme"), embed_model=MockEmbedding(2)
    )
    retriever = index.as_retriever(vector_store_kwargs={"qdrant_filters": Filter()})
    with pytest.raises(InvalidFilter, match="qdrant_filters"):
        retriever.retrieve("?")


async def test_what_a_store_finds_too_much_is_left_out_and_told_of() -> None:
    store = NestingStore()
    TenantVectorStore(store, "globex").add([node("g1")])
    store.add([node("nobody's")])
    acme = TenantVectorStore(store, "acme")
    acme.add([node("a1")])
    with listening() as events:
        results = [acme.query(EVERYTHING, anywhere=True), await acme.aquery(EVERYTHING, anywhere=1)]
    for result in results:
        assert [item.text for item in result.nodes or ()] == ["a1"]
        assert (result.ids, result.similarities) == (ids("a1"), [1 / 3])
    (event, _) = events.ours
    assert isinstance(event, DegradeEvent)
    assert event.reason.startswith("2 of 3 nodes that NestingStore found were not the tenant's")


async def test_a_store_deaf_to_filters_gives_no_other_tenants_node() -> None:
    store = NestingStore(deaf=True)
    acme, globex = TenantVectorStore(store, "acme"), TenantVectorStore(store, "globex")
    acme.add([node("a1")])
    globex.add([node("g1")])
    assert (found(acme), [item.text for item in acme.get_nodes()]) == (ids("a1"), ["a1"])
    assert [item.text for item in await acme.aget_nodes()] == ["a1"]


def test_23182_nodes_without_similarities_are_kept() -> None:
    acme = TenantVectorStore(NestingStore(silent=True), "acme")
    acme.add([node("a1")])
    result = acme.query(EVERYTHING)
    assert (len(result.nodes or ()), result.similarities) == (1, None)
    index = VectorStoreIndex.from_vector_store(acme, embed_model=MockEmbedding(2))
    assert [(item.text, item.score) for item in index.as_retriever().retrieve("?")] == [
        ("a1", None)
    ]


def test_ids_that_nobody_can_look_up_are_refused() -> None:
    class IdsAlone(NestingStore):
        stores_text: bool = False

        def query(self, query: VectorStoreQuery, **kwargs: Any) -> Any:
            result = super().query(query)
            result.nodes = None
            return result

    store = IdsAlone(blind=True)
    acme = TenantVectorStore(store, "acme", unique_ids=True)
    acme.add([node("a1")])
    with pytest.raises(StoreError, match="use a store that gives nodes"):
        found(acme)
    store.blind = False
    store.deaf = True
    TenantVectorStore(store, "globex").add([node("g1")])
    assert found(acme) == ids("a1")


@pytest.mark.parametrize(
    "tenant",
    [None, "", 7, "a\x00b", lambda: None, lambda: "", lambda: 1 / 0],
    ids=["none", "empty", "number", "nul", "gives none", "gives empty", "fails"],
)
def test_without_a_tenant_nothing_happens(tenant: Any) -> None:
    store = NestingStore()
    if not callable(tenant):
        with pytest.raises(InvalidNamespace, match="tenant"):
            TenantVectorStore(store, tenant)
        return
    nobody = TenantVectorStore(store, tenant)
    for call in (
        lambda: nobody.add([node("a1")]),
        lambda: nobody.query(EVERYTHING),
        nobody.get_nodes,
        lambda: nobody.delete("readme"),
        lambda: nobody.delete_nodes([id_of("a1")]),
        nobody.clear,
    ):
        with pytest.raises(InvalidNamespace, match="tenant"):
            call()
    assert store.asked == []


async def test_13972_requests_side_by_side_each_ask_for_their_own_tenant() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    store = TenantVectorStore(AsyncStore(), tenant.get)

    async def request(name: str) -> list[str]:
        tenant.set(name)
        await store.async_add([node(name)])
        await asyncio.sleep(0)
        return await afound(store)

    names = [f"tenant {number}" for number in range(8)]
    assert await asyncio.gather(*map(request, names)) == [ids(name) for name in names]


def test_a_node_that_names_another_tenant_is_refused_with_its_batch(two: Any) -> None:
    with pytest.raises(InvalidNamespace, match="another tenant's"):
        two[0].add([node("a9"), node("g9", tenant="globex")])
    assert found(two[0]) == ids("a1", "a2")


def test_a_node_that_names_this_tenant_is_taken(two: Any) -> None:
    two[0].add([node("a3", tenant="acme")])
    assert found(two[0]) == ids("a1", "a2", "a3")


async def test_an_id_that_another_tenants_node_has_is_refused(two: Any) -> None:
    with pytest.raises(InvalidInput, match="node_id"):
        two[0].add([node("a9"), node("g1")])
    assert [found(store) for store in two] == [ids("a1", "a2"), ids("g1")]


async def test_async_an_id_that_another_tenants_node_has_is_refused(ashared: Any) -> None:
    acme, globex = TenantVectorStore(ashared, "acme"), TenantVectorStore(ashared, "globex")
    await globex.async_add([node("g1")])
    with pytest.raises(InvalidInput, match="node_id"):
        await acme.async_add([node("g1")])
    assert await afound(globex) == ids("g1")


def test_an_id_of_the_tenants_own_is_written_anew(two: Any) -> None:
    two[0].add([node("a1", color="green")])
    assert found(two[0], all_of(equals("color", "green"))) == ids("a1")


def test_a_store_that_cannot_look_ids_up_says_what_to_do() -> None:
    store = NestingStore(blind=True)
    with pytest.raises(StoreError, match="unique_ids=True"):
        TenantVectorStore(store, "acme").add([node("a1")])
    TenantVectorStore(store, "acme", unique_ids=True).add([node("a1")])
    assert list(store.held) == ids("a1")


@pytest.mark.parametrize("reason", ["timed out", "connection refused"])
def test_ids_that_could_not_be_looked_up_stop_an_add(reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        TenantVectorStore(NestingStore(fails=reason), "acme").add([node("a1")])


def test_no_nodes_are_no_work() -> None:
    store = NestingStore()
    assert TenantVectorStore(store, "acme").add([]) == []
    assert store.asked == []


def test_models_and_embedders_are_not_shown_the_tenant() -> None:
    store = NestingStore()
    TenantVectorStore(store, "acme").add([node("a1", color="red")])
    (held,) = store.held.values()
    assert held.metadata == {"color": "red", "tenant": "acme"}
    assert held.get_content(MetadataMode.LLM) == held.get_content(MetadataMode.EMBED)
    assert "acme" not in held.get_content(MetadataMode.LLM)


def test_the_callers_node_stays_as_it_was_where_the_store_keeps_texts() -> None:
    given = node("a1", color="red")
    TenantVectorStore(NestingStore(), "acme").add([given])
    assert given == node("a1", color="red")


def test_nodes_that_llama_index_keeps_beside_the_store_carry_the_tenant() -> None:
    plain = node("a1", color="red")
    metadata = plain.metadata
    TenantVectorStore(SimpleVectorStore(), "acme").add([plain])
    assert (plain.metadata["tenant"], metadata) == ("acme", {"color": "red"})
    link = IndexNode(text="x", index_id="y", embedding=[1.0, 0.5])
    TenantVectorStore(NestingStore(), "acme").add([link])
    assert link.metadata["tenant"] == "acme"


def test_nodes_whose_add_failed_carry_nothing() -> None:
    given = node("a1")
    store = TenantVectorStore(SimpleVectorStore(), "acme")
    given.embedding = None
    with pytest.raises(ValueError, match="embedding"):
        store.add([given])
    assert given.metadata == {}


def get_all(store: TenantVectorStore) -> list[str]:
    return sorted(item.text for item in store.get_nodes())


@pytest.mark.parametrize("make", named({"nesting": NestingStore, "qdrant": qdrant}))
def test_get_nodes_gives_the_tenants_alone(make: Callable[[], Any]) -> None:
    store = make()
    acme, globex = TenantVectorStore(store, "acme"), TenantVectorStore(store, "globex")
    acme.add([node("a1", color="red"), node("a2")])
    globex.add([node("g1", color="red")])
    assert get_all(acme) == ["a1", "a2"]
    both = [id_of("a1"), id_of("g1")]
    assert [item.text for item in acme.get_nodes(both)] == ["a1"]
    assert [item.text for item in acme.get_nodes(filters=all_of(equals("color", "red")))] == ["a1"]
    assert acme.get_nodes([]) == []


def test_get_nodes_of_a_store_without_it_raises_as_the_store_does() -> None:
    with pytest.raises(NotImplementedError):
        TenantVectorStore(SimpleVectorStore(), "acme").get_nodes()


def test_delete_leaves_another_tenants_document_of_the_same_id(two: Any) -> None:
    two[0].delete("readme")
    assert [found(store) for store in two] == [ids("a2"), ids("g1")]


def test_delete_nodes_by_id_leaves_another_tenants(two: Any) -> None:
    two[0].delete_nodes([id_of("a1"), id_of("g1")])
    assert [found(store) for store in two] == [ids("a2"), ids("g1")]


def test_delete_nodes_by_filter_leaves_another_tenants(two: Any) -> None:
    two[0].delete_nodes(filters=all_of(equals("color", "red")))
    assert [found(store) for store in two] == [ids("a2"), ids("g1")]


def test_delete_nodes_by_id_and_filter_deletes_what_is_both() -> None:
    # Qdrant and the simple store do; a store that looks at ids alone deletes by them.
    acme = TenantVectorStore(SimpleVectorStore(), "acme")
    acme.add([node("a1", color="red"), node("a2", color="blue")])
    acme.delete_nodes([id_of("a1"), id_of("a2")], all_of(equals("color", "red")))
    assert found(acme) == ids("a2")


def test_delete_of_nothing_deletes_nothing(two: Any) -> None:
    two[0].delete_nodes([])
    two[0].delete_nodes([id_of("nobody")])
    two[0].delete("no such document")
    assert [found(store) for store in two] == [ids("a1", "a2"), ids("g1")]


def test_delete_nodes_without_saying_which_is_refused(two: Any) -> None:
    with pytest.raises(InvalidFilter, match=r"clear\(\)"):
        two[0].delete_nodes()
    with pytest.raises(InvalidFilter, match=r"clear\(\)"):
        two[0].delete_nodes(filters=all_of())
    with pytest.raises(InvalidInput, match="ref_doc_id"):
        two[0].delete("")
    with pytest.raises(InvalidInput, match="node_ids"):
        two[0].delete_nodes(id_of("a1"))  # a str is a sequence of ids too


def test_clear_leaves_every_other_tenant(two: Any) -> None:
    two[0].clear()
    assert [found(store) for store in two] == [[], ids("g1")]


@pytest.mark.parametrize("how", ["adelete", "adelete_nodes", "filter", "aclear"])
async def test_async_deletes_leave_another_tenants_nodes(ashared: Any, how: str) -> None:
    acme, globex = TenantVectorStore(ashared, "acme"), TenantVectorStore(ashared, "globex")
    await acme.async_add([node("a1", "readme", color="red")])
    await globex.async_add([node("g1", "readme", color="red")])
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "adelete": lambda: acme.adelete("readme"),
        "adelete_nodes": lambda: acme.adelete_nodes([id_of("a1"), id_of("g1")]),
        "filter": lambda: acme.adelete_nodes(filters=all_of(equals("color", "red"))),
        "aclear": acme.aclear,
    }
    await work[how]()
    assert [await afound(store) for store in (acme, globex)] == [[], ids("g1")]


async def test_arguments_of_deletes_are_refused(two: Any) -> None:
    with pytest.raises(UnknownArgument, match="namespace"):
        two[0].delete("readme", namespace="x")
    with pytest.raises(UnknownArgument, match="namespace"):
        await two[0].adelete("readme", namespace="x")
    with pytest.raises(UnknownArgument, match="delete_all"):
        two[0].delete_nodes([id_of("a1")], delete_all=True)


def test_a_store_that_cannot_delete_by_filter_says_what_to_do() -> None:
    class Undeletable(NestingStore):
        def delete_nodes(self, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError("delete_nodes not implemented")

    acme = TenantVectorStore(Undeletable(), "acme")
    for call in (acme.clear, lambda: acme.delete("readme")):
        with pytest.raises(StoreError, match="a store of its own"):
            call()


def test_deletes_by_id_need_a_store_that_looks_ids_up() -> None:
    store = NestingStore(blind=True)
    acme = TenantVectorStore(store, "acme", unique_ids=True)
    acme.add([node("a1")])
    with pytest.raises(StoreError, match="delete by filters="):
        acme.delete_nodes([id_of("a1")])
    assert list(store.held) == ids("a1")


async def test_a_store_with_sync_methods_alone_works_beside_the_loop() -> None:
    store = NestingStore()
    acme = TenantVectorStore(store, "acme")
    await acme.async_add([node("a1")])
    await acme.aquery(EVERYTHING)
    assert threading.current_thread().name == "MainThread"
    assert [call.partition(" ")[2] for call in store.asked] == ["asyncio"] * 3


async def test_a_store_with_async_methods_of_its_own_is_awaited() -> None:
    store = AsyncStore()
    await TenantVectorStore(store, "acme").aquery(EVERYTHING)
    assert store.asked[0] == "aquery"


def test_it_mirrors_the_store_it_wraps() -> None:
    simple, nesting = SimpleVectorStore(), NestingStore()
    assert TenantVectorStore(simple, "acme").stores_text is False
    wrapped = TenantVectorStore(nesting, "acme")
    assert (wrapped.stores_text, wrapped.is_embedding_query) == (True, True)
    assert (wrapped.client is nesting.client, wrapped.class_name()) == (True, "TenantVectorStore")
    assert wrapped.tenant == "acme"


@pytest.mark.parametrize("store", [None, "qdrant", object()])
def test_anything_but_a_vector_store_is_refused(store: Any) -> None:
    with pytest.raises(InvalidInput, match="store"):
        TenantVectorStore(store, "acme")


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(UnknownArgument, match="tenant"):
        TenantVectorStore(SimpleVectorStore(), tenants="acme")  # type: ignore[call-arg]


def indexed(store: BasePydanticVectorStore, tenant: str, *texts: str) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=TenantVectorStore(store, tenant))
    nodes = [node(text, f"{text}'s document") for text in texts]
    return VectorStoreIndex(nodes, storage_context=context, embed_model=MockEmbedding(2))


def retrieved(index: VectorStoreIndex, **given: Any) -> list[str]:
    return sorted(
        item.text for item in index.as_retriever(similarity_top_k=9, **given).retrieve("?")
    )


def test_indexes_of_two_tenants_share_a_store(shared: BasePydanticVectorStore) -> None:
    acme, globex = indexed(shared, "acme", "a1", "a2"), indexed(shared, "globex", "g1")
    assert (retrieved(acme), retrieved(globex)) == (["a1", "a2"], ["g1"])
    assert retrieved(acme, filters=all_of(equals("doc_id", "a1's document"))) == ["a1"]
    acme.delete_ref_doc("a1's document", delete_from_docstore=True)
    assert (retrieved(acme), retrieved(globex)) == (["a2"], ["g1"])


def test_what_an_index_gives_carries_its_tenant(shared: BasePydanticVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=TenantVectorStore(shared, "acme"))
    link = IndexNode(id_=id_of("link"), text="link", index_id="i")
    for given in (node("a1"), link):
        index = VectorStoreIndex([given], storage_context=context, embed_model=MockEmbedding(2))
        (item,) = index.as_retriever(similarity_top_k=1).retrieve("?")
        assert item.metadata["tenant"] == "acme"


def test_one_index_serves_every_tenant_that_asks(shared: BasePydanticVectorStore) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="acme")
    context = StorageContext.from_defaults(vector_store=TenantVectorStore(shared, tenant.get))
    index = VectorStoreIndex([node("a1")], storage_context=context, embed_model=MockEmbedding(2))
    tenant.set("globex")
    index.insert_nodes([node("g1")])
    assert retrieved(index) == ["g1"]
    with pytest.raises(InvalidInput, match="node_id"):
        index.insert_nodes([node("a1")])
    tenant.set("acme")
    assert retrieved(index) == ["a1"]


async def test_async_retrieval_through_an_index(ashared: BasePydanticVectorStore) -> None:
    indexes = []
    for name in ("acme", "globex"):
        context = StorageContext.from_defaults(vector_store=TenantVectorStore(ashared, name))
        index = VectorStoreIndex([], storage_context=context, embed_model=MockEmbedding(2))
        await index.ainsert_nodes([node(f"{name}'s")])
        indexes.append(index)
    found_texts = [
        [item.text for item in await index.as_retriever().aretrieve("?")] for index in indexes
    ]
    assert found_texts == [["acme's"], ["globex's"]]


def test_a_pipeline_writes_through_it_and_knows_what_it_wrote() -> None:
    from llama_index.core import Document
    from llama_index.core.storage.docstore import SimpleDocumentStore

    store = NestingStore()
    pipeline = IngestionPipeline(
        transformations=[MockEmbedding(2)],
        vector_store=TenantVectorStore(store, "acme"),
        docstore=SimpleDocumentStore(),
    )
    for _ in range(2):
        pipeline.run(documents=[Document(text="a1", id_=id_of("a1"))])
    # The second run finds the document unchanged, because the stamp is on the store's copy.
    assert [call.partition(" ")[0] for call in store.asked].count("add") == 1


def test_max_marginal_relevance_keeps_to_the_tenant() -> None:
    store = SimpleVectorStore()
    TenantVectorStore(store, "globex").add([node("g1")])
    acme = TenantVectorStore(store, "acme")
    acme.add([node("a1")])
    asked = VectorStoreQuery(**{**vars(EVERYTHING), "mode": VectorStoreQueryMode.MMR})
    assert acme.query(asked, mmr_threshold=0.5).ids == ids("a1")


def test_the_files_of_the_store_are_written(tmp_path: Any) -> None:
    index = indexed(SimpleVectorStore(), "acme", "a1")
    index.storage_context.persist(persist_dir=str(tmp_path))
    (path,) = tmp_path.glob("default__vector_store.json")
    again = SimpleVectorStore.from_persist_path(str(path))
    assert found(TenantVectorStore(again, "acme")) == ids("a1")
    assert found(TenantVectorStore(again, "globex")) == []


def test_a_retriever_of_named_nodes_finds_none_of_another_tenant(two: Any) -> None:
    asked = VectorStoreQuery(**{**vars(EVERYTHING), "node_ids": [id_of("a1"), id_of("g1")]})
    assert two[0].query(asked).ids == ids("a1")
