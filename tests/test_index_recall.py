"""A large user's memory over a framework's vector store finds what it finds without one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings

from rag_memory_plugins import Memory, Message, langchain, llama_index, open_memory
from rag_memory_plugins.ports import VectorStore
from rag_memory_plugins.testing.fakes import WordEmbedder
from tests.langchain import real_stores as of_langchain
from tests.llama_index import real_stores as of_llama_index

MESSAGES = 5_000
QUESTIONS = 40
DIMENSION = WordEmbedder().dimension

_starts, _ends = "ba ko di lu me ra so ti vu ne", "lan mer tis vor kal den pop rus wil zan gor hut"
_drawn = random.Random(7)
_words = [start + end for start in _starts.split() for end in _ends.split()]
SAID = [" ".join(_drawn.choices(_words, k=9)) for _ in range(MESSAGES)]
ASKED = [" ".join(_drawn.sample(_drawn.choice(SAID).split(), 4)) for _ in range(QUESTIONS)]


class Words(Embeddings):
    """Texts that share word stems get near vectors."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [WordEmbedder()._vector(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def of(make: Callable[[Embeddings, int], object]) -> Callable[[], VectorStore]:
    return lambda: langchain.as_index(make(Words(), DIMENSION))


def at(make: Callable[[int], object]) -> Callable[[], VectorStore]:
    return lambda: llama_index.as_index(make(DIMENSION))


def found(memory: Memory) -> list[set[str]]:
    """The ten best of each question; every one was answered by vectors too."""
    conversation = memory.conversation("acme", "ann", "monday")
    results = [conversation.search(question, limit=10) for question in ASKED]
    assert {result.lanes["dense"] for result in results} == {"ok"}
    return [{hit.message.content for hit in result.hits} for result in results]


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> tuple[Path, list[set[str]]]:
    """A file of messages with vectors, and what is found in it by comparing them all."""
    path = tmp_path_factory.mktemp("flat") / "memory.db"
    with open_memory(path, embedder=WordEmbedder(), background=False) as memory:
        conversation = memory.conversation("acme", "ann", "monday")
        for start in range(0, MESSAGES, 500):
            conversation.add([Message("user", text) for text in SAID[start : start + 500]])
        memory.settle()
        return path, found(memory)


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(of(of_langchain.in_memory), id="langchain-in-memory"),
        pytest.param(of(of_langchain.faiss), id="langchain-faiss", marks=of_langchain.WITH_FAISS),
        pytest.param(
            of(of_langchain.chroma), id="langchain-chroma", marks=of_langchain.WITH_CHROMA
        ),
        pytest.param(at(of_llama_index.simple), id="llama-index-simple"),
        pytest.param(
            at(of_llama_index.faiss), id="llama-index-faiss", marks=of_llama_index.WITH_FAISS
        ),
        pytest.param(
            at(of_llama_index.chroma), id="llama-index-chroma", marks=of_llama_index.WITH_CHROMA
        ),
    ],
)
def test_over_a_store_98_in_100_of_what_is_found_without_one_is_found(
    flat, tmp_path: Path, make
) -> None:
    path, best = flat
    copy = Path(shutil.copy(path, tmp_path))
    with open_memory(copy, embedder=WordEmbedder(), index=make(), background=False) as memory:
        memory.settle()
        got = found(memory)
    shared = sum(len(mine & theirs) for mine, theirs in zip(best, got, strict=True))
    assert shared / sum(map(len, best)) >= 0.98
