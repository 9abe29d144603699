"""`Explanation`: the pieces of a context, and what can be made of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rag_memory_plugins.explaining.drawing import as_text, drawn
from rag_memory_plugins.explaining.notebook import as_html
from rag_memory_plugins.explaining.rows import source_link
from rag_memory_plugins.explaining.shapes import ExplainedContext, ExplainedPiece

if TYPE_CHECKING:
    from rich.console import Group
    from typing_extensions import Self

__all__ = ["Explanation"]

P = TypeVar("P", bound=ExplainedPiece)


class Explanation(tuple[P, ...], Generic[P]):  # noqa: SLOT001  # a tuple can have no named slots
    """Every message that was considered for a context, in or out, and the figures around them.

    A tuple of `Piece`s. `str` and `text` draw it for a terminal of 100 columns, `to_text` for
    another width; `rich.print` draws it in colours, a notebook with links to each message.

    >>> from rag_memory_plugins import open_memory
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.add("The launch is on 3 June", id="m1")
    ...     explanation = Explanation(ann.context("When is the launch?", 500))
    >>> [(piece.message.id, piece.included) for piece in explanation]
    [('m1', True)]
    >>> folder.cleanup()
    """

    context: ExplainedContext[P]

    def __new__(cls, context: ExplainedContext[P]) -> Self:
        self = super().__new__(cls, context.pieces)
        self.context = context
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.context,)

    @property
    def text(self) -> str:
        """The parts, and every piece, as lines of at most 100 columns."""
        return self.to_text()

    def to_text(self, width: int = 100, *, pieces: bool = True) -> str:
        """As `text`, in `width` columns; without `pieces` the parts and the mode alone."""
        return as_text(self.context, width, pieces=pieces)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        context = self.context
        return {
            "query": context.query,
            "mode": context.mode,
            "mode_reason": context.mode_reason,
            "budget": asdict(context.budget),
            "tokens": context.tokens,
            "tokens_exact": context.tokens_exact,
            "history_tokens": context.history_tokens,
            "parts": [
                {"name": part.name, "tokens": part.tokens, "ids": [m.id for m in part.messages]}
                for part in context.parts
            ],
            "pieces": [_piece_dict(piece) for piece in self],
            "lanes": dict(context.lanes),
            "degraded": list(context.degraded),
        }

    def drawn(self, *, pieces: bool = True) -> Group:
        """For a rich console, which knows its width and colours: as `to_text`."""
        return drawn(self.context, pieces=pieces)

    __rich__ = drawn

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        context, held = self.context, sum(piece.included for piece in self)
        budget = f"{context.tokens} of {context.budget.total} tokens"
        return f"Explanation({held} of {len(self)} pieces in, {budget})"

    def _repr_html_(self) -> str:
        return as_html(self.context)


def _piece_dict(piece: ExplainedPiece) -> dict[str, Any]:
    message, link = piece.message, source_link(piece.message)
    return {
        "id": message.id,
        "session": piece.session,
        "part": piece.part,
        "included": piece.included,
        "reason": piece.reason,
        "tokens": piece.tokens,
        "score": None if piece.score is None else float(piece.score),
        "role": message.role,
        "who": message.speaker,
        "time": message.time.isoformat(),
        "content": message.content,
        "link": link[0] if link is not None else None,
    }
