"""What `attach` changes in each kind of engine and agent: the names of attributes, and new values.

Nothing that a target holds is changed: synthesizers, inner engines and agents are replaced by
copies, because others may hold them too.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.query_engine import RetrieverQueryEngine, SubQuestionQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.agents import ALL as ALL_AGENTS
from rag_memory_plugins.llama_index.agents import with_memory
from rag_memory_plugins.llama_index.apart import own_keys, own_steps
from rag_memory_plugins.llama_index.counting import as_counted
from rag_memory_plugins.llama_index.events import degraded
from rag_memory_plugins.llama_index.hybrid import HybridRetriever
from rag_memory_plugins.llama_index.retriever import MemoryRetriever
from rag_memory_plugins.llama_index.synthesis import fill
from rag_memory_plugins.llama_index.wanted import Wanted
from rag_memory_plugins.memory.media import BlockCounter

__all__ = ["RECORD", "Record", "changes_for", "replaced", "restored"]

RECORD: Final = "_rag_memory_attached"
"""The attribute in which a target keeps what it was."""
ALL: Final = 100
"""Nodes of a query engine: none that its retriever finds is left out for what was said."""
Attributes = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Record:
    """What was attached to a target: the names that were set, and what stood there before."""

    wanted: Wanted
    names: tuple[str, ...]
    before: Attributes

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        return self  # a conversation is not copied, and neither is what stood in its place


def restored(attributes: Attributes) -> dict[str, Any]:
    """A target's attributes as they were before anything was attached."""
    record: Record | None = attributes.get(RECORD)
    if record is None:
        return dict(attributes)
    ours = {RECORD, *record.names}
    return {**{k: v for k, v in attributes.items() if k not in ours}, **record.before}


def replaced(attributes: dict[str, Any], new: Attributes) -> None:
    """Make a target's attributes `new`; what stays is there at every moment."""
    attributes.update(new)
    for name in attributes.keys() - new.keys():
        del attributes[name]


def changes_for(target: object, bare: Attributes, wanted: Wanted) -> dict[str, Any]:
    """New attributes of `target`, whose own are `bare`. Raises `InvalidInput`, changing nothing."""
    for kinds, changes in _KINDS:
        if isinstance(target, kinds):
            if wanted.apart and not isinstance(target, AgentWorkflow):
                remedy = f"a {type(target).__name__} has one memory; pass one conversation"
                raise InvalidInput("conversation", list(wanted.apart), remedy)
            return changes(_Parts(target, bare), wanted)
    got = f"{type(target).__module__}.{type(target).__name__}"
    names = ", ".join(kind.__name__ for kinds, _ in _KINDS for kind in kinds)
    names = names.replace("BaseWorkflowAgent", "FunctionAgent, ReActAgent, CodeActAgent")
    raise InvalidInput("target", got, f"what can be attached to: {names}")


class _Parts:
    """A target's own attributes, by name; one that is missing makes it no target."""

    def __init__(self, target: object, bare: Attributes) -> None:
        self.target, self._bare = target, bare

    def __getitem__(self, name: str) -> Any:
        if name not in self._bare:
            got = type(self.target).__name__
            remedy = f"it has no attribute {name}, which {got} of LlamaIndex 0.13 and 0.14 have"
            raise InvalidInput("target", got, remedy)
        return self._bare[name]

    def method(self, name: str) -> Any:
        own = self._bare.get(name)
        return own or getattr(type(self.target), name).__get__(self.target)

    def has_no(self, field: str, value: object, what: str) -> None:
        if value:
            kind = type(self.target).__name__
            raise InvalidInput(field, value, f"a {kind} has no {what}; leave it out")

    def no_nodes(self, wanted: Wanted) -> None:
        self.has_no("rerank", wanted.rerank, "nodes to rerank")
        self.no_synthesizer(wanted)

    def no_synthesizer(self, wanted: Wanted) -> None:
        self.has_no("response_mode", wanted.response_mode, "response synthesizer of its own")


def _changed(parts: _Parts, **changes: Any) -> dict[str, Any]:
    """Those of `changes` that are another object than what is in place."""
    return {name: value for name, value in changes.items() if value is not parts[name]}


def _retriever_engine(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    own = parts["_node_postprocessors"]
    after = wanted.after(2 / 3)  # the rest is for templates and the question
    said = MemoryRetriever(wanted.conversation, level=wanted.level)
    found = HybridRetriever(parts["_retriever"], memory=said, limit=ALL)
    return _changed(
        parts,
        _retriever=found,
        _node_postprocessors=[*own, *after] if after else own,
        _response_synthesizer=wanted.synthesizer(parts["_response_synthesizer"]),
    )


def _sub_question_engine(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    engines = parts["_query_engines"]
    can = {name: engine for name, engine in engines.items() if isinstance(engine, _QUERY)}
    if not can:
        names = ", ".join(kind.__name__ for kind in _QUERY)
        raise InvalidInput("target", list(engines), f"none of its tools has one of: {names}")
    made = {name: _attached_copy(engine, wanted) for name, engine in can.items()}
    for name in engines.keys() - can.keys():
        reason = f"tool {name!r} is without memory: {type(engines[name]).__name__}"
        degraded("attach(SubQuestionQueryEngine)", reason)
    return _changed(
        parts,
        _query_engines={**engines, **made},
        _response_synthesizer=wanted.synthesizer(parts["_response_synthesizer"]),
        _question_gen=_with_llm(parts["_question_gen"], "_llm", wanted),
    )


def _simple_chat(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    parts.no_nodes(wanted)
    return _changed(parts, _memory=wanted.memory(), _llm=wanted.model(parts["_llm"]))


def _retrieving_chat(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    parts.no_synthesizer(wanted)
    own = parts["_node_postprocessors"]
    after = wanted.after(1 / 4)
    changes = _changed(
        parts,
        _memory=wanted.memory(beside=True),
        _llm=wanted.model(parts["_llm"]),
        _node_postprocessors=[*own, *after] if after else own,
    )
    if wanted.limit is not None:
        name = "_get_response_synthesizer"
        counter = BlockCounter(wanted.conversation.memory.counter)
        changes[name] = _filling(parts.method(name), wanted.limit, counter)
    return changes


def _filling(
    make: Callable[..., BaseSynthesizer], limit: int, counter: BlockCounter
) -> Callable[..., BaseSynthesizer]:
    """`make`, whose synthesizers leave history to the limited model.

    LlamaIndex takes the whole history off what nodes may fill, and fails when nothing is left. The
    limited model leaves out history where the request is too long.
    """

    @functools.wraps(make)
    def made(chat_history: list[ChatMessage], *args: Any, **kwargs: Any) -> BaseSynthesizer:
        synthesizer = make(chat_history, *args, **kwargs)
        history = counter.count_messages([as_counted(chat, counter) for chat in chat_history])
        window = synthesizer._prompt_helper.context_window  # noqa: SLF001  # no public door
        fill(synthesizer, window + history, limit)
        return synthesizer

    return made


def _condensing_chat(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    engine = parts["_query_engine"]
    if isinstance(engine, _QUERY):
        engine = _attached_copy(engine, wanted)
    else:
        parts.no_nodes(wanted)
    return _changed(
        parts,
        _memory=wanted.memory(beside=True),
        _llm=wanted.model(parts["_llm"]),
        _query_engine=engine,
    )


def _agent(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    parts.no_nodes(wanted)
    own = {ALL_AGENTS: wanted.memory()}
    run = with_memory(parts.method("run"), parts.method("_init_context"), own)
    return {**run, **_changed(parts, llm=wanted.model(parts["llm"]))}


def _agents(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    parts.no_nodes(wanted)
    if wanted.apart:
        return _agents_apart(parts, wanted)
    shared = {ALL_AGENTS: wanted.memory()}
    run = with_memory(parts.method("run"), parts.method("_init_context"), shared)
    agents = {name: _with_llm(agent, "llm", wanted) for name, agent in parts["agents"].items()}
    same = all(agent is parts["agents"][name] for name, agent in agents.items())
    return run if same else {**run, "agents": agents}


def _agents_apart(parts: _Parts, wanted: Wanted) -> dict[str, Any]:
    """Each agent of a workflow, in a copy, with a memory of its own."""
    agents = parts["agents"]
    if agents.keys() != wanted.apart.keys():
        got, names = list(wanted.apart), ", ".join(agents)
        raise InvalidInput("conversation", got, f"pass one for each of the agents: {names}")
    memories = {name: wanted.of(name).memory() for name in agents}
    made = {}
    for place, (name, agent) in enumerate(agents.items()):
        bare = restored(vars(agent))
        made[name] = copy.copy(agent)
        llm = wanted.of(name).model(bare["llm"])
        replaced(vars(made[name]), {**bare, **own_keys(agent, place), "llm": llm})
        vars(made[name]).update(own_steps(made[name], memories))
    run = with_memory(parts.method("run"), parts.method("_init_context"), memories)
    return {**run, "agents": made}


def _attached_copy(engine: Any, wanted: Wanted) -> Any:
    made = copy.copy(engine)
    bare = restored(vars(made))
    replaced(vars(made), {**bare, **changes_for(made, bare, wanted)})
    return made


def _with_llm(owner: Any, name: str, wanted: Wanted) -> Any:
    """`owner`, or a copy of it with another model where it has one."""
    bare = restored(vars(owner))
    llm = bare.get(name)
    if not isinstance(llm, LLM) or wanted.model(llm) is llm:
        return owner
    made = copy.copy(owner)
    replaced(vars(made), {**bare, name: wanted.model(llm)})
    return made


_QUERY: Final = (RetrieverQueryEngine, SubQuestionQueryEngine)
_KINDS: Final[tuple[tuple[tuple[type, ...], Callable[[_Parts, Wanted], dict[str, Any]]], ...]] = (
    ((RetrieverQueryEngine,), _retriever_engine),
    ((SubQuestionQueryEngine,), _sub_question_engine),
    ((SimpleChatEngine,), _simple_chat),
    ((ContextChatEngine, CondensePlusContextChatEngine), _retrieving_chat),
    ((CondenseQuestionChatEngine,), _condensing_chat),
    ((BaseWorkflowAgent,), _agent),
    ((AgentWorkflow,), _agents),
)
