"""LangChain's vector stores as the vector store of a memory: what every one of them must keep."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from rag_memory_plugins.langchain import as_index
from rag_memory_plugins.langchain.index import StoreOfTexts
from rag_memory_plugins.testing.vector_points import vector_of
from tests.bridged import ONE_DIMENSION, BridgedConformance
from tests.langchain import real_stores
from tests.langchain.stores import Exacting

PIECES = "a LangChain store embeds the text it is given, so a message is one vector"
ONE_TEXT = {"test_the_pieces_of_a_message_give_its_number_once": PIECES}


class Said(Embeddings):
    """The vector that a text says."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector_of(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return vector_of(text).tolist()


class Conformance(BridgedConformance):
    def bridge(self, store: VectorStore) -> Any:
        return as_index(store)


class TestInMemory(Conformance):
    gaps = ONE_TEXT

    def make(self) -> VectorStore:
        return real_stores.in_memory(Said(), self.dimension)


class TestExacting(Conformance):
    gaps = ONE_TEXT | ONE_DIMENSION

    def make(self) -> VectorStore:
        return Exacting(Said())

    def bridge(self, store: VectorStore) -> Any:
        return StoreOfTexts(store, "exacting", None, "filter")  # and takes no filters


@real_stores.WITH_FAISS
class TestFaiss(Conformance):
    gaps = ONE_TEXT | ONE_DIMENSION

    def make(self) -> VectorStore:
        return real_stores.faiss(Said(), self.dimension)


@real_stores.WITH_CHROMA
class TestChroma(Conformance):
    gaps = ONE_DIMENSION

    def make(self) -> VectorStore:
        return real_stores.chroma(Said(), self.dimension)
