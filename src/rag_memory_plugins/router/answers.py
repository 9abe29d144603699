"""What came, judged: whether it is a whole answer, one of use, or one that broke off."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from rag_memory_plugins.chat import Answer, Delta, tool_pieces
from rag_memory_plugins.errors import (
    AnswerRejected,
    ContentFiltered,
    ProviderError,
    ProviderUnavailable,
    StreamInterrupted,
)
from rag_memory_plugins.router.attempt import Attempt
from rag_memory_plugins.router.pieces import pieces_of

__all__ = ["Opened", "as_piece", "check_end", "check_use", "interrupted", "open_stream"]


def as_piece(answer: Answer) -> Delta:
    """A whole answer as the one piece of a stream."""
    calls = tool_pieces(answer.message.tool_calls)
    return Delta(
        answer.message.content, answer.reasoning, calls, answer.finish, answer.usage, answer.model
    )


class Opened:
    """A stream whose first content has come."""

    def __init__(
        self, attempt: Attempt, begun: list[Delta], rest: AsyncGenerator[Delta, None]
    ) -> None:
        self.attempt = attempt
        self.begun = begun
        self.rest = rest

    async def astop(self, error: BaseException) -> None:
        """Close what the provider still sends, and give back what it held: nobody may read on."""
        try:
            await self.rest.aclose()
        finally:
            await self.attempt.asettle("cancelled", error)


async def open_stream(seconds: float, attempt: Attempt) -> Opened:
    """Read up to the first content, which is when it is decided who answers."""
    pieces = pieces_of(attempt.model, attempt.request, seconds, attempt.share)
    begun: list[Delta] = []
    try:
        async for delta in pieces:
            begun.append(delta)
            attempt.gathered.add(delta)
            if delta.has_content:
                attempt.has_begun()
                return Opened(attempt, begun, pieces)
        check_end(attempt)
    except BaseException:
        await pieces.aclose()
        raise
    return Opened(attempt, begun, pieces)


def check_end(attempt: Attempt) -> None:
    """Raise for an answer that is over and is none."""
    gathered, name = attempt.gathered, attempt.model.name
    if not gathered.finish:
        message = f"{name}: the answer ended without an end; it was cut off"
        raise ProviderUnavailable(message, model=name)
    if gathered.finish == "content_filter" and attempt.first is None:
        raise ContentFiltered(f"{name}: its content filter stopped the answer", model=name)
    broken = gathered.broken_call
    if broken:
        message = f"{name}: it calls {broken} with arguments that are no JSON object"
        raise AnswerRejected(message, model=name)


def check_use(attempt: Attempt, answer: Answer) -> None:
    """Raise `AnswerRejected` for an answer that the asker has no use for."""
    request, name = attempt.request, attempt.model.name
    try:
        if request.schema is not None and not answer.message.tool_calls:
            _matches(answer.message.content, request.schema)
        if request.accept is not None:
            request.accept(answer)
    except ValueError as error:
        raise AnswerRejected(f"{name}: {error}", model=name) from error


def _matches(text: str, schema: Mapping[str, Any]) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON, as the schema asks for: {error}") from error
    required = schema.get("required", ())
    missing = [key for key in required if not isinstance(value, dict) or key not in value]
    if missing:
        raise ValueError(f"the answer lacks {', '.join(missing)}")


def interrupted(attempt: Attempt, error: ProviderError) -> StreamInterrupted:
    """What the reader of a stream gets that broke off, with what came of it."""
    usage, name = attempt.usage, attempt.model.name
    return StreamInterrupted(
        f"{name} broke off after {usage.output} tokens; what came is in .text: {error}",
        text=attempt.gathered.text,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cost=attempt.model.cost(usage),
        model=name,
    )
