"""A conversation's memory in an agent, graph, chain, model or retriever: `attach` and `detach`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.retrievers import BaseRetriever

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.chains import attached_chain, is_chain
from rag_memory_plugins.langchain.limited import RememberingModel, is_model
from rag_memory_plugins.langchain.nodes import (
    attached_graph,
    attached_to,
    detached_graph,
    is_graph,
)
from rag_memory_plugins.langchain.wanted import Wanted, record_of, recorded
from rag_memory_plugins.memory.arguments import checked_conversation, checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

__all__ = ["attach", "detach"]

_KEYS: Final = ("input_messages_key", "output_messages_key", "history_messages_key")


@strict
def attach(
    target: Any,
    conversation: Conversation,
    *,
    rerank: BaseDocumentCompressor | Sequence[BaseDocumentCompressor] | None = None,
    budget: int | TokenBudget | None = None,
    level: Level = "user",
    nodes: str | Sequence[str] = (),
    input_messages_key: str | None = None,
    output_messages_key: str | None = None,
    history_messages_key: str | None = None,
) -> Any:
    """What to use in place of `target`, with the memory of `conversation` in it.

    | target | what is given back |
    |---|---|
    | agent of `create_agent`, compiled graph | a graph of the same nodes; those that ask a model \
see history and what is recalled, and what they are asked and answer is stored |
    | `StateGraph` | the same, not compiled yet |
    | chat model, also with tools or fallbacks bound | a runnable that recalls, asks and stores |
    | chain with a `MessagesPlaceholder` | a chain whose history is the memory's |
    | chain with a retriever and no placeholder | its retriever finds what was said, too; it \
stores nothing |
    | chain that begins with a chat model | its model remembers |
    | retriever | a retriever that finds what was said, too; it stores nothing |

    `target` is left as it is. `rerank` comes behind what a retriever found. `budget` is a hard limit
    for every request to a chat model that can be seen: of a model or chain the whole request, with
    schemas of tools; of a graph the messages, so state in `TokenBudget(system=)` what its nodes add
    (system prompt, schemas). The memory's own budget when left out; a retriever has none then.
    Documents get a quarter of a stated one beside a history, and two thirds without.

    `nodes` are those of a graph that ask a model; known of an agent, and of a graph that has one
    besides its `ToolNode`. The keys are those of `RunnableWithMessageHistory`, and needed where
    names do not say it; of a graph `input_messages_key` is the state's key of messages. What is
    recalled is of all the user's sessions (`level="session"`: of the conversation's).

    Attaching the same again gives back the same, another conversation takes the place of the first.
    Raises `InvalidInput` for what cannot be attached to, or an option that has no place there.

    >>> import tempfile, pathlib
    >>> from langchain_core.language_models import FakeListChatModel
    >>> from rag_memory_plugins import open_memory
    >>> folder, model = tempfile.TemporaryDirectory(), FakeListChatModel(responses=["Noted."])
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = attach(model, ann).invoke("I moved to Lisbon in May")
    ...     [message.content for message in ann.messages()]
    ['I moved to Lisbon in May', 'Noted.']
    >>> folder.cleanup()
    """
    keys = (input_messages_key, output_messages_key, history_messages_key)
    wanted = _wanted(conversation, rerank, budget, level, nodes, keys)
    if is_graph(target):
        there = attached_to(target)
        same = there is not None and there.same(wanted)
        return target if same else attached_graph(detached_graph(target), wanted)
    record = record_of(target)
    if record is not None and record.wanted.same(wanted):
        return target
    bare = target if record is None else record.target
    return recorded(_made(bare, wanted), bare, wanted)


def detach(target: Any) -> Any:
    """What `attach` was given for `target`; itself if nothing was attached.

    Of a graph, a copy with the nodes as they were: what was configured since stays.
    """
    if is_graph(target):
        return detached_graph(target)
    record = record_of(target)
    return target if record is None else record.target


def _made(target: Any, wanted: Wanted) -> Any:
    """`target` with a memory. Raises `InvalidInput`."""
    kind = type(target).__name__
    nothing = dict.fromkeys(_KEYS, "such key")
    if is_model(target):
        options = {"rerank": "documents to rerank", "nodes": "nodes of a graph", **nothing}
        wanted.refuse(kind, **options)
        return RememberingModel(target, wanted.middleware(), wanted.conversation)
    if isinstance(target, BaseRetriever):
        wanted.refuse(kind, nodes="nodes of a graph", **nothing)
        return wanted.compressed(wanted.retriever(target), 1)
    if is_chain(target):
        return attached_chain(target, wanted)
    remedy = (
        "what can be attached to: a graph (agent, StateGraph), a chain, a chat model, a retriever; "
        "an agent that is not made yet takes create_agent(middleware=middleware(conversation))"
    )
    raise InvalidInput("target", f"{type(target).__module__}.{kind}", remedy)


def _wanted(
    conversation: object,
    rerank: object,
    budget: object,
    level: str,
    nodes: object,
    keys: tuple[str | None, str | None, str | None],
) -> Wanted:
    """The arguments, checked. Raises `InvalidInput`, naming the one that is wrong."""
    chosen = checked_conversation(conversation)
    last = rerank if isinstance(rerank, (list, tuple)) else [] if rerank is None else [rerank]
    if not all(isinstance(item, BaseDocumentCompressor) for item in last):
        raise InvalidInput("rerank", rerank, "pass a LangChain document compressor, or a list")
    if budget is not None:
        TokenBudget.of(budget)  # type: ignore[arg-type]  # it says what it wants
    named = [nodes] if isinstance(nodes, str) else nodes
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise InvalidInput("nodes", nodes, "pass names of the graph's nodes, each a str")
    for name, key in zip(_KEYS, keys, strict=True):
        if key is not None and not (isinstance(key, str) and key):
            raise InvalidInput(name, key, "pass a key, a str")
    known = checked_level(level)
    return Wanted(chosen, tuple(last), budget, known, tuple(named), *keys)  # type: ignore[arg-type]
