"""A chain whose history is the log's: what is asked and answered is stored, and recalled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, message_chunk_to_message
from langchain_core.runnables import Runnable
from pydantic import BaseModel

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import ChatModelError, InvalidInput
from rag_memory_plugins.langchain.around import InTurn
from rag_memory_plugins.langchain.convert import to_message
from rag_memory_plugins.langchain.limited import asked_with
from rag_memory_plugins.langchain.marking import alone, blocks_of, injected
from rag_memory_plugins.langchain.rendering import rendered
from rag_memory_plugins.memory.asking import aanswered, aask
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.rendering import said_only
from rag_memory_plugins.types import Level

__all__ = ["Keys", "RememberingChain"]

_ANSWERS: Final = ("answer", "output")


@dataclass(frozen=True)
class Keys:
    """Where a chain's input holds question and history, and its output the answer.

    Equal names of question and history: the history ends with what the user says.
    """

    question: str
    history: str
    answer: str | None = None


class RememberingChain(InTurn):
    """A chain that is given its history, and what is recalled for the question, by the memory."""

    def __init__(
        self,
        chain: Runnable[Any, Any],
        conversation: Conversation,
        budget: TokenBudget,
        level: Level,
        keys: Keys,
    ) -> None:
        super().__init__(chain)
        self._conversation = conversation
        self._budget = budget
        self._level: Level = level
        self._keys = keys

    async def _abefore(self, given: Any, kwargs: Mapping[str, Any]) -> tuple[Any, None]:
        asked = self._asked(given)
        talk = self._conversation
        pairs = [(to_message(message), message) for message in asked if not injected(message)]
        said = said_only([said for said, _ in pairs if said.role != "system"], talk.fence)
        if not said or said[-1].role != "user":
            remedy = "end it with what the user says"
            raise InvalidInput(self._keys.question, given[self._keys.question], remedy)
        context = await aask(talk, said, budget=self._budget, level=self._level)
        *history, question = rendered(context.messages, asked[-1])
        if self._keys.question == self._keys.history:
            return {**given, self._keys.history: [*history, question]}, None
        recalled = blocks_of(question)
        if recalled:  # the question's text is the chain's; its model joins them
            history.append(alone(recalled))
        return {**given, self._keys.history: history}, None

    def _asked(self, given: object) -> list[BaseMessage]:
        """What the user says, with what a caller sent before it."""
        keys = self._keys
        if not isinstance(given, Mapping) or keys.question not in given:
            remedy = f"pass a dict with what the user says under {keys.question!r}"
            raise InvalidInput("input", given, remedy)
        if keys.history != keys.question and given.get(keys.history):
            remedy = "the memory gives the history; leave it out"
            raise InvalidInput(keys.history, given[keys.history], remedy)
        return asked_with(given[keys.question])

    async def _aafter(self, pending: None, output: Any) -> Any:
        await aanswered(self._conversation, to_message(self._answer(output)))
        return output

    def _answer(self, output: Any) -> BaseMessage:
        """What the chain answered, as a message. Raises `ChatModelError` for what is none."""
        key = self._keys.answer
        if isinstance(output, Mapping):
            names = [key] if key else _ANSWERS
            found = next((name for name in names if name in output), None)
            if found is not None:
                return _message(output[found])
        if key is not None:
            raise ChatModelError(f"output_messages_key: the chain's output has no {key!r}")
        return _message(output)


def _message(answer: Any) -> BaseMessage:
    """An answer as text or message; what a parser made of one as its JSON."""
    last = answer[-1] if isinstance(answer, Sequence) and answer else answer
    if isinstance(last, BaseMessage):
        return message_chunk_to_message(last)
    if isinstance(answer, str):
        return AIMessage(answer)
    if isinstance(answer, BaseModel):
        return AIMessage(answer.model_dump_json())
    try:
        return AIMessage(json.dumps(answer, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        got = type(answer).__name__
        remedy = "pass output_messages_key=, the key of its text"
        raise ChatModelError(f"answer: the chain gave a {got}; {remedy}") from error
