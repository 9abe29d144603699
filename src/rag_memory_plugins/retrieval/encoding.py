"""One way to ask any embedder: with token vectors from those that give them, else without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rag_memory_plugins.ports import Encoded, TokenEmbedder

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Embedder

__all__ = ["aencode_documents", "aencode_query"]


async def aencode_query(embedder: Embedder, text: str) -> Encoded:
    """A question, as far as the embedder goes."""
    # By its one method: to look for all that the protocol has takes 15 us, every search.
    if hasattr(embedder, "aencode_query"):
        return await cast("TokenEmbedder", embedder).aencode_query(text)
    return Encoded((await embedder.aembed_query(text))[None, :])


async def aencode_documents(embedder: Embedder, texts: Sequence[str]) -> list[Encoded]:
    """Texts, as far as the embedder goes."""
    if isinstance(embedder, TokenEmbedder):
        return await embedder.aencode_documents(texts)
    return [Encoded(vectors) for vectors in await embedder.aembed_documents(texts)]
