"""A LangChain chat model that takes no time: what is measured is all that stands round it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

__all__ = ["ScriptedModel"]


class ScriptedModel(BaseChatModel):
    """Answers what `reply` makes of the messages; `asked` holds those of the last call."""

    _reply: Callable[[Sequence[BaseMessage]], str] = PrivateAttr()
    _asked: list[BaseMessage] = PrivateAttr(default_factory=list)

    def __init__(self, reply: Callable[[Sequence[BaseMessage]], str]) -> None:
        super().__init__()
        self._reply = reply

    @property
    def asked(self) -> list[BaseMessage]:
        """The messages of the last call."""
        return self._asked

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._asked = list(messages)
        answer = AIMessage(self._reply(messages))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)  # a thread of its own would be timed too
