"""The demo's two agents: a LlamaIndex FunctionAgent and a LangChain agent over one memory.

Their models are scripted (`quoting`): no key, no download, and the answer comes from the memory.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.cli.quoting import answer, question_in
from rag_memory_plugins.errors import MissingExtra

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = ["AGENTS", "Reply"]


@dataclass(frozen=True)
class Reply:
    """What an agent answered, in how many seconds."""

    question: str
    answer: str
    seconds: float


def _ask(questions: Sequence[str], agent: Callable[[str], str]) -> list[Reply]:
    replies = []
    for question in questions:
        started = time.perf_counter()
        text = agent(question)
        replies.append(Reply(question, text, time.perf_counter() - started))
    return replies


def _llama_index(conversation: Conversation, questions: Sequence[str], budget: int) -> list[Reply]:
    """Ask a FunctionAgent. Raises `MissingExtra`."""
    from rag_memory_plugins.llama_index import ScopedMemory

    try:
        from llama_index.core.agent.workflow import FunctionAgent
        from llama_index.core.llms import ChatMessage
        from llama_index.core.llms.mock import MockFunctionCallingLLM
    except ImportError as error:
        raise MissingExtra("llama-index", "the demo's FunctionAgent") from error

    def scripted(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
        texts = [message.content or "" for message in messages]
        return ChatMessage(role="assistant", content=_scripted(texts))

    memory = ScopedMemory(conversation=conversation, budget=budget)
    model = MockFunctionCallingLLM(response_generator=scripted, is_chat_model=True)
    agent = FunctionAgent(llm=model, tools=[], streaming=False)

    async def run(question: str) -> str:
        return str(await agent.run(question, memory=memory))

    return _ask(questions, lambda question: asyncio.run(run(question)))


def _langchain(conversation: Conversation, questions: Sequence[str], budget: int) -> list[Reply]:
    """Ask an agent made by `create_agent`. Raises `MissingExtra`."""
    # A demo calls nobody, whatever tracing this shell is set up for.
    os.environ.update({"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"})
    from rag_memory_plugins.langchain import MemoryMiddleware

    try:
        from langchain.agents import create_agent
        from langchain_core.language_models import BaseChatModel
        from langchain_core.messages import AIMessage, BaseMessage
        from langchain_core.outputs import ChatGeneration, ChatResult
    except ImportError as error:
        raise MissingExtra("langchain", "the demo's LangChain agent") from error

    class Scripted(BaseChatModel):
        """Answers from the text it is sent."""

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def _generate(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: Any = None,
            **_: Any,
        ) -> ChatResult:
            text = _scripted([str(message.text) for message in messages])
            return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    agent: Any = create_agent(
        Scripted(),
        tools=[],
        middleware=[MemoryMiddleware(conversation=conversation, budget=budget)],
    )

    def run(question: str) -> str:
        state = agent.invoke({"messages": [{"role": "user", "content": question}]})
        return str(state["messages"][-1].text)

    return _ask(questions, run)


def _scripted(texts: Sequence[str]) -> str:
    return answer(question_in(texts[-1]), "\n".join(texts))


Agent = Callable[["Conversation", Sequence[str], int], list[Reply]]
AGENTS: Final[Mapping[str, tuple[str, Agent]]] = {
    "llama-index": ("LlamaIndex FunctionAgent + ScopedMemory", _llama_index),
    "langchain": ("LangChain create_agent + MemoryMiddleware", _langchain),
}
"""By extra: what it is called, and how to ask it."""
