"""The memory of one conversation as a LlamaIndex chat memory."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory
from pydantic import PrivateAttr

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall
from rag_memory_plugins.llama_index import events, trust
from rag_memory_plugins.llama_index.compat import SEES_RUNS, memory_of_run
from rag_memory_plugins.llama_index.convert import put_in, render, to_chat, to_messages
from rag_memory_plugins.llama_index.turn import Asked, Turn, beside, since_question
from rag_memory_plugins.memory.arguments import checked_conversation
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.overlapping import aknown, aunknown
from rag_memory_plugins.memory.units import SHORTENED
from rag_memory_plugins.portal import blocking, strict
from rag_memory_plugins.results import Context
from rag_memory_plugins.tokens import REPLY_TOKENS
from rag_memory_plugins.types import Level, Message

if TYPE_CHECKING:
    from rag_memory_plugins.portal import Portal
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["ScopedMemory"]

_LOOK_BACK: Final = 64
"""Messages of the log's end that are read; a longer turn is asked for by `input` anyway."""
_MOST_SYSTEM: Final = 16
"""System messages of a session that stay first: the last ones of more."""


class ScopedMemory(BaseMemory):
    """A tenant's conversation as `memory=` of agents and chat engines.

    `get` gives the session's system messages, pins, recent turns and what is recalled for the
    latest user text, from all the user's sessions (`level="session"`: from this one), never more
    than `budget` tokens. Recall runs once a turn; an agent's tool rounds get the same context
    again, followed by what was said since. A block that `get` put in is not stored when it comes
    back.

    The log is the truth, so `set` adds what it does not hold yet and removes nothing: an agent
    calls it whenever it is given `chat_history`, and a web client that sends its history with
    every request must neither double the log nor wipe it. `reset` erases the session and all that
    was derived from it.

    Written out (a workflow's Context, JSON) it is a reference without content. The process that
    wrote it reads it back; elsewhere it becomes the memory that the caller trusts: the `memory=`
    of the agent's run, or that of `restoring`. A run whose Context holds another session's memory
    than its `memory=` raises `InvalidNamespace` before anything is read or written. Of that,
    llama-index-workflows before 2.23 leaves `restoring` alone: its steps cannot see their run.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as store:
    ...     ann = ScopedMemory(conversation=store.conversation("acme", "ann", "monday"))
    ...     ann.put(ChatMessage("I moved to Lisbon in May"))
    ...     [message.content for message in ann.get()]
    ['I moved to Lisbon in May']
    >>> folder.cleanup()
    """

    namespace: str
    budget: TokenBudget
    level: Level
    reference: str
    _conversation: Conversation | None = PrivateAttr(default=None)
    _turn: Turn | None = PrivateAttr(default=None)

    @strict
    def __init__(
        self,
        conversation: Conversation,
        budget: int | TokenBudget = 4000,
        *,
        level: Level = "user",
    ) -> None:
        checked_conversation(conversation)
        fields: dict[str, Any] = {
            "namespace": conversation.namespace.key,
            "budget": TokenBudget.of(budget),
            "level": level,
            "reference": "",
        }
        super().__init__(**fields)
        self._conversation = conversation
        self._register()

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex writes beside the serialised form."""
        return "ScopedMemory"

    @classmethod
    @strict
    def from_defaults(  # type: ignore[override]  # LlamaIndex's takes **kwargs; ours names them
        cls,
        conversation: Conversation | None = None,
        budget: int | TokenBudget = 4000,
        *,
        chat_history: Sequence[ChatMessage] | None = None,
        level: Level = "user",
    ) -> ScopedMemory:
        """A memory of `conversation`, with `chat_history` added as `set` does."""
        memory = cls(conversation, budget, level=level)  # type: ignore[arg-type]  # None is refused
        if chat_history:
            memory.set(list(chat_history))
        return memory

    @property
    def portal(self) -> Portal:
        """Where the sync methods run."""
        return self.conversation.portal

    @property
    def conversation(self) -> Conversation:
        """The conversation behind this memory.

        Raises `InvalidNamespace` in an agent's run that was given another session's `memory=`,
        and `InvalidInput` for a reference of which nothing says what it may become.
        """
        given = memory_of_run()
        trust.check_run(self, given)
        if self._conversation is None:
            memory = given if isinstance(given, ScopedMemory) else trust.trusted(self.namespace)
            if memory is None or memory is self:
                raise trust.untrusted(self.namespace)
            trust.expect(memory, self.namespace)
            self._conversation = memory.conversation
            # What the reference says of the rest was kept by somebody else, too.
            self.budget, self.level = memory.budget, memory.level
            self._register()
        return self._conversation

    def _register(self) -> None:
        self.reference = uuid.uuid4().hex
        trust.alive[self.reference] = self

    def tokenizer_fn(self, text: str) -> Sequence[int]:
        """As many items as `text` takes tokens as a message: chat engines count their prompts."""
        message = Message("system", text)
        return range(self._counter.count_messages([message]) - REPLY_TOKENS if text else 0)

    @property
    def _counter(self) -> TokenCounter:
        return self.conversation.memory.counter

    @events.dispatcher.span
    async def aget(
        self,
        /,
        input: str | ChatMessage | None = None,  # noqa: A002  # LlamaIndex's word
        **kwargs: Any,
    ) -> list[ChatMessage]:
        """The context for `input`, or else for the last user message of the log.

        `initial_token_count`, which chat engines pass for their system prompt, is taken off the
        budget; other keywords that LlamaIndex's memories know are without meaning here. Raises
        `BudgetTooSmall` when the user's last message alone is over the budget.
        """
        emptied = trust.turns.emptied
        recent = await self.conversation.arecent(_LOOK_BACK)
        said = since_question(recent)
        user = said[0] if said and said[0].role == "user" else None
        query = input.content if isinstance(input, ChatMessage) else input
        query = query or (user.content if user else "")
        taken = kwargs.get("initial_token_count", 0)
        asked = Asked(query.strip(), user.id if user else "", taken)
        turn = self._turn
        later = turn.later(asked, recent, self._counter) if turn is not None else None
        if turn is None or later is None:
            turn, later = await self._amade(asked, recent), ()
            self._turn = turn if trust.turns.emptied == emptied else None
        return render(turn.messages(later), answers=turn.answers)

    async def _amade(self, asked: Asked, recent: Sequence[Message]) -> Turn:
        conversation = self.conversation
        found = await conversation.afind(roles="system", limit=_MOST_SYSTEM, level="session")
        system = tuple(hit.message for hit in found)
        room = beside(self.budget, asked, system, since_question(recent), self._counter)
        last = recent[-1] if recent else None
        context = await self._acontext(asked.query, last, room.limits)
        events.assembled(self.namespace, context)
        if room.degraded:
            events.degraded(self.namespace, room.degraded)
        left = room.limits.available - context.tokens
        return Turn(asked, last.id if last else "", context, system, room.answers, left)

    async def _acontext(self, query: str, last: Message | None, limits: TokenBudget) -> Context:
        conversation = self.conversation
        context = await conversation.acontext(query, limits, level=self.level)
        if last is None or last.role != "user" or _holds(context, last):
            return context
        # A budget without recent turns: the question goes before all but the pins all the same.
        room = self._counter.count_messages([last])
        limits = replace(limits, recent=min(room, limits.total))
        context = await conversation.acontext(query, limits, level=self.level)
        if not _holds(context, last):
            raise BudgetTooSmall(
                "budget", limits.total, f"the user's message takes {room} tokens; raise it"
            )
        return context

    def forget_turn(self) -> None:
        """Let go of the turn's context; the next `get` makes one."""
        self._turn = None

    async def aget_all(self) -> list[ChatMessage]:
        """Every message of the session as it was put, without recalled blocks."""
        return [to_chat(message) for message in await self.conversation.amessages()]

    async def aput(self, message: ChatMessage) -> None:
        """Store one message; the same object again is a retry and stores nothing."""
        await self.aput_messages([message])

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Store all of `messages` or none."""
        said = self._said(messages)
        known = await aknown(self.conversation, [m for m in said if SHORTENED in m.metadata])
        said = [m for m in said if SHORTENED not in m.metadata or m.id not in known]
        if said:
            await self.conversation.aadd(said)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Add what the log does not hold yet; `reset` first to begin anew.

        The end of the log is laid over the start of `messages` as far as both say the same; tool
        calls and their results, which clients do not send back, may stand between in the log.
        """
        new = await aunknown(self.conversation, self._said(messages))
        if new:
            await self.conversation.aadd(new)

    def _said(self, messages: Sequence[ChatMessage]) -> list[Message]:
        return to_messages(messages, put_in(self.conversation.fence))

    async def areset(self) -> None:
        """Erase the session from the log and everything derived from it."""
        self.forget_turn()
        await self.conversation.aerase("session")

    get = blocking(aget)
    get_all = blocking(aget_all)
    put = blocking(aput)
    put_messages = blocking(aput_messages)
    set = blocking(aset)
    reset = blocking(areset)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """A reference: namespace, budget, level, and a mark of this object. No content."""
        del kwargs
        return {**self.model_dump(mode="json"), "class_name": self.class_name()}

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], conversation: Conversation | None = None, **kwargs: Any
    ) -> ScopedMemory:
        """The memory that `data` refers to, checked against the one the caller trusts.

        That is `conversation`, else the memory of an enclosing `restoring`, else the very object
        that wrote `data`, if it still lives in this process. Else the reference waits: it becomes
        the `memory=` of the agent's run that uses it, and raises `InvalidInput` for any other use.
        Raises `InvalidNamespace` when the reference names another namespace.
        """
        del kwargs
        if conversation is None:
            memory = trust.trusted(data.get("namespace"))
        else:
            memory = cls(conversation, trust.budget_of(data), level=data.get("level", "user"))
        if memory is None and SEES_RUNS:  # else nobody would see that a run was given another
            memory = trust.alive.get(str(data.get("reference")))
        if memory is None:
            return cls.model_construct(**{**data, "budget": trust.budget_of(data)})
        trust.expect(memory, data.get("namespace"))
        return memory

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_dict, (self.to_dict(),))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> ScopedMemory:
        return self  # a copy of a reference refers to the same conversation

    def __repr__(self) -> str:
        return f"ScopedMemory({self.namespace!r}, {self.budget.total} tokens)"

    __str__ = __repr__


def _holds(context: Context, message: Message) -> bool:
    return any(message.id == held.id for held in context.messages)
