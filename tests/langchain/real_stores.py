"""LangChain's vector stores, empty; those of other packages are imported when they are asked for."""

from __future__ import annotations

from uuid import uuid4

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from tests.bridged import CHROMA
from tests.installed import needed

WITH_FAISS = needed("faiss", "faiss-cpu")
WITH_CHROMA = needed("langchain_chroma", "langchain-chroma")


def in_memory(embeddings: Embeddings, dimension: int) -> VectorStore:
    return InMemoryVectorStore(embeddings)


def faiss(embeddings: Embeddings, dimension: int) -> VectorStore:
    from faiss import IndexFlatIP
    from langchain_community.docstore import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    return FAISS(embeddings, IndexFlatIP(dimension), InMemoryDocstore(), {})


def chroma(embeddings: Embeddings, dimension: int) -> VectorStore:
    import chromadb
    from langchain_chroma import Chroma

    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    name = f"test-{uuid4().hex}"
    return Chroma(name, embeddings, client=client, collection_configuration=CHROMA)
