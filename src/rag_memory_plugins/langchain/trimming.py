"""Documents made to fit a number of tokens."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate
from pydantic import PrivateAttr

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.compressing import Compressed, Compressor
from rag_memory_plugins.langchain.documents import (
    ADJUSTMENT,
    nodes_for_packing,
    noted,
    shows,
    with_reasons,
)
from rag_memory_plugins.langchain.events import TRIM, Told, degraded
from rag_memory_plugins.portal import strict
from rag_memory_plugins.ports import TokenCounter
from rag_memory_plugins.retrieval.nodes import Node, checked
from rag_memory_plugins.retrieval.packing import OVER, Order, Packed, pack
from rag_memory_plugins.tokens import make_counter

__all__ = ["TokenBudgetCompressor"]

JOINED_BY: Final = "\n\n"
"""What LangChain's chains put between documents."""


class TokenBudgetCompressor(Compressor):
    """Makes documents fit: what a model is shown of them, joined, is never over `budget` tokens.

    The first documents are the best. They come whole, the first that does not fit is shortened to
    the sentences that answer the query, and repeats of better ones are dropped. At least
    `min_nodes` are kept, the weakest of them shortened most. `order` is "relevance",
    "chronological" (by `time` in the metadata) or "ends" (the best first and last); `window` and
    the rest are those of `retrieval.packing.pack`. A document without any text is dropped.

    Counted are the texts, joined by `separator`; with `document_prompt`, the one that your chain
    has, all that it shows of each document. One that has no room for its text beside that is
    dropped. LangChain's `ValueError` says which metadata the prompt misses.

    Every document kept says what became of all, in the metadata `context_adjustment`: `original`
    and `kept` documents, `tokens` used of those `available`, tokens `removed`; so does the event
    `rag_memory_trim`. Where not even `min_nodes` fit, `rag_memory_degrade`, the metadata `degraded`
    and the log say so. Raises `InvalidBudget`, `InvalidInput`, `MissingExtra`.

    >>> texts = ["The boat is green. It is old.", "It rained for days."]
    >>> fit = TokenBudgetCompressor(8, min_nodes=1)
    >>> (kept,) = fit.compress_documents([Document(text) for text in texts], "Which colour?")
    >>> kept.page_content
    'The boat is green.'
    >>> kept.metadata["context_adjustment"]
    {'original': 2, 'kept': 1, 'tokens': 5, 'available': 8, 'removed': 10}
    """

    budget: int
    min_nodes: int
    order: Order
    repeats: bool
    counter: str | None
    separator: str
    window: int | None
    _counter: str | TokenCounter | None = PrivateAttr()
    _prompt: BasePromptTemplate[str] | None = PrivateAttr()

    @strict
    def __init__(
        self,
        budget: int,
        *,
        min_nodes: int = 3,
        order: Order = "relevance",
        repeats: bool = False,
        counter: str | TokenCounter | None = None,
        separator: str = JOINED_BY,
        window: int | None = None,
        document_prompt: BasePromptTemplate[str] | None = None,
    ) -> None:
        checked([], budget, min_nodes, order, separator, window)
        if document_prompt is not None and not isinstance(document_prompt, BasePromptTemplate):
            remedy = "pass a LangChain prompt template, as PromptTemplate.from_template(...)"
            raise InvalidInput("document_prompt", document_prompt, remedy)
        name = counter if counter is None else make_counter(counter).name
        fields: dict[str, Any] = {
            "budget": budget,
            "min_nodes": min_nodes,
            "order": order,
            "repeats": repeats,
            "counter": name,
            "separator": separator,
            "window": window,
        }
        super().__init__(**fields)
        self._counter = counter
        self._prompt = document_prompt

    async def _acompressed(self, documents: list[Document], query: str) -> Compressed:
        # Beside the loop: counting and cutting long texts takes milliseconds.
        kept, done, whole = await self.portal.acompute(partial(self._trimmed, documents, query))
        adjustment = {
            "original": len(documents),
            "kept": done.kept,
            "tokens": done.tokens,
            "available": done.available,
            "removed": max(whole - done.tokens, 0),
        }
        told: list[Told] = [(TRIM, {"source": self._name, **adjustment})]
        reasons: tuple[str, ...] = ()
        over = done.original < len(documents) or any(change.why == OVER for change in done.changes)
        if done.kept < self.min_nodes and over:
            few = f"{done.kept} of at least {self.min_nodes} documents fit {self.budget} tokens"
            told.append(degraded(self._name, few))
            reasons = (few,)
        return [
            with_reasons(noted(document, {ADJUSTMENT: dict(adjustment)}), *reasons)
            for document in kept
        ], told

    def _trimmed(self, documents: list[Document], query: str) -> tuple[list[Document], Packed, int]:
        """(what is kept, what became of it, tokens of all that were given)."""
        nodes = nodes_for_packing(documents, self._prompt)
        done = self._packed(nodes, query)
        whole = done.tokens + done.removed
        while True:
            kept = [
                noted(documents[int(node.id)], text=node.text)
                if node is not nodes[place]
                else documents[int(node.id)]
                for place, node in zip(done.places, done.nodes, strict=True)
            ]
            # The prompt shows metadata whether or not there was room for it.
            lost = {
                node.id
                for document, node in zip(kept, done.nodes, strict=True)
                if shows(document, self._prompt) != node.shown
            }
            if not lost:
                return kept, done, whole
            nodes = [node for node in nodes if node.id not in lost]
            done = self._packed(nodes, query)

    def _packed(self, nodes: list[Node], query: str) -> Packed:
        return pack(
            nodes,
            self.budget,
            make_counter(self._counter),
            query=query,
            min_nodes=self.min_nodes,
            order=self.order,
            repeats=self.repeats,
            separator=self.separator,
            window=self.window,
        )
