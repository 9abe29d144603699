"""The memory of one conversation as a LlamaIndex chat memory."""

from __future__ import annotations

import contextlib
import contextvars
import re
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory
from pydantic import PrivateAttr

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput, InvalidNamespace
from rag_memory_plugins.llama_index.convert import render, to_chat, to_messages
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.portal import blocking, strict
from rag_memory_plugins.results import Context
from rag_memory_plugins.types import Level, Message

if TYPE_CHECKING:
    from rag_memory_plugins.portal import Portal

__all__ = ["ScopedMemory", "restoring"]

_LOOK_BACK: Final = 64  # a turn of more tool messages than this is asked for by `input` anyway


class ScopedMemory(BaseMemory):
    """A tenant's conversation as `memory=` of agents and chat engines.

    `get` gives pins, recent turns and what is recalled for the latest user text, from all the
    user's sessions (`level="session"`: from this one), never more than `budget` tokens. Recall
    runs once a turn; an agent's tool rounds get the same context again. A block that `get` put in
    is not stored when it comes back.

    The log is the truth, so `set` adds what it does not hold yet and removes nothing: an agent
    calls it whenever it is given `chat_history`, and a web client that sends its history with
    every request must neither double the log nor wipe it. `reset` does erase the session.

    Written out (a workflow's Context, JSON) it is a reference without content. The process that
    wrote it reads it back; another one must say which memory it trusts, see `restoring`.

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
    _conversation: Conversation = PrivateAttr()
    _fence: re.Pattern[str] = PrivateAttr()
    _turn: tuple[tuple[str, str, int], Context] | None = PrivateAttr(default=None)

    @strict
    def __init__(
        self,
        conversation: Conversation,
        budget: int | TokenBudget = 4000,
        *,
        level: Level = "user",
    ) -> None:
        if not isinstance(conversation, Conversation):
            raise InvalidInput(
                "conversation", conversation, "pass memory.conversation(tenant, user, session)"
            )
        fields: dict[str, Any] = {
            "namespace": conversation.namespace.key,
            "budget": TokenBudget.of(budget),
            "level": level,
            "reference": uuid.uuid4().hex,
        }
        super().__init__(**fields)
        self._conversation = conversation
        self._fence = _fence(conversation)
        _alive[self.reference] = self

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
        return self._conversation.portal

    @property
    def conversation(self) -> Conversation:
        """The conversation behind this memory."""
        return self._conversation

    async def aget(
        self,
        /,
        input: str | None = None,  # noqa: A002  # LlamaIndex's word
        **kwargs: Any,
    ) -> list[ChatMessage]:
        """The context for `input`, or else for the last user message of the log.

        `initial_token_count`, which chat engines pass for their system prompt, is taken off the
        budget; other keywords that LlamaIndex's memories know are without meaning here. Raises
        `BudgetTooSmall` when the user's last message alone is over the budget.
        """
        recent = await self._conversation.arecent(_LOOK_BACK)
        last = recent[-1] if recent else None
        query = input or next((m.content for m in reversed(recent) if m.role == "user"), "")
        key = (query, last.id if last else "", kwargs.get("initial_token_count", 0))
        turn = self._turn
        if turn is None or turn[0] != key:
            turn = self._turn = (key, await self._acontext(query.strip(), last, key[2]))
        return render(turn[1].messages)

    async def _acontext(self, query: str, last: Message | None, taken: int) -> Context:
        limits = self.budget
        if taken:
            limits = limits.less(taken)
        context = await self._conversation.acontext(query, limits, level=self.level)
        if last is None or last.role != "user" or _holds(context, last):
            return context
        # A budget without recent turns: the question goes before all but the pins all the same.
        room = self._conversation.memory.counter.count_messages([last])
        limits = replace(limits, recent=min(room, limits.total))
        context = await self._conversation.acontext(query, limits, level=self.level)
        if not _holds(context, last):
            raise BudgetTooSmall(
                "budget", limits.total, f"the user's message takes {room} tokens; raise it"
            )
        return context

    async def aget_all(self) -> list[ChatMessage]:
        """Every message of the session as it was put, without recalled blocks."""
        return [to_chat(message) for message in await self._conversation.amessages()]

    async def aput(self, message: ChatMessage) -> None:
        """Store one message; the same object again is a retry and stores nothing."""
        await self.aput_messages([message])

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Store all of `messages` or none."""
        said = to_messages(messages, self._fence)
        if said:
            await self._conversation.aadd(said)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Add what the log does not hold yet; `reset` first to begin anew.

        The end of the log is laid over the start of `messages` as far as both say the same.
        """
        said = to_messages(messages, self._fence)
        log = [_same(message) for message in await self._conversation.amessages()]
        given = [_same(message) for message in said]
        new = said[_overlap(log, given) :]
        if new:
            await self._conversation.aadd(new)

    async def areset(self) -> None:
        """Erase the session from the log and everything derived from it."""
        self._turn = None
        await self._conversation.aerase("session")

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
        that wrote `data`, if it still lives in this process. Raises `InvalidNamespace` when the
        reference names another namespace, `InvalidInput` when nothing says which to trust.
        """
        del kwargs
        trusted = _trusted.get() if conversation is None else cls(conversation, _budget(data))
        if trusted is None:
            trusted = _alive.get(str(data.get("reference")))
        if trusted is None:
            raise InvalidInput(
                "memory",
                data.get("namespace"),
                "it was written by another process; run inside `with restoring(memory)`, "
                "memory being a ScopedMemory of the user you have authenticated",
            )
        if trusted.namespace != data.get("namespace"):
            raise InvalidNamespace(
                "namespace", data.get("namespace"), f"the trusted memory is {trusted.namespace!r}"
            )
        return trusted

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_dict, (self.to_dict(),))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> ScopedMemory:
        return self  # a copy of a reference refers to the same conversation

    def __repr__(self) -> str:
        return f"ScopedMemory({self.namespace!r}, {self.budget.total} tokens)"

    __str__ = __repr__


_alive: Final[weakref.WeakValueDictionary[str, ScopedMemory]] = weakref.WeakValueDictionary()
_trusted: Final[contextvars.ContextVar[ScopedMemory | None]] = contextvars.ContextVar(
    "rag_memory_trusted", default=None
)


@contextlib.contextmanager
def restoring(memory: ScopedMemory) -> Iterator[ScopedMemory]:
    """Trust `memory` for references read back inside the block, a workflow's run included.

    A saved Context says whose memory it holds, but whoever kept it may have changed that: so the
    caller names the memory, and a reference to any other namespace raises `InvalidNamespace`.
    """
    token = _trusted.set(memory)
    try:
        yield memory
    finally:
        _trusted.reset(token)


def _fence(conversation: Conversation) -> re.Pattern[str]:
    """What matches the blocks that this conversation's contexts hold, and no one else's text."""
    opening = conversation.fence.around("", "")
    tag = opening.partition(">")[0].removeprefix("<")
    return re.compile(rf"<({re.escape(tag)}[0-9a-f]*)>\n.*?\n</\1>\n*", re.DOTALL)


def _budget(data: Mapping[str, Any]) -> TokenBudget:
    return TokenBudget(**data.get("budget", {"total": 4000}))


def _holds(context: Context, message: Message) -> bool:
    return any(message.id == held.id for held in context.messages)


def _same(message: Message) -> tuple[object, ...]:
    calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
    urls = tuple(image.url for image in message.images)
    return (message.role, message.content, message.name, calls, message.tool_call_id, urls)


def _overlap(log: Sequence[object], given: Sequence[object]) -> int:
    """How many of `given`'s first items the log holds already."""
    size = len(given)
    # A run of two or more inside the log is a history that lacks the latest turns; one message
    # there may be a new "yes", so it counts only where a history would begin.
    starts = range(len(log) - size + 1) if size > 1 else range(min(len(log), 1))
    if any(log[i : i + size] == given for i in starts):
        return size
    longest = min(len(log), size)
    return next((n for n in range(longest, 0, -1) if log[-n:] == given[:n]), 0)
