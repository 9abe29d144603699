"""A conversation's memory as LangChain tools, bound to their namespace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from langchain_core.messages import BaseMessage
from langchain_core.tools import InjectedToolArg, StructuredTool
from langgraph.prebuilt import ToolRuntime

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.langchain.binding import Binding, Naming
from rag_memory_plugins.langchain.prompt import turn_start
from rag_memory_plugins.memory.arguments import checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.notes import aforgotten, anoted, asearched, astated
from rag_memory_plugins.portal import strict

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.types import Level

__all__ = ["bound_tools", "checked_suffix", "memory_tools"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What providers take in the name of a tool."""
_Given = Annotated[Any, InjectedToolArg]
"""Set by LangGraph. Not typed as `ToolRuntime`: of that pydantic would make one of a model's words."""


@strict
def memory_tools(
    memory: Memory | Conversation,
    *,
    namespace: Namespace | Naming | None = None,
    level: Level = "user",
    name: str | None = None,
    facts: bool = False,
) -> list[BaseTool]:
    """`search_memory`, `remember` and `forget` for an agent or a `ToolNode`.

    With `facts` also `remember_fact`, which states a subject, a predicate and an object; such a fact
    is always by "tool", whatever the model writes.

    `memory` is a conversation, or a memory with `namespace`, which may be a function of the
    tool's runtime. The model says what to search, note or forget, never whose: it reaches the
    user's sessions (`level="session"`: this one) and nothing else. It may forget messages by id,
    and by their exact text what the user said or it noted itself. Notes have
    `rag_memory_remembered` in their metadata. `name` goes behind the tools' names, where an agent
    has several memories.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     search, remember, forget = memory_tools(memory.conversation("acme", "ann", "monday"))
    ...     _ = remember.invoke({"text": "Ann lives in Lisbon"})
    ...     "Ann lives in Lisbon" in search.invoke({"query": "Where does Ann live?"})
    True
    >>> folder.cleanup()
    """
    conversation = memory if isinstance(memory, Conversation) else None
    binding = Binding(None if conversation else memory, conversation, namespace)  # type: ignore[arg-type]
    suffix = checked_suffix(name)
    return [*bound_tools(binding, level, suffix), *([_fact_tool(binding, suffix)] if facts else [])]


def checked_suffix(name: str | None) -> str:
    """What stands behind the names of tools. Raises `InvalidInput`."""
    if name is None:
        return ""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        remedy = "names of tools are made of it: up to 40 letters, digits, _ and -"
        raise InvalidInput("name", name, remedy)
    return f"_{name}"


def bound_tools(binding: Binding, level: Level, suffix: str) -> list[BaseTool]:
    """The three tools of a binding; see `memory_tools`."""
    level = checked_level(level)

    def search_memory(
        query: Annotated[str, "What to look for, in a few words or as a question"],
        limit: Annotated[int, "How many messages, 1 to 20"] = 5,
        runtime: _Given = None,
    ) -> str:
        """Search what was said in this and earlier conversations with the user, and your notes."""
        whose = _whose(binding, runtime)
        work = asearched(whose, query, limit, level, _running(runtime))
        return whose.portal.call(work, "search_memory()")

    def remember(
        text: Annotated[str, "One statement that is understood without this conversation"],
        runtime: _Given = None,
    ) -> str:
        """Note something about the user or the work for later conversations."""
        whose = _whose(binding, runtime)
        return whose.portal.call(anoted(whose, text), "remember()")

    def forget(
        ids: Annotated[list[str] | None, "Ids of messages, as search_memory gave them"] = None,
        text: Annotated[str, "The exact text of what the user said or you noted"] = "",
        runtime: _Given = None,
    ) -> str:
        """Erase messages for good, if the user asks for it. It cannot be undone."""
        whose = _whose(binding, runtime)
        return whose.portal.call(aforgotten(whose, ids or [], text, level), "forget()")

    async def asearch(query: str, limit: int = 5, runtime: _Given = None) -> str:
        whose = _whose(binding, runtime)
        return await asearched(whose, query, limit, level, _running(runtime))

    async def anote(text: str, runtime: _Given = None) -> str:
        return await anoted(_whose(binding, runtime), text)

    async def aforget(ids: list[str] | None = None, text: str = "", runtime: _Given = None) -> str:
        return await aforgotten(_whose(binding, runtime), ids or [], text, level)

    pairs = ((search_memory, asearch), (remember, anote), (forget, aforget))
    return [
        StructuredTool.from_function(sync, coroutine, name=f"{sync.__name__}{suffix}")
        for sync, coroutine in pairs
    ]


def _fact_tool(binding: Binding, suffix: str) -> BaseTool:
    def remember_fact(
        subject: Annotated[str, 'Whom or what it is about, by name; "user" for the user'],
        predicate: Annotated[str, 'How they stand to each other, such as "lives in"'],
        object: Annotated[str, "The value, or the name of another person or thing"],  # noqa: A002
        valid_from: Annotated[str, "The day it began, such as 2024-05-31; empty for today"] = "",
        runtime: _Given = None,
    ) -> str:
        """State one fact for later conversations; of the same kind, it takes the last one's place."""
        whose = _whose(binding, runtime)
        work = astated(whose, subject, predicate, object, valid_from)
        return whose.portal.call(work, "remember_fact()")

    async def astate(
        subject: str,
        predicate: str,
        object: str,  # noqa: A002  # the third part of a triple, as the field calls it
        valid_from: str = "",
        runtime: _Given = None,
    ) -> str:
        return await astated(_whose(binding, runtime), subject, predicate, object, valid_from)

    return StructuredTool.from_function(remember_fact, astate, name=f"remember_fact{suffix}")


def _whose(binding: Binding, runtime: object) -> Conversation:
    """The conversation of a run. Raises `InvalidNamespace`; what a model wrote is no runtime."""
    if binding.fixed is None and not isinstance(runtime, ToolRuntime):
        raise InvalidNamespace(
            "runtime", runtime, "run the tool in create_agent or a ToolNode, which name the user"
        )
    return binding.of(runtime)  # type: ignore[arg-type]  # not looked at if it is fixed


def _running(runtime: object) -> set[str]:
    """Ids of the messages of the turn that a tool is called in."""
    state = runtime.state if isinstance(runtime, ToolRuntime) else []
    if not isinstance(state, list):
        given = state.get("messages") if isinstance(state, Mapping) else None
        state = given or getattr(state, "messages", [])  # a state may be an object
    found = [message for message in state if isinstance(message, BaseMessage)]
    return {message.id for message in found[turn_start(found) :] if message.id}
