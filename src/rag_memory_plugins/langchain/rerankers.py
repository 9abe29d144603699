"""Rerankers as LangChain document compressors: one that fails leaves the order there was."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

from langchain_core.documents import Document
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.compressing import Compressed, Compressor
from rag_memory_plugins.langchain.documents import RELEVANCE, noted, with_reasons
from rag_memory_plugins.langchain.events import degraded
from rag_memory_plugins.memory.reranking import RERANK_SECONDS, aordered, check_ranking
from rag_memory_plugins.portal import blocking, on_portal, strict
from rag_memory_plugins.ports import Embedder, Reranker
from rag_memory_plugins.retrieval.cohere_rerank import CohereReranker
from rag_memory_plugins.retrieval.cross_encoder import CrossEncoderReranker
from rag_memory_plugins.retrieval.rerank import WeightedReranker

__all__ = ["CohereRerank", "CrossEncoderRerank", "HybridRerank", "Rerank"]

TOP_N: Final = 10


class _Reranked(Compressor):
    """What the four share; see `Rerank`."""

    top_n: int
    timeout: float
    _reranker: Reranker = PrivateAttr()
    _ours: bool = PrivateAttr()

    def __init__(self, reranker: Reranker, *, ours: bool = True, **fields: Any) -> None:
        check_ranking(fields["top_n"], fields["timeout"], "documents")
        super().__init__(**fields)
        self._reranker = reranker
        self._ours = ours

    @on_portal
    async def aclose(self) -> None:
        """Free what was made here; a reranker, embedder or client that was passed in stays open."""
        if self._ours:
            await self._reranker.aclose()

    close = blocking(aclose)

    async def _acompressed(self, documents: list[Document], query: str) -> Compressed:
        if not documents:
            return [], []
        texts = [document.page_content for document in documents]
        order, reason = await aordered(self._reranker, query, texts, self.timeout)
        if reason:
            told = degraded(
                f"{self._name} {self._reranker.name}", f"{reason}; documents keep their order"
            )
            note = f"{self._name}: {reason}"
            return [with_reasons(document, note) for document in documents[: self.top_n]], [told]
        best = order[: self.top_n]
        return [noted(documents[at], {RELEVANCE: score}) for at, score in best], []


class Rerank(_Reranked):
    """Any `Reranker` for documents, for example `Rerank(LLMReranker(as_chat_model(model)))`.

    New documents come best first, `top_n` at most, with the reranker's score in the metadata
    `relevance_score`; equal scores keep their order. A reranker that fails, or takes longer than
    `timeout` seconds, or an empty query leaves the documents as they came: the metadata `degraded`,
    the event `rag_memory_degrade` and a warning in the log say so. Raises `InvalidInput`.

    >>> from langchain_core.language_models import FakeListChatModel
    >>> from rag_memory_plugins import LLMReranker
    >>> from rag_memory_plugins.langchain import as_chat_model
    >>> model = FakeListChatModel(responses=['{"scores": {"1": 2, "2": 9}}'])
    >>> rerank = Rerank(LLMReranker(as_chat_model(model)), top_n=1)
    >>> (best,) = rerank.compress_documents([Document("Bread"), Document("3 June")], "When?")
    >>> best.page_content, best.metadata
    ('3 June', {'relevance_score': 0.9})
    """

    @strict
    def __init__(
        self, reranker: Reranker, *, top_n: int = TOP_N, timeout: float = RERANK_SECONDS
    ) -> None:
        if not isinstance(reranker, Reranker):
            got = f"{type(reranker).__module__}.{type(reranker).__name__}"
            raise InvalidInput("reranker", got, "pass a ports.Reranker, as LLMReranker(model)")
        super().__init__(reranker, ours=False, top_n=top_n, timeout=timeout)


class HybridRerank(_Reranked):
    """Meaning and words, weighted, over a `WeightedReranker`: scores are from 0 to 1.

    `embedder` is "default", the local model, or an `Embedder`: `as_embedder(model)` makes one of a
    LangChain model. A weight of 0 leaves its part out. For `top_n`, `timeout` and failures see
    `Rerank`. Raises `InvalidInput`, `MissingExtra`.

    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> rerank = HybridRerank(WordEmbedder(), top_n=1)
    >>> found = [Document("A blue boat"), Document("A red car")]
    >>> [document.page_content for document in rerank.compress_documents(found, "the red car")]
    ['A red car']
    """

    semantic: float
    lexical: float
    embedder: str

    @strict
    def __init__(
        self,
        embedder: Embedder | Literal["default"] = "default",
        *,
        semantic: float = 0.7,
        lexical: float = 0.3,
        top_n: int = TOP_N,
        timeout: float = RERANK_SECONDS,
    ) -> None:
        made = WeightedReranker(embedder, semantic, lexical)
        super().__init__(
            made,
            top_n=top_n,
            timeout=timeout,
            semantic=made.semantic,
            lexical=made.lexical,
            embedder=embedder if isinstance(embedder, str) else made.embedder.fingerprint,
        )


class CrossEncoderRerank(_Reranked):
    """A cross-encoder in ONNX that reads query and document together; see `CrossEncoderReranker`.

    `path` is the model's file; nothing is downloaded. For `top_n`, `timeout` and failures see
    `Rerank`. Raises `MissingExtra`, `InvalidInput`; `RerankerError` for a file that is missing.

    >>> CrossEncoderRerank("reranker.onnx")
    Traceback (most recent call last):
    rag_memory_plugins.errors.RerankerError: reranker.onnx cannot be read (No such file or
    directory); pass the path of the model's .onnx file
    """

    path: str
    tokenizer: str
    max_tokens: int

    @strict
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        max_tokens: int = 512,
        batch: int = 16,
        threads: int | None = None,
        top_n: int = TOP_N,
        timeout: float = RERANK_SECONDS,
    ) -> None:
        made = CrossEncoderReranker(
            path, tokenizer=tokenizer, max_tokens=max_tokens, batch=batch, threads=threads
        )
        super().__init__(
            made,
            top_n=top_n,
            timeout=timeout,
            path=str(made.path),
            tokenizer=str(made.tokenizer),
            max_tokens=made.max_tokens,
        )


class CohereRerank(_Reranked):
    """Cohere's rerank through the async client of its own library; see `CohereReranker`.

    Needs the extra `cohere` and CO_API_KEY, or `client`, a built `cohere.AsyncClientV2`, which is
    used on this package's own loop alone. An outage, a limit that lasts longer than `timeout`
    seconds, or a refused key leaves the documents as they came; for that and `top_n` see `Rerank`.
    Raises `MissingExtra`, `InvalidInput`; `RerankerError` without a key.

    >>> CohereRerank(timeout=0)
    Traceback (most recent call last):
    rag_memory_plugins.errors.InvalidInput: timeout: got 0; pass seconds, a number above 0
    """

    model: str
    max_tokens_per_doc: int | None

    @strict
    def __init__(
        self,
        model: str = "rerank-v3.5",
        client: Any = None,
        *,
        max_tokens_per_doc: int | None = None,
        top_n: int = TOP_N,
        timeout: float = RERANK_SECONDS,
    ) -> None:
        made = CohereReranker(model, client, max_tokens_per_doc=max_tokens_per_doc, timeout=timeout)
        super().__init__(
            made,
            top_n=top_n,
            timeout=timeout,
            model=made.model,
            max_tokens_per_doc=made.max_tokens_per_doc,
        )
