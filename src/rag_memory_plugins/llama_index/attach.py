"""A conversation's memory in an engine or agent that exists: `attach` and `detach`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from llama_index.core.llms.llm import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.llama_index.attaching import (
    RECORD,
    Record,
    changes_for,
    replaced,
    restored,
)
from rag_memory_plugins.llama_index.wanted import Wanted
from rag_memory_plugins.memory.arguments import checked_conversation, checked_level
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

__all__ = ["attach", "detach"]

T = TypeVar("T")


@strict
def attach(
    target: T,
    conversation: Conversation | Mapping[str, Conversation],
    *,
    rerank: BaseNodePostprocessor | Sequence[BaseNodePostprocessor] | None = None,
    budget: int | TokenBudget | None = None,
    llm: LLM | None = None,
    response_mode: bool = False,
    level: Level = "user",
) -> T:
    """Give `target` the memory of `conversation`, and return it.

    | target | what changes |
    |---|---|
    | RetrieverQueryEngine | its retriever finds what was said too; it stores nothing |
    | SubQuestionQueryEngine | the same for the engines of its tools, in copies of them |
    | SimpleChatEngine, ContextChatEngine, CondensePlusContextChatEngine | the memory |
    | CondenseQuestionChatEngine | the memory, and its query engine in a copy |
    | FunctionAgent, ReActAgent, CodeActAgent | the memory of `run()` |
    | AgentWorkflow | the memory of `run()`: one for all its agents, or one for each |

    A chat engine's retriever stays as it is: its memory recalls, and nothing stands in the prompt
    twice. `rerank` comes behind the postprocessors in place. With `budget` no chat request is
    larger (`LimitedLLM`). Of a number, recent and recalled turns get a quarter each, facts and
    summary an eighth each, at most; where nodes stand beside it, the memory gets half and the
    nodes a quarter; a query engine's nodes get two thirds. A `TokenBudget` is the memory's
    own, and its total without the completion the limit. `llm` takes the place of the target's.
    `response_mode=True` answers each query of a query engine in the mode that `retrieval.packing`
    recommends for its nodes: compact, or tree_summarize. What is recalled is of all the user's
    sessions (`level="session"`: of the conversation's).

    An AgentWorkflow whose agents remember each for itself is given a mapping of conversations by
    the agents' names, of one user. Every agent then stores its own part of a turn and is asked with
    its own history; the one that a request is handed to gets the user's message, and what was said
    at the handoff for as long as the turn lasts.

    Attaching the same again changes nothing, another conversation takes the place of the first.
    Parts of the target that others may hold are replaced by copies, never changed, and `Settings`
    is left alone. An agent's `run(memory=...)` may name a ScopedMemory of the same namespace;
    another memory, or a Context that holds one, raises `InvalidNamespace`. A copy of an attached
    agent runs as the agent it was made of. Raises `InvalidInput` for what cannot be attached to,
    or an option that has no place there, and then changes nothing.

    >>> import tempfile, pathlib
    >>> from llama_index.core.chat_engine import SimpleChatEngine
    >>> from llama_index.core.llms import MockLLM
    >>> from llama_index.core.memory import ChatMemoryBuffer
    >>> from rag_memory_plugins import open_memory
    >>> engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=ChatMemoryBuffer(token_limit=99))
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = attach(engine, ann).chat("I moved to Lisbon in May")
    ...     ann.messages()[0].content
    'I moved to Lisbon in May'
    >>> folder.cleanup()
    """
    wanted = _wanted(conversation, rerank, budget, llm, response_mode, level)
    attributes = _attributes(target)
    record: Record | None = attributes.get(RECORD)
    if record is not None and record.wanted.same(wanted):
        return target
    bare = attributes if record is None else restored(attributes)
    changes = changes_for(target, bare, wanted)
    before = {name: bare[name] for name in changes if name in bare}
    replaced(attributes, {**bare, **changes, RECORD: Record(wanted, tuple(changes), before)})
    return target


def detach(target: T) -> T:
    """Take off what `attach` put on: every attribute is the object it was. Returns `target`.

    Without an attachment nothing changes.
    """
    attributes = _attributes(target)
    if RECORD in attributes:
        replaced(attributes, restored(attributes))
    return target


def _attributes(target: object) -> dict[str, Any]:
    # Not setattr: pydantic would note a field as set by the user, and refuse a method.
    return vars(target) if hasattr(target, "__dict__") else {}


def _wanted(
    conversation: object,
    rerank: object,
    budget: object,
    llm: object,
    response_mode: object,
    level: str,
) -> Wanted:
    """The arguments, checked. Raises `InvalidInput`, naming the one that is wrong."""
    apart = _of_one_user(conversation) if isinstance(conversation, Mapping) else {}
    chosen = next(iter(apart.values())) if apart else checked_conversation(conversation)
    last = rerank if isinstance(rerank, (list, tuple)) else [] if rerank is None else [rerank]
    if not all(isinstance(item, BaseNodePostprocessor) for item in last):
        raise InvalidInput("rerank", rerank, "pass a LlamaIndex node postprocessor, or a list")
    if budget is not None:
        TokenBudget.of(budget)  # type: ignore[arg-type]  # it says what it wants
    if llm is not None and not isinstance(llm, LLM):
        raise InvalidInput("llm", type(llm).__name__, "pass a LlamaIndex LLM")
    if not isinstance(response_mode, bool):
        raise InvalidInput("response_mode", response_mode, "pass True or False")
    known = checked_level(level)
    return Wanted(chosen, tuple(last), budget, llm, response_mode, known, apart)  # type: ignore[arg-type]


def _of_one_user(conversations: Mapping[Any, Any]) -> dict[str, Conversation]:
    """Conversations by the names of agents, of one memory and user."""
    found = {str(name): checked_conversation(item) for name, item in conversations.items()}
    whose = {(id(item.memory), item.namespace.scope) for item in found.values()}
    if len(whose) > 1:
        names = [item.namespace.key for item in found.values()]
        remedy = "the agents of a workflow serve one user; pass sessions of one, of one memory"
        raise InvalidNamespace("conversation", names, remedy)
    return found
