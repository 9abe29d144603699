"""One question to any chat model, within a time, every failure typed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag_memory_plugins.errors import ChatModelError, shorten
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.ports import ChatModel

__all__ = ["MayPass", "answered", "sendable"]


class MayPass(ChatModelError):
    """Worth another try."""


async def answered(
    model: ChatModel,
    request: Sequence[Message],
    *,
    name: str,
    timeout: float,
    max_tokens: int | None = None,
) -> str:
    """What the model wrote, within `timeout` seconds; errors begin with `name`.

    Raises `MayPass` for a model that fails as models do or takes too long, `ChatModelError` for
    one that raises anything else. Cancelled, it cancels the model's call.
    """
    task = asyncio.ensure_future(model.achat(request, max_tokens=max_tokens))
    # What was given up on may still fail; asking for the error keeps asyncio from reporting it.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        # Not wait_for: that waits for a model which swallows its cancellation.
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            raise MayPass(f"{name}: no answer in {timeout:g} s")
        if task.cancelled():
            raise MayPass(f"{name}: cancelled by the model")
        return task.result().content
    except (ChatModelError, TimeoutError, asyncio.TimeoutError) as error:
        if isinstance(error, MayPass):
            raise
        raise MayPass(f"{name} failed: {shorten(error)}") from error
    except Exception as error:  # a user's model may raise anything; asking again is no use
        raise ChatModelError(f"{name} failed: {shorten(error)}") from error
    finally:
        task.cancel()


def sendable(text: str) -> str:
    """Without what a `Message` refuses: the text may come from anywhere."""
    return text.encode("utf-8", "replace").decode().replace("\x00", " ")
