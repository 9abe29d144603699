"""Whose memory a run uses: a fixed conversation, or the one its runtime names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.memory.arguments import checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace

if TYPE_CHECKING:
    from langgraph.prebuilt import ToolRuntime
    from langgraph.runtime import Runtime

__all__ = ["Binding", "Naming"]

Naming: TypeAlias = "Callable[[Runtime[Any] | ToolRuntime[Any, Any]], Namespace]"
"""Names the namespace of a run: by `runtime.context`, or by `langgraph.config.get_config()`."""


class Binding:
    """A conversation, or a memory and what names the namespace of each run.

    Raises `InvalidInput` and `InvalidNamespace` for arguments that do not say whose memory it is.
    """

    def __init__(
        self,
        memory: Memory | None,
        conversation: Conversation | None,
        namespace: Namespace | Naming | None,
    ) -> None:
        if (memory is None) == (conversation is None):
            raise InvalidInput(
                "memory", memory, "pass conversation=, or a memory and namespace=; not both"
            )
        if memory is not None and not isinstance(memory, Memory):
            raise InvalidInput("memory", memory, "pass what open_memory() gave")
        if conversation is not None:
            checked_conversation(conversation)
        if memory is not None and not (isinstance(namespace, Namespace) or callable(namespace)):
            raise InvalidNamespace(
                "namespace", namespace, "pass a Namespace, or a function of the runtime"
            )
        if conversation is not None and namespace is not None:
            raise InvalidNamespace("namespace", namespace, "the conversation has one already")
        if memory is not None and isinstance(namespace, Namespace):
            conversation = memory.conversation(namespace)
        self.memory = conversation.memory if conversation is not None else memory
        self.fixed = conversation
        self._namespace = namespace

    def of(self, runtime: Runtime[Any] | ToolRuntime[Any, Any] | None) -> Conversation:
        """The conversation of a run. Raises `InvalidNamespace`: a run that names none gets none."""
        if self.fixed is not None:
            return self.fixed
        assert self.memory is not None  # the constructor saw to it
        assert callable(self._namespace)
        context = getattr(runtime, "context", None)
        try:
            namespace = self._namespace(runtime)  # type: ignore[arg-type]  # None outside an agent
        except InvalidNamespace:
            raise
        except Exception as error:  # the user's function: it may fail in any way, never open
            raise InvalidNamespace(
                "namespace", context, f"its function failed ({error!r}); was context= passed?"
            ) from error
        if not isinstance(namespace, Namespace):
            if inspect.iscoroutine(namespace):
                namespace.close()
            raise InvalidNamespace("namespace", namespace, "the function must give a Namespace")
        return self.memory.conversation(namespace)
