"""LlamaIndex' vector stores, empty; those of other packages are imported when they are asked for."""

from __future__ import annotations

from uuid import uuid4

from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from tests.bridged import CHROMA
from tests.installed import needed

WITH_FAISS = needed("llama_index.vector_stores.faiss", "llama-index-vector-stores-faiss")
WITH_CHROMA = needed("llama_index.vector_stores.chroma", "llama-index-vector-stores-chroma")


def simple(dimension: int) -> BasePydanticVectorStore:
    return SimpleVectorStore()


def faiss(dimension: int) -> BasePydanticVectorStore:
    from faiss import IndexFlatIP, IndexIDMap2
    from llama_index.vector_stores.faiss import FaissMapVectorStore

    return FaissMapVectorStore(faiss_index=IndexIDMap2(IndexFlatIP(dimension)))


def chroma(dimension: int) -> BasePydanticVectorStore:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    made = client.create_collection(f"test-{uuid4().hex}", configuration=CHROMA)
    return ChromaVectorStore(chroma_collection=made)
