"""The pieces of one attempt, each in time, every fault as a `ProviderError`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from math import inf
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.chat import ChatRequest, Delta, tool_pieces
from rag_memory_plugins.errors import ProviderError, ProviderTimeout
from rag_memory_plugins.router.faults import provider_error
from rag_memory_plugins.router.models import Model

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

if TYPE_CHECKING:
    from rag_memory_plugins.ports import ChatModel

__all__ = ["pieces_of", "timeout_at"]

PATIENT: Final = 10.0
"""Seconds after which silence is the provider's fault, however little time the request had."""


async def pieces_of(
    model: Model, request: ChatRequest, seconds: float, share: float = inf
) -> AsyncGenerator[Delta, None]:
    """What `model` answers, within its time-outs, at most `seconds`, begun within `share` of them.

    An answer that comes whole has begun when it is there.
    What carries no content resets no time-out: a provider that only says that it is alive is as
    good as silent. Raises `ProviderError`s; closing closes the provider's stream.
    """
    times, loop = model.timeouts, asyncio.get_running_loop()
    started = loop.time()
    end = started + min(times.total, seconds)
    streams = request.stream or bool(getattr(model.chat, "always_streams", False))
    stage, own = ("first", times.first) if streams else ("total", times.total)
    until, cut = started + min(own, share), share < own
    stream = _asked(model, request)
    try:
        while True:
            limit = min(until, end)
            try:
                async with timeout_at(limit):
                    delta = await stream.__anext__()
            except StopAsyncIteration:
                return
            except Exception as error:
                late = loop.time() >= limit
                if isinstance(error, (TimeoutError, asyncio.TimeoutError)) and late:
                    if until > end:
                        stage, cut = "total", seconds < times.total
                    raise _late(model, stage, limit - started, cut=cut) from None
                raise _named(error, model) from error
            if streams and delta.has_content:
                stage, until, cut = "between", loop.time() + times.between, False
            yield delta
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _late(model: Model, stage: str, seconds: float, *, cut: bool) -> ProviderTimeout:
    """`cut`: the request had less time than the model may take."""
    what = {
        "first": "no first piece",
        "between": "no further piece",
        "total": "no whole answer",
    }[stage]
    remedy = f"Model(timeouts=Timeouts({stage}=...))"
    if cut:
        remedy = "the request's own time is over: ChatRequest(timeout=...), Router(timeout=...)"
        if seconds < PATIENT:
            stage = "deadline"
    message = f"{model.name}: {what} after {seconds:.3g} s; {remedy}"
    return ProviderTimeout(message, stage=stage, model=model.name)


def _named(error: Exception, model: Model) -> ProviderError:
    failure = provider_error(error, model.name)
    failure.model = model.name
    return failure


def _asked(model: Model, request: ChatRequest) -> AsyncIterator[Delta]:
    chat: Any = model.chat
    if hasattr(chat, "astream"):
        stream: AsyncIterator[Delta] = chat.astream(request)
        return stream
    return _whole(chat, request)


async def _whole(chat: ChatModel, request: ChatRequest) -> AsyncIterator[Delta]:
    """The answer of a model that knows messages only, as one piece."""
    message = await chat.achat(request.messages, max_tokens=request.max_tokens)
    calls = tool_pieces(message.tool_calls)
    yield Delta(message.content, tools=calls, finish="tool_calls" if calls else "stop")
