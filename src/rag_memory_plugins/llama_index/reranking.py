"""Rerankers as LlamaIndex node postprocessors: one that fails leaves the order there was."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any, Final, Literal

from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.events import dispatcher, warned
from rag_memory_plugins.llama_index.nodes import rescored
from rag_memory_plugins.memory.reranking import RERANK_SECONDS, aordered, check_ranking
from rag_memory_plugins.portal import Portal, blocking, get_portal, on_portal, strict
from rag_memory_plugins.ports import Embedder, Reranker
from rag_memory_plugins.retrieval.cohere_rerank import CohereReranker
from rag_memory_plugins.retrieval.cross_encoder import CrossEncoderReranker
from rag_memory_plugins.retrieval.rerank import WeightedReranker

__all__ = ["CohereRerank", "CrossEncoderRerank", "HybridRerank", "Rerank"]

TOP_N: Final = 10

Scored = tuple[list[tuple[int, float]], str]
"""Places and scores, best first, or none and the reason."""


class _Reranked(BaseNodePostprocessor):
    """What the four share: nodes in, new nodes out, best first, under the reranker's scores.

    The reranker reads what an embedder would be shown of a node. Equal scores keep the order the
    nodes came in. Where there are no scores, because the reranker failed, took longer than
    `timeout` seconds, or there is no query, the first `top_n` come as they were, a `DegradeEvent`
    says why, and so does the log.
    """

    top_n: int
    timeout: float
    _reranker: Reranker = PrivateAttr()
    _ours: bool = PrivateAttr()

    def __init__(self, reranker: Reranker, *, ours: bool = True, **fields: Any) -> None:
        check_ranking(fields["top_n"], fields["timeout"], "nodes")
        super().__init__(**fields)
        self._reranker = reranker
        self._ours = ours

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return cls.__name__

    @property
    def portal(self) -> Portal:
        """Where the reranker runs, whichever loop or thread asks."""
        return get_portal()

    @on_portal
    async def aclose(self) -> None:
        """Free what was made here; a reranker, embedder or client that was passed in stays open."""
        if self._ours:
            await self._reranker.aclose()

    close = blocking(aclose)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        asked = self._ask(nodes, query_bundle)
        return self._ranked(nodes, self.portal.call(asked, "postprocess_nodes()"))

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        return self._ranked(nodes, await self.portal.acall(self._ask(nodes, query_bundle)))

    def _ask(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None
    ) -> Coroutine[Any, Any, Scored]:
        name = self._reranker.name
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=name)
        )
        query = query_bundle.query_str if query_bundle is not None else ""
        texts = [item.node.get_content(MetadataMode.EMBED) for item in nodes]
        return aordered(self._reranker, query, texts, self.timeout)

    def _ranked(self, nodes: list[NodeWithScore], scored: Scored) -> list[NodeWithScore]:
        order, reason = scored
        if reason:
            source = f"{self.class_name()} {self._reranker.name}"
            warned(source, f"{reason}; nodes keep their order")
            ranked = [rescored(item, item.score) for item in nodes]
        else:
            ranked = [rescored(nodes[at], score) for at, score in order]
        best = ranked[: self.top_n]
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best


class Rerank(_Reranked):
    """Any `Reranker` for nodes, for example `Rerank(LLMReranker(as_chat_model(llm)))`.

    New nodes come best first, `top_n` at most, under the reranker's scores; equal scores keep
    their order. A reranker that fails, or takes longer than `timeout` seconds, or a missing query
    leaves the nodes as they came: a `DegradeEvent` and a warning in the log say so. `from_dict`
    wants the reranker beside what `to_dict` gave. Raises `InvalidInput`.

    >>> from llama_index.core.llms import CustomLLM, CompletionResponse, LLMMetadata
    >>> from llama_index.core.schema import TextNode
    >>> from rag_memory_plugins import LLMReranker
    >>> from rag_memory_plugins.llama_index import as_chat_model
    >>> class Model(CustomLLM):
    ...     @property
    ...     def metadata(self):
    ...         return LLMMetadata()
    ...     def complete(self, prompt, formatted=False, **kwargs):
    ...         return CompletionResponse(text='{"scores": {"1": 2, "2": 9}}')
    ...     def stream_complete(self, prompt, formatted=False, **kwargs): ...
    >>> rerank = Rerank(LLMReranker(as_chat_model(Model())), top_n=1)
    >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Bread", "3 June")]
    >>> [(n.text, n.score) for n in rerank.postprocess_nodes(nodes, query_str="When?")]
    [('3 June', 0.9)]
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
    LlamaIndex model. A weight of 0 leaves its part out. For `top_n`, `timeout` and failures see
    `Rerank`. Raises `InvalidInput`, `MissingExtra`.

    >>> from llama_index.core.schema import TextNode
    >>> from rag_memory_plugins.testing.fakes import WordEmbedder
    >>> rerank = HybridRerank(WordEmbedder(), top_n=1)
    >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("A blue boat", "A red car")]
    >>> [(n.text, n.score) for n in rerank.postprocess_nodes(nodes, query_str="the red car")]
    [('A red car', 1.0)]
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
    """A cross-encoder in ONNX that reads query and node together; see `CrossEncoderReranker`.

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
    batch: int
    threads: int

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
            batch=made.batch,
            threads=made.threads,
        )


class CohereRerank(_Reranked):
    """Cohere's rerank through the async client of its own library; see `CohereReranker`.

    Needs the extra `cohere` and CO_API_KEY, or `client`, a built `cohere.AsyncClientV2`: it is used
    on this package's own loop alone, and is in no serialised form. An outage, a limit that lasts
    longer than `timeout` seconds, or a
    refused key leaves the nodes as they came; for that and `top_n` see `Rerank`.
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
