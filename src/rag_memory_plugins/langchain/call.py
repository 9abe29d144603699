"""One model call as a middleware gets it: what is history, what the running turn, what is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from rag_memory_plugins.langchain.cleaning import storable
from rag_memory_plugins.langchain.convert import minted
from rag_memory_plugins.langchain.marking import Block
from rag_memory_plugins.langchain.prompt import last_question, turn_start, unmixed

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest

    from rag_memory_plugins.langchain.counting import BlockCounter

__all__ = ["Call"]

_FRAME: Final = 4  # what the least message costs


@dataclass(frozen=True)
class Call:
    """A request taken apart. `key` changes when another turn begins.

    `carried` are blocks of other memories' middleware, `said` is the turn as it is to be stored,
    `taken` what system prompt, schemas, carried blocks and question cost.
    """

    system: SystemMessage | None
    history: list[BaseMessage]
    turn: list[BaseMessage]
    said: list[BaseMessage]
    carried: list[Block]
    key: tuple[str, ...]
    schemas: int
    taken: int
    tools: bool

    @classmethod
    def of(
        cls, request: ModelRequest[Any], budget: int, schemas: int, counter: BlockCounter
    ) -> Call:
        """The parts of a request whose schemas cost so many tokens of the budget.

        Of a long history no more is looked at than could fit: every message costs `_FRAME` tokens.
        """
        given = request.messages
        start = turn_start(given)
        oldest = max(0, start - budget // _FRAME)
        # Another memory's pins stand in the first message of what it put together.
        carried = unmixed(given[: min(oldest, 1)])[1]
        history, blocks = unmixed(given[oldest:start])
        turn, more = unmixed(given[start:])
        carried += [*blocks, *more]
        for message in turn:
            minted(message)
        turn = [storable(message) for message in turn]
        asked = last_question(turn)
        beside: list[BaseMessage] = [SystemMessage(text) for _, text in carried]
        if request.system_message is not None:
            beside.append(request.system_message)
        before = [minted(given[start - 1])] if start else []
        return cls(
            request.system_message,
            history,
            turn,
            _in_state(turn, request.state.get("messages", ())),
            carried,
            (str(start), *before, *(message.id or "" for message in turn[asked:][:1])),
            schemas,
            schemas + counter.request([*beside, *turn[asked:][:1]]),
            bool(request.tools),
        )


def _in_state(turn: Sequence[BaseMessage], state: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The turn, answers and results as the state holds them: an edit of the request is no truth.

    What the user said is stored as the request has it, where somebody may have redacted it.
    """
    wanted = {message.id for message in turn if not isinstance(message, HumanMessage)}
    held: dict[str | None, BaseMessage] = {}
    for message in reversed(state):
        if not wanted:
            break
        if message.id in wanted:
            wanted.discard(message.id)
            held[message.id] = message
    return [held.get(message.id, message) for message in turn]
