"""A LlamaIndex vector store beside the log of a memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from rag_memory_plugins import Conversation, Memory, Message, open_memory
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index import as_index
from rag_memory_plugins.stores import mirrored, points
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.llama_index.listening import listening

PLACES = ["Lisbon", "Oslo", "Quito", "Cairo", "Delhi"]
THINGS = ["bicycle", "piano", "kettle", "ladder", "violin", "carpet"]
SAID = [f"In {place} I bought a {thing}." for place in PLACES for thing in THINGS]


@pytest.fixture(autouse=True)
def _large_is_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 10)


@pytest.fixture
def store() -> SimpleVectorStore:
    return SimpleVectorStore()


@pytest.fixture
def memory(tmp_path: Path, store: SimpleVectorStore) -> Iterator[Memory]:
    path = tmp_path / "memory.db"
    with open_memory(
        path, embedder=WordEmbedder(), index=as_index(store), background=False
    ) as opened:
        yield opened


def fill(memory: Memory, tenant: str = "acme", user: str = "ann") -> Conversation:
    conversation = memory.conversation(tenant, user, "monday")
    conversation.add([Message("user", f"{text} ({user})") for text in SAID])
    memory.settle()
    return conversation


def test_a_question_is_answered_by_what_the_store_proposes(memory: Memory) -> None:
    conversation = fill(memory)
    found = conversation.search("the violin of Cairo", limit=1)
    assert found.hits[0].message.content == "In Cairo I bought a violin. (ann)"
    assert found.lanes["dense"] == "ok"


def test_the_store_holds_no_text(memory: Memory, store: SimpleVectorStore) -> None:
    fill(memory)
    assert len(store.data.embedding_dict) == len(SAID)
    assert "violin" not in store.to_dict().__repr__()


def test_users_and_tenants_of_one_store_find_their_own(memory: Memory) -> None:
    places = [fill(memory, *who) for who in (("acme", "ann"), ("acme", "bob"), ("globex", "ann"))]
    for conversation in places:
        found = conversation.search("a piano", limit=30)
        owners = {hit.message.content.rpartition(" ")[2] for hit in found.hits}
        assert owners == {f"({conversation.namespace.user})"}
        assert not found.degraded


def test_two_memories_share_a_store_and_nothing_in_it(
    tmp_path: Path, store: SimpleVectorStore
) -> None:
    for name in ("one", "two"):
        with open_memory(
            tmp_path / f"{name}.db", embedder=WordEmbedder(), index=as_index(store)
        ) as memory:
            conversation = fill(memory)
            if name == "two":
                conversation.erase()
    assert len(store.data.embedding_dict) == len(SAID)


def test_an_index_serves_one_memory(tmp_path: Path, store: SimpleVectorStore) -> None:
    index = as_index(store)
    with open_memory(tmp_path / "one.db", embedder=WordEmbedder(), index=index):
        pass
    with pytest.raises(InvalidInput, match="wrap the store once for each memory"):
        open_memory(tmp_path / "two.db", embedder=WordEmbedder(), index=index)


class Careless(SimpleVectorStore):
    """A store that does not look at filters."""

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        query.filters = None
        return super().query(query, **kwargs)


def test_a_store_that_forgets_its_filters_shows_nobody_elses(tmp_path: Path) -> None:
    with open_memory(
        tmp_path / "memory.db", embedder=WordEmbedder(), index=as_index(Careless())
    ) as memory:
        fill(memory, "globex")
        conversation = fill(memory, user="bob")
        with listening() as events:
            found = conversation.search("a piano", limit=30)
    assert {hit.message.content.rpartition(" ")[2] for hit in found.hits} == {"(bob)"}
    assert any("were not the user's" in event.reason for event in events.named("DegradeEvent"))


class Stumbling(SimpleVectorStore):
    """A store that deletes none of several nodes when it holds one of them not."""

    def delete_nodes(self, node_ids: list[str] | None = None, *args: Any, **given: Any) -> None:
        if set(node_ids or ()) - self.data.embedding_dict.keys():
            raise KeyError("id not found")
        super().delete_nodes(node_ids, *args, **given)


def test_a_node_that_is_not_found_does_not_pass_for_all_of_them_erased(tmp_path: Path) -> None:
    store = Stumbling()
    with open_memory(
        tmp_path / "memory.db",
        embedder=WordEmbedder(),
        index=as_index(store),
        background=False,
        drain_seconds=0,
    ) as memory:
        conversation = fill(memory)
        store.data.embedding_dict.popitem()
        receipt = conversation.erase()
    assert not receipt.complete
    assert "id not found" in receipt.pending


class Filterless(SimpleVectorStore):
    """A store that takes no filters, as FAISS."""

    asked: ClassVar[list[int]] = []

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        if query.filters is not None:
            raise ValueError("Metadata filters not implemented")
        self.asked.append(query.similarity_top_k)
        return super().query(query, **kwargs)


def test_of_a_store_without_filters_more_is_looked_through_until_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrored, "PROPOSED", 2)
    monkeypatch.setattr(points, "OVER", 2)
    monkeypatch.setattr(Filterless, "asked", [])
    index = as_index(Filterless(), filters=False)
    with open_memory(tmp_path / "memory.db", embedder=WordEmbedder(), index=index) as memory:
        fill(memory, "globex")
        conversation = fill(memory, user="bob")
        with listening() as events:
            found = conversation.search("the violin of Cairo", limit=5)
    assert found.hits[0].message.content == "In Cairo I bought a violin. (bob)"
    assert not found.degraded
    assert events.named("DegradeEvent") == []
    assert Filterless.asked == [40, 80]  # of 60 there are


class Undeletable(SimpleVectorStore):
    """A store that deletes whole documents alone."""

    def delete_nodes(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


def test_a_store_that_cannot_delete_by_id_is_named(tmp_path: Path) -> None:
    told: list[Any] = []
    with open_memory(
        tmp_path / "memory.db",
        embedder=WordEmbedder(),
        index=as_index(Undeletable(), name="mine"),
        hooks=[told.append],
        background=False,
        drain_seconds=0,
    ) as memory:
        fill(memory)
    failed = [event.data["error"] for event in told if event.name == "mirror.failed"]
    assert "mine cannot delete nodes by id" in failed[0]


def test_what_is_no_vector_store_is_refused() -> None:
    with pytest.raises(InvalidInput, match="pass a LlamaIndex vector store"):
        as_index(TextNode(text="no"))  # type: ignore[arg-type]


def test_a_raw_store_is_refused_with_the_function_that_wraps_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"rag_memory_plugins\.llama_index\.as_index"):
        open_memory(tmp_path / "memory.db", index=SimpleVectorStore())  # type: ignore[arg-type]
