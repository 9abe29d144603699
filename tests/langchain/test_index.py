"""A LangChain vector store beside the log of a memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from rag_memory_plugins import Conversation, Memory, Message, open_memory
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain import as_index
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.langchain.stores import Exacting

PLACES = ["Lisbon", "Oslo", "Quito", "Cairo", "Delhi"]
THINGS = ["bicycle", "piano", "kettle", "ladder", "violin", "carpet"]
SAID = [f"In {place} I bought a {thing}." for place in PLACES for thing in THINGS]


class Words(Embeddings):
    """Texts that share word stems get near vectors."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [WordEmbedder()._vector(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture(autouse=True)
def _large_is_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored, "EXACT_UP_TO", 10)


@pytest.fixture
def store() -> InMemoryVectorStore:
    return InMemoryVectorStore(Words())


@pytest.fixture
def memory(tmp_path: Path, store: InMemoryVectorStore) -> Iterator[Memory]:
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


def owners(found: Any) -> set[str]:
    return {hit.message.content.rpartition(" ")[2] for hit in found.hits}


def test_a_question_is_answered_by_what_the_store_proposes(memory: Memory) -> None:
    conversation = fill(memory)
    found = conversation.search("the violin of Cairo", limit=1)
    assert found.hits[0].message.content == "In Cairo I bought a violin. (ann)"
    assert found.lanes["dense"] == "ok"


def test_users_and_tenants_of_one_store_find_their_own(memory: Memory) -> None:
    places = [fill(memory, *who) for who in (("acme", "ann"), ("acme", "bob"), ("globex", "ann"))]
    for conversation in places:
        found = conversation.search("a piano", limit=30)
        assert owners(found) == {f"({conversation.namespace.user})"}
        assert not found.degraded


class Unasked(VectorStore):
    """A store that nobody knows: without a filter, and its documents come back without ids."""

    def __init__(self) -> None:
        self._inner = InMemoryVectorStore(Words())

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        return self._inner.add_documents(documents, **kwargs)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        assert not kwargs
        found = self._inner.similarity_search(query, k)
        return [Document(item.page_content, metadata=item.metadata) for item in found]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        return self._inner.delete(ids)

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> Unasked:
        raise NotImplementedError


def test_of_a_store_that_cannot_be_asked_for_one_user_more_is_looked_through(
    tmp_path: Path,
) -> None:
    with open_memory(
        tmp_path / "memory.db", embedder=WordEmbedder(), index=as_index(Unasked())
    ) as memory:
        fill(memory, "globex")
        conversation = fill(memory, user="bob")
        found = conversation.search("the violin of Cairo", limit=5)
    assert found.hits[0].message.content == "In Cairo I bought a violin. (bob)"
    assert owners(found) == {"(bob)"}


def test_a_filter_of_ones_own_is_made_of_what_documents_must_have(
    tmp_path: Path, store: InMemoryVectorStore
) -> None:
    asked: list[dict[str, str]] = []

    def equal(wanted: Mapping[str, str]) -> Any:
        asked.append(dict(wanted))
        return lambda document: wanted.items() <= document.metadata.items()

    index = as_index(store, filter=equal)
    with open_memory(tmp_path / "memory.db", embedder=WordEmbedder(), index=index) as memory:
        found = fill(memory).search("a piano", limit=30)
    assert owners(found) == {"(ann)"}
    assert [wanted["tenant"] for wanted in asked] == ["acme"]


def test_what_is_erased_leaves_the_store(memory: Memory, store: InMemoryVectorStore) -> None:
    conversation = fill(memory)
    fill(memory, user="bob")
    assert len(store.store) == 2 * len(SAID)
    assert conversation.erase().complete
    assert len(store.store) == len(SAID)


def test_two_memories_share_a_store_and_nothing_in_it(
    tmp_path: Path, store: InMemoryVectorStore
) -> None:
    for name in ("one", "two"):
        with open_memory(
            tmp_path / f"{name}.db", embedder=WordEmbedder(), index=as_index(store)
        ) as memory:
            conversation = fill(memory)
            if name == "two":
                conversation.erase()
    assert len(store.store) == len(SAID)


def test_a_batch_is_put_again_into_a_store_that_refuses_ids_it_holds(tmp_path: Path) -> None:
    store = Exacting(Words())
    store.fail = True
    with open_memory(
        tmp_path / "memory.db", embedder=WordEmbedder(), index=as_index(store), background=False
    ) as memory:
        fill(memory).add("what was said after the batch")
        memory.settle()
    assert len(store.store) == len(SAID) + 1


def test_what_a_store_never_got_is_erased_from_one_that_refuses_unknown_ids(
    tmp_path: Path,
) -> None:
    store = Exacting(Words())
    with open_memory(
        tmp_path / "memory.db", embedder=WordEmbedder(), index=as_index(store), background=False
    ) as memory:
        conversation = fill(memory)
        conversation.add("the last one")
        conversation.search("the last one")  # embeds it, and puts nothing
        assert conversation.erase().complete
    assert store.store == {}


class Undeletable(InMemoryVectorStore):
    """A store that deletes nothing, and says so."""

    async def adelete(self, ids: Any = None, **kwargs: Any) -> bool | None:  # type: ignore[override]
        return False


def test_a_store_that_does_not_delete_keeps_the_receipt_open(tmp_path: Path) -> None:
    with open_memory(
        tmp_path / "memory.db",
        embedder=WordEmbedder(),
        index=as_index(Undeletable(Words()), name="mine"),
        background=False,
        drain_seconds=0,
    ) as memory:
        receipt = fill(memory).erase()
    assert not receipt.complete
    assert "mine did not delete 30 documents" in receipt.pending


def test_what_is_no_vector_store_is_refused() -> None:
    with pytest.raises(InvalidInput, match="pass a LangChain vector store"):
        as_index(Document("no"))  # type: ignore[arg-type]


def test_a_filter_of_no_known_kind_is_refused(store: InMemoryVectorStore) -> None:
    with pytest.raises(InvalidInput, match="pass 'function', 'operators'"):
        as_index(store, filter="sql")  # type: ignore[arg-type]


def test_a_raw_store_is_refused_with_the_function_that_wraps_it(
    tmp_path: Path, store: InMemoryVectorStore
) -> None:
    with pytest.raises(InvalidInput, match=r"rag_memory_plugins\.langchain\.as_index"):
        open_memory(tmp_path / "memory.db", index=store)  # type: ignore[arg-type]
