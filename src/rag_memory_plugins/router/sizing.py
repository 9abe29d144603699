"""About how many tokens a prompt has, without counting where the answer is plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rag_memory_plugins.chat import ChatRequest

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["request_counter"]


def request_counter(counter: TokenCounter, near: int) -> Callable[[ChatRequest], int]:
    """A function that gives a request's tokens: exact where it matters which side of `near` it is.

    Four characters are a token, within a fifth, in English. So a prompt far from `near` is
    estimated in microseconds, and one between two thirds and one and a half times is counted; one
    that is not ASCII always, because other scripts have up to four times as many.
    """
    low, high = near * 2 // 3, near * 3 // 2

    def count(request: ChatRequest) -> int:
        estimate = request.characters // 4 + 4 * len(request.messages)
        if low <= estimate <= high or (estimate > 0 and not _plain(request, low)):
            return _counted(counter, request)
        return estimate

    return count


def _plain(request: ChatRequest, low: int) -> bool:
    """Whether four characters a token can be believed; a short text fits in any case."""
    if request.characters < low:
        return True
    return all(message.content.isascii() for message in request.messages)


def _counted(counter: TokenCounter, request: ChatRequest) -> int:
    import json

    schemas = [
        f"{tool.name} {tool.description} {json.dumps(dict(tool.parameters), default=str)}"
        for tool in request.tools
    ]
    return counter.count_messages(request.messages) + sum(counter.count_batch(schemas))
