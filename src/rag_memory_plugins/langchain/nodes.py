"""A graph's nodes that ask a model: they see messages within a budget, and the state stays."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.channels import LastValue
from langgraph.graph import StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import BaseModel

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Event
from rag_memory_plugins.langchain.convert import said, same, to_message
from rag_memory_plugins.langchain.limited import asked_with, marked_answer, parted, prepared
from rag_memory_plugins.langchain.marking import injected
from rag_memory_plugins.langchain.middleware import MemoryMiddleware
from rag_memory_plugins.langchain.wanted import Wanted
from rag_memory_plugins.portal import get_portal

__all__ = ["attached_graph", "attached_to", "detached_graph", "is_graph"]

_AGENT: Final = "langchain_create_agent"
"""What `create_agent` writes into the metadata of its graphs."""
_MODEL: Final = "model"
"""The node of such a graph that asks the model."""


def is_graph(target: object) -> bool:
    """Whether it is a graph of nodes with a state."""
    return isinstance(target, (StateGraph, CompiledStateGraph))


def attached_graph(graph: Any, wanted: Wanted) -> Any:
    """A copy of a graph whose nodes that ask a model see the memory. Raises `InvalidInput`."""
    keys = ("output_messages_key", "history_messages_key")
    wanted.refuse("graph", rerank="documents to rerank", **dict.fromkeys(keys, "such key"))
    compiled = isinstance(graph, CompiledStateGraph)
    builder: Any = graph.builder if compiled else graph
    key = wanted.input_messages_key or "messages"
    _check_state(builder, key)
    names = _asking(graph, builder, wanted)
    middleware = wanted.middleware(unseen=True)

    def change(name: str, runnable: Any) -> Any:
        return RecallingNode(runnable, middleware, key, wanted) if name in names else runnable

    made = _with_nodes(builder, change)
    if not compiled:
        return made
    nodes = {
        name: node.copy({"bound": change(name, node.bound)}) for name, node in graph.nodes.items()
    }
    return graph.copy({"nodes": nodes, "builder": made})


def attached_to(graph: Any) -> Wanted | None:
    """What is attached to a graph, however it was compiled or configured since."""
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else graph
    nodes = graph.nodes.values() if builder is not graph else builder.nodes.values()
    inner = [getattr(node, "bound", None) or getattr(node, "runnable", None) for node in nodes]
    return next((node.wanted for node in inner if isinstance(node, RecallingNode)), None)


def detached_graph(graph: Any) -> Any:
    """A copy of a graph with its nodes as they were; itself if nothing is attached to it."""
    if attached_to(graph) is None:
        return graph
    compiled = isinstance(graph, CompiledStateGraph)
    builder = _with_nodes(graph.builder if compiled else graph, _unwrapped)
    if not compiled:
        return builder
    nodes = {
        name: node.copy({"bound": _unwrapped(name, node.bound)})
        for name, node in graph.nodes.items()
    }
    return graph.copy({"nodes": nodes, "builder": builder})


def _unwrapped(_: str, runnable: Any) -> Any:
    return runnable.inner if isinstance(runnable, RecallingNode) else runnable


def _with_nodes(builder: Any, change: Callable[[str, Any], Any]) -> Any:
    """A copy of a graph that is not compiled, with what `change` makes of its nodes' runnables."""
    made = copy.copy(builder)
    for name, value in vars(builder).items():
        setattr(made, name, copy.copy(value))
    made.branches = defaultdict(dict, {name: {**ends} for name, ends in builder.branches.items()})
    for name, spec in builder.nodes.items():
        made.nodes[name] = replace(spec, runnable=change(name, spec.runnable))
    return made


def _check_state(builder: Any, key: str) -> None:
    channel = builder.channels.get(key)
    if channel is None:
        got, names = key, ", ".join(builder.channels)
        remedy = f"its state has no such key; pass input_messages_key=, one of: {names}"
        raise InvalidInput("target", got, remedy)
    if isinstance(channel, LastValue):
        remedy = "its state keeps only what a node gives last; use Annotated[list, add_messages]"
        raise InvalidInput("target", key, remedy)


def _asking(graph: Any, builder: Any, wanted: Wanted) -> Sequence[str]:
    """The nodes that ask a model."""
    names = [
        name for name, spec in builder.nodes.items() if not isinstance(spec.runnable, ToolNode)
    ]
    listed = ", ".join(names)
    for name in wanted.nodes:
        if name not in names:
            raise InvalidInput("nodes", name, f"it has no such node that may ask a model: {listed}")
    if wanted.nodes:
        return wanted.nodes
    config = getattr(graph, "config", None) or {}
    if config.get("metadata", {}).get("ls_integration") == _AGENT and _MODEL in names:
        return [_MODEL]
    if len(names) != 1:
        remedy = f"pass the names of the nodes that ask a model, of: {listed}"
        raise InvalidInput("nodes", (), remedy)
    return names


@dataclass(frozen=True)
class _Shown:
    """What the state holds but its system message, what a node sees, and what was lost."""

    held: list[BaseMessage]
    seen: dict[str | None, BaseMessage]
    mark: dict[str, Any]


class RecallingNode(Runnable[Any, Any]):
    """A node that sees history, what is recalled, and the running turn in place of all messages.

    What it gives back goes into the state as it is, without what the memory put in.
    """

    def __init__(
        self, inner: Runnable[Any, Any], middleware: MemoryMiddleware, key: str, wanted: Wanted
    ) -> None:
        self.inner = inner
        self.wanted = wanted
        self._middleware = middleware
        self._key = key
        self.name = getattr(inner, "name", None)

    def invoke(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the node on what it may see of the state."""
        portal = get_portal()
        state, shown = portal.call(self._ashown(input), "invoke()")
        output = self._kept(self.inner.invoke(state, config, **kwargs), shown)
        portal.call(self._astore(output, shown), "invoke()")
        return output

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Async form of `invoke`."""
        portal = get_portal()
        state, shown = await portal.acall(self._ashown(input))
        output = self._kept(await self.inner.ainvoke(state, config, **kwargs), shown)
        await portal.acall(self._astore(output, shown))
        return output

    async def _ashown(self, state: Any) -> tuple[Any, _Shown]:
        held = asked_with(list(_got(state, self._key) or ()))
        if not held:
            return state, _Shown([], {}, {})
        system, rest = parted(held)
        sent, mark = await prepared(self._middleware, system, rest)
        return _set(state, self._key, sent), _Shown(rest, {m.id: m for m in sent}, mark)

    async def _astore(self, output: Any, shown: _Shown) -> None:
        new = list(_messages(output, self._key))
        if not new:
            return
        state: Any = {"messages": [*shown.held, *new]}
        if isinstance(new[-1], AIMessage) and not new[-1].tool_calls:
            await self._middleware.aafter_agent(state, Runtime())
        else:
            await self._middleware.aafter_model(state, Runtime())

    def _kept(self, output: Any, shown: _Shown) -> Any:
        """`output` without what the node was only shown."""
        if isinstance(output, Command):
            if isinstance(output.update, (list, tuple)):
                pairs = [
                    (k, self._own(v, shown) if k == self._key else v) for k, v in output.update
                ]
                return replace(output, update=pairs)
            return replace(output, update=self._kept(output.update, shown))
        if isinstance(output, (list, tuple)):
            return [self._kept(item, shown) for item in output]
        given = _got(output, self._key)
        return output if given is None else _set(output, self._key, self._own(given, shown))

    def _own(self, given: Any, shown: _Shown) -> list[Any]:
        """Messages of a node that the state shall get."""
        items = list(given) if isinstance(given, (list, tuple)) else [given]
        kept: list[Any] = []
        for item in items:
            if isinstance(item, RemoveMessage) and item.id == REMOVE_ALL_MESSAGES:
                self._tell_kept()  # what it was shown is not what the state holds
                continue
            if not isinstance(item, BaseMessage) or isinstance(item, RemoveMessage):
                kept.append(item)
            elif not injected(item) and not _is_seen(item, shown):
                kept.append(marked_answer(said(item), shown.mark))
        return kept

    def _tell_kept(self) -> None:
        talk = self.wanted.conversation
        reasons = [
            "an order to remove all messages was not followed: its node did not see them all"
        ]
        event = Event("attach.degraded", talk.namespace.scope.key, data={"reasons": reasons})
        talk.memory.emit(event)


def _is_seen(message: BaseMessage, shown: _Shown) -> bool:
    seen = shown.seen.get(message.id) if message.id else None
    return seen is not None and (
        seen is message or same(to_message(seen)) == same(to_message(message))
    )


def _messages(output: Any, key: str) -> Iterable[BaseMessage]:
    """The messages of what a node gave."""
    if isinstance(output, Command):
        yield from _messages(output.update, key)
    elif isinstance(output, (list, tuple)):
        for item in output:
            pair = isinstance(item, tuple) and len(item) == 2 and item[0] == key
            yield from _messages({key: item[1]} if pair else item, key)
    else:
        given = _got(output, key)
        items = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
        for item in items:
            if isinstance(item, BaseMessage) and not isinstance(item, RemoveMessage):
                yield item


def _got(state: Any, key: str) -> Any:
    if isinstance(state, Mapping):
        return state.get(key)
    return (
        getattr(state, key, None) if is_dataclass(state) or isinstance(state, BaseModel) else None
    )


def _set(state: Any, key: str, messages: list[Any]) -> Any:
    """A copy of a state, or of what a node gave, with other messages."""
    if isinstance(state, Mapping):
        return {**state, key: messages}
    if isinstance(state, BaseModel):
        return state.model_copy(update={key: messages})
    return replace(state, **{key: messages})
