"""The memory of a conversation as a LangChain agent middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import (
    BudgetTooSmall,
    InvalidBudget,
    InvalidInput,
    PortalError,
)
from rag_memory_plugins.langchain.binding import Binding, Naming
from rag_memory_plugins.langchain.call import Call
from rag_memory_plugins.langchain.counting import BlockCounter, schema_tokens
from rag_memory_plugins.langchain.fitting import Sent, Work, fitted_call
from rag_memory_plugins.langchain.prompt import Prompt, arranged, question, unread
from rag_memory_plugins.langchain.storing import answered, astore, unstored
from rag_memory_plugins.langchain.telling import Adjustment, marked, reason
from rag_memory_plugins.langchain.tools import bound_tools, checked_suffix
from rag_memory_plugins.langchain.turns import Turn, Turns
from rag_memory_plugins.memory.arguments import checked_level
from rag_memory_plugins.portal import strict
from rag_memory_plugins.tokens import REPLY_TOKENS

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.types import Level

__all__ = ["MemoryMiddleware"]


class MemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Gives an agent the memory of a conversation, or of the one its runtime names.

    Before every model call the request gets pins, history and what is recalled for the user's
    message; the agent's state is not rewritten. History comes from the state where a checkpointer
    or the caller supplies it, and from the log where they do not; nothing stands in it twice.

    `budget` is a hard limit for every model call: system prompt, schemas of tools and response
    format, history, recalled text and the running turn. History goes first, oldest first; then
    the turn's results of tools are shortened, then its oldest rounds go; see `fitting`. Only a
    system prompt, schemas and question that are too much by themselves raise `BudgetTooSmall`.
    What middleware behind this one adds to a request is not seen.

    The turn's messages are stored before the model is called, so a failing model loses nothing,
    and its answer after `after_model` of the middleware listed behind this one: what they make of
    an answer (PII, human review) is all that is ever stored; what those in front make of it
    replaces it at the end of the run. A message is known by its LangChain id: tool rounds and
    resumed runs store nothing twice. A memory that cannot be read costs the context, not the
    turn: the answer's `response_metadata["context_adjustment"]` and an event say so. One that
    cannot be written raises.

    `namespace` may be a function of the runtime: `lambda runtime: Namespace(...)` with what
    `context=` brought. A run without the context it needs raises `InvalidNamespace`. With `tools`
    the agent gets `search_memory`, `remember` and `forget` for the same namespace.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     MemoryMiddleware(conversation=memory.conversation("acme", "ann", "monday"))
    MemoryMiddleware('acme/ann/monday', 4000 tokens)
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        memory: Memory | None = None,
        *,
        conversation: Conversation | None = None,
        namespace: Namespace | Naming | None = None,
        budget: int | TokenBudget = 4000,
        level: Level = "user",
        tools: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._binding = Binding(memory, conversation, namespace)
        self._budget = TokenBudget.of(budget)
        self._level = checked_level(level)
        self._name = name
        self.tools = bound_tools(self._binding, level, checked_suffix(name)) if tools else []
        self._turns = Turns()
        self._schemas: tuple[list[Any], int] = ([], 0)

    @property
    def name(self) -> str:
        """What LangChain tells middleware apart by; `name=` lets several stand in one agent."""
        return self._name or type(self).__name__

    def __repr__(self) -> str:
        fixed = self._binding.fixed
        where = "by runtime" if fixed is None else repr(fixed.namespace.key)
        return f"{type(self).__name__}({where}, {self._budget.total} tokens)"

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Store the turn so far and call the model with the memory's context."""
        conversation = self._binding.of(request.runtime)
        before = self._aprepare(conversation, request)
        prepared, adjustment = conversation.portal.call(before, "wrap_model_call()")
        return marked(handler(prepared), adjustment)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Async form of `wrap_model_call`."""
        conversation = self._binding.of(request.runtime)
        before = self._aprepare(conversation, request)
        prepared, adjustment = await conversation.portal.acall(before)
        return marked(await handler(prepared), adjustment)

    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Store the model's answer."""
        self._after(state, runtime, changed=False)

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Async form of `after_model`."""
        await self._aafter(state, runtime, changed=False)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Store what middleware in front of this one made of the answer since."""
        self._after(state, runtime, changed=True)

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Async form of `after_agent`."""
        await self._aafter(state, runtime, changed=True)

    def _after(self, state: AgentState[Any], runtime: Runtime[Any], *, changed: bool) -> None:
        conversation = self._binding.of(runtime)
        where, stored = conversation.namespace.key, self._turns.stored(conversation.namespace.key)
        # Mostly nothing is new at the end of a run: then nobody waits for the portal.
        if new := unstored(answered(state["messages"]), stored, changed=changed):
            work = astore(conversation, new, stored)
            conversation.portal.call(work, "after_agent()" if changed else "after_model()")
        if changed:
            self._turns.end(where)

    async def _aafter(
        self, state: AgentState[Any], runtime: Runtime[Any], *, changed: bool
    ) -> None:
        conversation = self._binding.of(runtime)
        where, stored = conversation.namespace.key, self._turns.stored(conversation.namespace.key)
        new = unstored(answered(state["messages"]), stored, changed=changed)
        await astore(conversation, new, stored)
        if changed:
            self._turns.end(where)

    async def _aprepare(
        self, conversation: Conversation, request: ModelRequest[Any]
    ) -> tuple[ModelRequest[Any], Adjustment]:
        """The request within the budget, and what it lost; on the portal."""
        counter = BlockCounter(conversation.memory.counter)
        compute = conversation.portal.acompute  # counting a long text takes a while
        call = await compute(partial(self._call, request, counter))
        running = self._turns.of(conversation.namespace.key, call.key)
        prompt = running.prompt if call.taken <= running.taken else None
        try:
            if prompt is None:
                prompt = await self._aread(conversation, call, running, counter, "auto")
        finally:
            # Whatever reading the memory came to, what the user said is kept.
            new = unstored(call.said, running.stored, changed=True)
            await astore(conversation, new, running.stored)
        sent = await compute(partial(self._fitted, call, prompt, counter))
        if sent.removed and prompt.mode == "full":
            # Pins and the first goal stood in the history that had to go: now they come first.
            prompt = await self._aread(conversation, call, running, counter, "balanced")
            sent = await compute(partial(self._fitted, call, prompt, counter))
        adjustment = Adjustment.of(sent, call.schemas, self._available)
        adjustment.tell(conversation)
        return request.override(messages=sent.messages), adjustment  # type: ignore[arg-type]  # AnyMessage, at run time

    @property
    def _available(self) -> int:
        return self._budget.total - self._budget.completion

    def _fitted(self, call: Call, prompt: Prompt, counter: BlockCounter) -> Sent:
        room = self._available - call.schemas
        work = Work(call.system, prompt.behind(call.carried), call.turn, room)
        try:
            return fitted_call(work, counter)
        except BudgetTooSmall as error:
            taken = f" (schemas of tools and response format take {call.schemas} of it)"
            remedy = error.remedy + (taken if call.schemas else "")
            raise BudgetTooSmall("budget", self._available, remedy) from error

    async def _aread(
        self,
        conversation: Conversation,
        call: Call,
        running: Turn,
        counter: BlockCounter,
        mode: str,
    ) -> Prompt:
        """What stands round the running turn, read once a turn and kept for its tool rounds."""
        emptied = self._turns.emptied
        try:
            prompt = await self._arecall(conversation, call, counter, mode)
        except (InvalidInput, PortalError):
            raise
        except Exception as error:  # whatever a store raises: the turn goes on, and says so
            return unread(call.history, reason(error))
        self._turns.keep(running, prompt, call.taken, emptied)
        return prompt

    async def _arecall(
        self, conversation: Conversation, call: Call, counter: BlockCounter, mode: str
    ) -> Prompt:
        # The turn is not in the log yet, so the context holds nothing of it; after a resumed run
        # it is, and `arranged` leaves it out.
        limits = _limits(self._budget, call.taken, tools=call.tools)
        if limits is None:
            return Prompt(degraded=("nothing recalled: the budget has no room for it",))
        asked = question(call.turn).strip()
        acontext = partial(conversation.acontext, asked, level=self._level, mode=mode)
        try:
            context = await acontext(limits)
        except BudgetTooSmall:
            # The log ends with a question too large for this budget, which nobody answered.
            context = await acontext(replace(limits, recent=0))
        arrange = partial(arranged, call.history, call.turn, context, counter)
        return await conversation.portal.acompute(arrange)

    def _call(self, request: ModelRequest[Any], counter: BlockCounter) -> Call:
        schemas = self._schema_tokens(request, counter)
        return Call.of(request, self._available, schemas, counter)

    def _schema_tokens(self, request: ModelRequest[Any], counter: BlockCounter) -> int:
        """Tokens of the request's schemas; an agent passes the same objects with every call."""
        parts = [*request.tools, request.response_format, counter.name]
        known, tokens = self._schemas
        if len(known) != len(parts) or any(a is not b for a, b in zip(known, parts, strict=True)):
            tokens = schema_tokens(request.tools, request.response_format, counter)
            self._schemas = (parts, tokens)
        return tokens


def _limits(budget: TokenBudget, taken: int, *, tools: bool) -> TokenBudget | None:
    """What is left for memory beside the `taken` tokens; None if nothing is.

    In an agent with tools what is recalled takes at most half of it: their results come later.
    """
    try:
        left = replace(budget, system=0, question=0).less(taken + REPLY_TOKENS)
    except InvalidBudget:
        return None
    half = left.available // 2
    stated = left.retrieved is not None or "retrieved" in left.most
    if not tools or stated or left.least.get("retrieved", 0) > half:
        return left
    return replace(left, most={**left.most, "retrieved": half})
