from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import EmbedderError, InvalidInput
from rag_memory_plugins.llama_index import LocalEmbedding, as_embedder
from rag_memory_plugins.ports import Embedder


class Letters(BaseEmbedding):
    """How often each letter stands in a text; raises, or gives `always`, when told to."""

    broken: str = ""
    always: list[float] | None = None
    threads: list[str] = []  # noqa: RUF012  # a pydantic field: copied for each object

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        raise AssertionError("the async form belongs to the caller's loop")

    def _get_text_embedding(self, text: str) -> list[float]:
        self.threads.append(threading.current_thread().name)
        if self.broken:
            raise RuntimeError(self.broken)
        if self.always is not None:
            return self.always
        return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]


def test_it_is_an_embedder() -> None:
    assert isinstance(as_embedder(MockEmbedding(8)), Embedder)


def test_the_fingerprint_holds_class_model_and_dimension() -> None:
    fingerprint = as_embedder(Letters(model_name="letters-1")).fingerprint
    assert fingerprint == "llama-index:Letters:letters-1:26:2000"


def test_a_given_dimension_asks_the_model_nothing() -> None:
    assert as_embedder(Letters(broken="offline"), dimension=26).dimension == 26


async def test_vectors_are_float32_of_length_one() -> None:
    vector = await as_embedder(Letters()).aembed_query("hello")
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0)


async def test_an_empty_text_has_no_pieces() -> None:
    vectors = await as_embedder(Letters()).aembed_documents(["hello", "", "!?"])
    assert [piece.shape for piece in vectors] == [(1, 26), (0, 26), (0, 26)]


async def test_a_long_text_has_overlapping_pieces() -> None:
    embedder = as_embedder(Letters(), piece_characters=20)
    (vectors,) = await embedder.aembed_documents(["abcdefghi " * 5])
    assert vectors.shape == (3, 26)


async def test_the_model_runs_outside_the_event_loop() -> None:
    model = Letters()
    embedder = as_embedder(model, dimension=26)
    await embedder.aembed_query("hello")
    assert model.threads == ["rag-memory-embedder-0"]
    await embedder.aclose()


async def test_it_works_again_after_it_was_closed() -> None:
    embedder = as_embedder(Letters())
    await embedder.aclose()
    assert (await embedder.aembed_query("hello")).shape == (26,)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Letters(broken="rate limit"), "rate limit"),
        (Letters(always=[1.0, 2.0]), "shape"),
        (Letters(always=[float("nan")] * 26), "NaN"),
        (Letters(always=[0.0] * 26), "length zero"),
    ],
    ids=["raises", "other dimension", "nan", "zero"],
)
async def test_vectors_that_cannot_be_used_are_an_embedder_error(
    model: Letters, reason: str
) -> None:
    with pytest.raises(EmbedderError, match=reason):
        await as_embedder(model, dimension=26).aembed_query("hello")


@pytest.mark.parametrize("other", [None, "text-embedding-3-small", object()])
def test_anything_but_an_embedding_model_is_refused(other: Any) -> None:
    with pytest.raises(InvalidInput, match="BaseEmbedding"):
        as_embedder(other)


def test_a_memory_searches_with_it(tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory.db", embedder=as_embedder(Letters())) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("zzz")
        ann.add("aaa")
        found = ann.search("zz")
    assert (found[0].message.content, found.lanes["dense"]) == ("zzz", "ok")


def test_a_framework_model_itself_is_refused_with_the_function_to_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="as_embedder"):
        open_memory(tmp_path / "memory.db", embedder=Letters())  # type: ignore[arg-type]


async def test_the_local_model_embeds_for_an_index_sync_and_async_alike() -> None:
    model = LocalEmbedding()
    texts = ["The boat is green.", "word " * 600, ""]
    vectors = model.get_text_embedding_batch(texts)
    assert vectors == await model.aget_text_embedding_batch(texts)
    assert [round(float(np.linalg.norm(vector)), 5) for vector in vectors] == [1.0, 1.0, 0.0]
    assert model.get_query_embedding(texts[0]) == await model.aget_query_embedding(texts[0])
    assert model.get_query_embedding(texts[0]) == pytest.approx(vectors[0], abs=1e-6)


def test_an_index_with_the_local_model_finds_by_meaning() -> None:
    nodes = [TextNode(text=text) for text in ("Ann lives in Lisbon", "The form is due in May")]
    index = VectorStoreIndex(nodes, embed_model=LocalEmbedding())
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("Which city is her home?")
    assert found.text == "Ann lives in Lisbon"
