"""Chats that LangChain and LangGraph kept elsewhere, into the log; twice stores nothing twice.

histories   session -> messages ----------------------------------------.
checkpoints thread  -> each message of all its states, newest form, ----+-> ids -> log
                       in the order and at the time it first stood there
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.langchain.convert import to_message
from rag_memory_plugins.langchain.thread_union import ThreadUnion, identified
from rag_memory_plugins.memory.asking import checked_conversation
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import blocking_function, strict
from rag_memory_plugins.types import Message

__all__ = [
    "Imported",
    "aimport_checkpoints",
    "aimport_history",
    "import_checkpoints",
    "import_history",
]

T = TypeVar("T")
Whose: TypeAlias = Namespace | Callable[[str], Namespace | None]
Histories: TypeAlias = BaseChatMessageHistory | Mapping[str, BaseChatMessageHistory]
"""One history, or several by session."""


@dataclass(frozen=True)
class Imported:
    """What an import did for one namespace: messages stored, and those the log held already.

    `changed` are ids under which the log holds other content; it was left as it is.

    >>> done = Imported(Namespace("acme", "ann", "7"), stored=3, known=2)
    >>> done.stored, done.known, done.changed
    (3, 2, ())
    """

    namespace: Namespace
    stored: int
    known: int
    changed: tuple[str, ...] = ()


@strict
async def aimport_history(
    memory: Memory, history: Histories, namespace: Whose
) -> tuple[Imported, ...]:
    """Store what a LangChain chat message history holds, or several of them by session.

    `namespace` says where to: for several a function of the session, which leaves one out by
    giving None. A message without an id gets one by what it says and how often that was said
    before. Most histories keep no times; then a message counts as said now.

    Nothing is stored for any session unless every one has a namespace of its own. Raises
    `InvalidInput`, `InvalidNamespace`, and what the history raises.
    """
    found = _whose(memory, _histories(history, namespace), namespace)
    return await _astore(memory, {n: _said(await h.aget_messages()) for n, h in found.items()})


@strict
def import_history(memory: Memory, history: Histories, namespace: Whose) -> tuple[Imported, ...]:
    """Sync form of `aimport_history`; the history is read in the calling thread.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> from rag_memory_plugins.langchain import LogChatMessageHistory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     old = LogChatMessageHistory(memory.conversation("acme", "ann", "old"))
    ...     old.add_user_message("I moved to Lisbon in May")
    ...     for _ in range(2):
    ...         [done] = import_history(memory, old, Namespace("acme", "ann", "new"))
    ...         print(done.stored, done.known)
    1 0
    0 1
    >>> folder.cleanup()
    """
    found = _whose(memory, _histories(history, namespace), namespace)
    return _store(memory, {n: _said(h.messages) for n, h in found.items()})


@strict
async def aimport_checkpoints(
    memory: Memory,
    saver: BaseCheckpointSaver[Any],
    namespace: Whose,
    threads: str | Sequence[str] | None = None,
    *,
    channel: str = "messages",
) -> tuple[Imported, ...]:
    """Store the chats that a LangGraph checkpointer holds: of one thread, of some, or of all.

    A thread's messages are those of all its checkpoints, in the order and at the time they came:
    what a summariser or a trimmer took out of the state is brought over too, and so is what a
    forked or abandoned run said. A message that was replaced under its id comes as it is now. The
    summaries of `SummarizationMiddleware` are left out unless what they sum up is gone. Subgraphs'
    own states are not read.

    `namespace` says where to: for several threads a function of the thread id, which leaves one
    out by giving None. Nothing is stored unless each has a namespace of its own. Raises
    `InvalidInput`, `InvalidNamespace`, and what the saver raises.
    """
    union = _union(saver, namespace, threads, channel)
    for config in _configs(threads):
        async for item in saver.alist(config):
            union.take(item)
    return await _astore(memory, _whose(memory, union.threads(), namespace))


@strict
def import_checkpoints(
    memory: Memory,
    saver: BaseCheckpointSaver[Any],
    namespace: Whose,
    threads: str | Sequence[str] | None = None,
    *,
    channel: str = "messages",
) -> tuple[Imported, ...]:
    """Sync form of `aimport_checkpoints`; the saver is read in the calling thread.

    >>> import tempfile, pathlib
    >>> from langgraph.checkpoint.memory import InMemorySaver
    >>> from langgraph.graph import START, MessagesState, StateGraph
    >>> from rag_memory_plugins import open_memory
    >>> graph, saver = StateGraph(MessagesState), InMemorySaver()
    >>> _ = graph.add_node("answer", lambda state: {"messages": [("ai", "Noted.")]})
    >>> bot = graph.add_edge(START, "answer").compile(checkpointer=saver)
    >>> _ = bot.invoke({"messages": ["I moved"]}, {"configurable": {"thread_id": "7"}})
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     _ = import_checkpoints(memory, saver, lambda thread: Namespace("acme", "ann", thread))
    ...     [message.content for message in memory.conversation("acme", "ann", "7").messages()]
    ['I moved', 'Noted.']
    >>> folder.cleanup()
    """
    union = _union(saver, namespace, threads, channel)
    for config in _configs(threads):
        for item in saver.list(config):
            union.take(item)
    return _store(memory, _whose(memory, union.threads(), namespace))


def _histories(history: Histories, namespace: Whose) -> Mapping[str, BaseChatMessageHistory]:
    found = history if isinstance(history, Mapping) else {"": history}
    if not all(isinstance(item, BaseChatMessageHistory) for item in found.values()):
        got = type(history).__name__
        remedy = "pass a BaseChatMessageHistory, or a mapping of them by session"
        raise InvalidInput("history", got, remedy)
    if isinstance(history, Mapping) == isinstance(namespace, Namespace):
        remedy = "pass a Namespace for one history, a function of the session for a mapping"
        raise InvalidNamespace("namespace", namespace, remedy)
    return found


def _union(
    saver: object, namespace: Whose, threads: str | Sequence[str] | None, channel: str
) -> ThreadUnion:
    if not isinstance(saver, BaseCheckpointSaver):
        got = f"{type(saver).__module__}.{type(saver).__name__}"
        raise InvalidInput("saver", got, "pass a LangGraph checkpointer")
    if isinstance(namespace, Namespace) and not isinstance(threads, str):
        remedy = "name one thread, or pass a function of the thread id as namespace"
        raise InvalidInput("threads", threads, remedy)
    return ThreadUnion(channel)


def _configs(threads: str | Sequence[str] | None) -> list[RunnableConfig | None]:
    if threads is None:
        return [None]
    named = [threads] if isinstance(threads, str) else threads
    return [{"configurable": {"thread_id": one, "checkpoint_ns": ""}} for one in named]


def _whose(memory: Memory, sources: Mapping[str, T], namespace: Whose) -> dict[Namespace, T]:
    """The sources by where they go. Raises unless each has a namespace of its own."""
    if not isinstance(namespace, Namespace) and not callable(namespace):
        remedy = "pass Namespace(tenant, user, session), or a function that gives one"
        raise InvalidNamespace("namespace", namespace, remedy)
    found: dict[Namespace, T] = {}
    for session, source in sources.items():
        place = namespace if isinstance(namespace, Namespace) else namespace(session)
        if place is None:
            continue
        checked_conversation(memory, place)
        if place in found:
            remedy = f"{session!r} and another would become one chat; give each its own"
            raise InvalidNamespace("namespace", place.key, remedy)
        found[place] = source
    return found


def _said(messages: Iterable[BaseMessage]) -> list[Message]:
    return [replace(to_message(message), id=name) for name, message in identified(messages)]


async def _astore(
    memory: Memory, found: Mapping[Namespace, Sequence[Message]]
) -> tuple[Imported, ...]:
    return tuple([await _aone(memory, place, said) for place, said in found.items()])


async def _aone(memory: Memory, place: Namespace, said: Sequence[Message]) -> Imported:
    """Store one chat: all of it or nothing."""
    conversation = memory.conversation(place)
    held = {message.id: message for message in await conversation.amessages()}
    new = [message for message in said if message.id not in held]
    known = [message for message in said if message.id in held]
    if new:
        await conversation.aadd(new)
    changed = tuple(m.id for m in known if m.digest != held[m.id].digest)
    return Imported(place, len(new), len(known) - len(changed), changed)


_store = blocking_function(_astore)
