"""Whose memory a retrieval is for: fixed, or asked for every time. It fails closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace

__all__ = ["whose"]


def whose(
    memory: Conversation | Memory, namespace: Namespace | Callable[..., Namespace] | None
) -> Callable[..., Conversation]:
    """What gives the conversation to search; it hands its arguments to a function `namespace`.

    Raises `InvalidInput` and `InvalidNamespace`; the latter also when it is called and the
    function fails or gives anything but a `Namespace`.
    """
    if isinstance(memory, Conversation):
        if namespace is not None:
            raise InvalidNamespace("namespace", namespace, "the conversation has one already")
        return lambda *_: memory
    if not isinstance(memory, Memory):
        remedy = "pass memory.conversation(tenant, user, session), or a memory and namespace="
        raise InvalidInput("conversation", memory, remedy)
    if isinstance(namespace, Namespace):
        conversation = memory.conversation(namespace)
        return lambda *_: conversation
    if not callable(namespace):
        remedy = "pass a Namespace or a function that gives one, or a conversation alone"
        raise InvalidNamespace("namespace", namespace, remedy)
    return lambda *given: _asked(memory, namespace, given)


def _asked(
    memory: Memory, namespace: Callable[..., Namespace], given: tuple[Any, ...]
) -> Conversation:
    try:
        named = namespace(*given)
    except InvalidNamespace:
        raise
    except Exception as error:  # the user's function: it may fail in any way, never open
        raise InvalidNamespace("namespace", namespace, f"it failed ({error!r})") from error
    if not isinstance(named, Namespace):
        raise InvalidNamespace("namespace", named, "the function must give a Namespace")
    return memory.conversation(named)
