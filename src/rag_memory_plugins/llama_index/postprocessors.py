"""Nodes made to fit a budget, and kept to one tenant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from rag_memory_plugins.llama_index.events import dispatcher, packed, warned
from rag_memory_plugins.llama_index.nodes import nodes_for_packing, rescored, shown_as
from rag_memory_plugins.portal import get_portal, strict
from rag_memory_plugins.ports import TokenCounter
from rag_memory_plugins.retrieval.nodes import checked
from rag_memory_plugins.retrieval.packing import OVER, Order, Packed, pack
from rag_memory_plugins.retrieval.tenancy import TENANT, Untagged, check_guard, guarded
from rag_memory_plugins.tokens import make_counter

__all__ = ["TenantGuardPostprocessor", "TokenBudgetPostprocessor", "trimmed"]

Nodes = list[NodeWithScore]

JOINED_BY: Final = "\n\n"
"""What the response modes and chat engines put between nodes.

Not simple_summarize, which writes a Python list of one text into its prompt, quotes and all.
"""


@strict
def trimmed(
    nodes: Sequence[NodeWithScore],
    budget: int,
    *,
    query: str = "",
    min_nodes: int = 3,
    order: Order = "relevance",
    repeats: bool = False,
    counter: str | TokenCounter | None = None,
    separator: str = JOINED_BY,
    window: int | None = None,
) -> tuple[list[NodeWithScore], Packed]:
    """The best of `nodes` in `budget` tokens, and what became of each; see `packing.pack`.

    Counted is what a model is shown of nodes in the prompt of a response mode: texts with their
    visible metadata, joined by `separator`. A node that is shortened keeps its metadata, unless
    there is no room for both; `Packed` calls nodes by their places. Given nodes are not changed.
    Raises `InvalidBudget`, `InvalidInput`, `MissingExtra`.

    >>> from llama_index.core.schema import TextNode
    >>> boat = NodeWithScore(node=TextNode(text="The boat is green. It is old."), score=0.9)
    >>> kept, report = trimmed([boat], 8, query="What colour is the boat?")
    >>> kept[0].text, report.tokens, boat.text
    ('The boat is green.', 5, 'The boat is green. It is old.')
    """
    done = pack(
        nodes_for_packing(nodes),
        budget,
        make_counter(counter),
        query=query,
        min_nodes=min_nodes,
        order=order,
        repeats=repeats,
        separator=separator,
        window=window,
    )
    kept = [shown_as(nodes[at], node) for at, node in zip(done.places, done.nodes, strict=True)]
    return kept, done


class TokenBudgetPostprocessor(BaseNodePostprocessor):
    """Makes nodes fit: what a model is shown of them, joined, is never over `budget` tokens.

    The best come whole, the first that does not fit is shortened to the sentences that answer the
    query, and repeats of better ones are dropped; `order` and the rest are those of
    `trimmed`, which also tells what became of every node. A `TrimEvent` says how many were kept
    and which response mode suits them. Where not even `min_nodes` fit, a `DegradeEvent` and the
    log say so. A node without any text is dropped: an image has no tokens to count here.
    Raises `InvalidBudget`, `InvalidInput`, `MissingExtra`.

    >>> from llama_index.core.schema import TextNode
    >>> texts = ["The boat is green. It is old.", "It rained for days."]
    >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
    >>> fit = TokenBudgetPostprocessor(8, min_nodes=1)
    >>> [node.text for node in fit.postprocess_nodes(nodes, query_str="Which colour?")]
    ['The boat is green.']
    """

    budget: int
    min_nodes: int
    order: Order
    repeats: bool
    counter: str | None
    separator: str
    window: int | None
    _counter: str | TokenCounter | None = PrivateAttr()

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
    ) -> None:
        checked([], budget, min_nodes, order, separator, window)
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

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "TokenBudgetPostprocessor"

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        return self._told(self._trim(nodes, query_bundle))

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        # Beside the loop: counting and cutting long texts takes milliseconds.
        trim = partial(self._trim, nodes, query_bundle)
        return self._told(await get_portal().acompute(trim))

    def _trim(self, nodes: Nodes, query_bundle: QueryBundle | None) -> tuple[Nodes, Packed]:
        return trimmed(
            nodes,
            self.budget,
            query=query_bundle.query_str if query_bundle is not None else "",
            min_nodes=self.min_nodes,
            order=self.order,
            repeats=self.repeats,
            counter=self._counter,
            separator=self.separator,
            window=self.window,
        )

    def _told(self, trim: tuple[Nodes, Packed]) -> Nodes:
        kept, done = trim
        packed(self.class_name(), done)
        if done.kept < self.min_nodes and any(change.why == OVER for change in done.changes):
            reason = f"{done.kept} of at least {self.min_nodes} nodes fit {self.budget} tokens"
            warned(self.class_name(), reason)
        return kept


class TenantGuardPostprocessor(BaseNodePostprocessor):
    """Lets through nodes of one tenant alone: a last wall, whatever retrieved them.

    A node's tenant is `metadata[key]`, a str, compared as it is. A node that names none is dropped
    too, unless `untagged` is "keep": then shared documents may stand beside a tenant's own. Every
    drop is told by a `DegradeEvent` and the log, by count and without texts.
    Raises `InvalidNamespace`, `InvalidInput`.

    >>> from llama_index.core.schema import TextNode
    >>> nodes = [
    ...     NodeWithScore(node=TextNode(text=tenant, metadata={"tenant": tenant}))
    ...     for tenant in ("acme", "globex")
    ... ]
    >>> [node.text for node in TenantGuardPostprocessor("globex").postprocess_nodes(nodes)]
    ['globex']
    """

    tenant: str
    key: str
    untagged: Untagged

    @strict
    def __init__(self, tenant: str, *, key: str = TENANT, untagged: Untagged = "drop") -> None:
        check_guard(tenant, key, untagged)
        fields: dict[str, Any] = {"tenant": tenant, "key": key, "untagged": untagged}
        super().__init__(**fields)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "TenantGuardPostprocessor"

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        return self._own(nodes)

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        return self._own(nodes)

    def _own(self, nodes: Nodes) -> Nodes:
        named = [item.node.metadata.get(self.key) for item in nodes]
        own, reasons = guarded(named, self.tenant, self.key, self.untagged, "node")
        for reason in reasons:
            warned(self.class_name(), reason)
        return [rescored(item, item.score) for item, ours in zip(nodes, own, strict=True) if ours]
