from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import EmbedderError, InvalidInput, MissingExtra
from rag_memory_plugins.langchain import LocalEmbeddings, as_embedder
from rag_memory_plugins.ports import Embedder


class Letters(Embeddings):
    """How often each letter stands in a text."""

    model = "letters-1"

    def embed_query(self, text: str) -> list[float]:
        return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class Down(Letters):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise TimeoutError("rate limit")


def test_it_is_an_embedder() -> None:
    assert isinstance(as_embedder(DeterministicFakeEmbedding(size=8)), Embedder)


def test_the_fingerprint_holds_class_model_and_dimension() -> None:
    assert as_embedder(Letters()).fingerprint == "langchain:Letters:letters-1:26:2000"


def test_a_name_tells_models_apart_that_look_the_same() -> None:
    assert as_embedder(Letters(), name="letters-2").fingerprint == "letters-2:26:2000"


async def test_vectors_are_float32_of_length_one() -> None:
    (vectors,) = await as_embedder(Letters()).aembed_documents(["hello"])
    assert (vectors.dtype, vectors.shape) == (np.float32, (1, 26))
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0)


async def test_an_error_of_the_model_is_an_embedder_error() -> None:
    with pytest.raises(EmbedderError, match="rate limit"):
        await as_embedder(Down()).aembed_documents(["hello"])


@pytest.mark.parametrize("other", [None, "text-embedding-3-small", object()])
def test_anything_but_an_embedding_model_is_refused(other: Any) -> None:
    with pytest.raises(InvalidInput, match="Embeddings"):
        as_embedder(other)


def test_a_memory_searches_with_it(tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory.db", embedder=as_embedder(Letters())) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("zzz")
        ann.add("aaa")
        found = ann.search("zz")
    assert (found[0].message.content, found.lanes["dense"]) == ("zzz", "ok")


def test_a_model_that_is_down_costs_its_lane_and_no_message(tmp_path: Path) -> None:
    with open_memory(
        tmp_path / "memory.db", embedder=as_embedder(Down()), background=False, drain_seconds=0
    ) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("I moved to Lisbon")
        found = ann.search("Lisbon")
    assert (len(found), len(found.degraded)) == (1, 1)


def test_a_framework_model_itself_is_refused_with_the_function_to_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="as_embedder"):
        open_memory(tmp_path / "memory.db", embedder=Letters())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def local() -> LocalEmbeddings:
    return LocalEmbeddings()


async def test_the_local_model_gives_the_same_vectors_either_way(local: LocalEmbeddings) -> None:
    texts = ["a boat", "the tax form " * 400]
    assert await local.aembed_documents(texts) == local.embed_documents(texts)
    assert await local.aembed_query("a boat") == local.embed_query("a boat")


def test_vectors_of_the_local_model_have_length_one_and_tell_meanings_apart(
    local: LocalEmbeddings,
) -> None:
    boat, ship, tax = np.array(local.embed_documents(["a boat", "a ship", "the tax form " * 400]))
    assert [np.linalg.norm(vector) for vector in (boat, ship, tax)] == pytest.approx([1.0] * 3)
    assert boat @ ship > boat @ tax


def test_a_text_without_words_has_a_vector_of_zeros(local: LocalEmbeddings) -> None:
    assert not np.any(local.embed_documents([" "]))
    assert local.embed_documents([]) == []


def test_the_local_model_and_a_memory_have_one_name(local: LocalEmbeddings, tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory.db") as memory:
        assert memory.embedder is not None
        assert local.model == memory.embedder.fingerprint


def test_without_the_local_model_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_memory_plugins.langchain.embedding.default_embedder", lambda: None)
    with pytest.raises(MissingExtra, match="local"):
        LocalEmbeddings()
