"""Questions to the memory as a LangChain runnable, and as a tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, patch_config, var_child_runnable_config
from langchain_core.tools import StructuredTool

from rag_memory_plugins.errors import InvalidInput, InvalidQuery
from rag_memory_plugins.langchain.chat_model import as_chat_model
from rag_memory_plugins.langchain.documents import SCORE
from rag_memory_plugins.langchain.events import Told, atell, degraded, tell
from rag_memory_plugins.memory.answering import Answer, aanswered, answered, fenced_answer
from rag_memory_plugins.memory.arguments import check_limit, checked_level
from rag_memory_plugins.memory.asof import moment_of
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.evidence import TOKENS
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.sourcing import sourced
from rag_memory_plugins.memory.whose import whose
from rag_memory_plugins.namespace import Namespace
from rag_memory_plugins.portal import strict
from rag_memory_plugins.types import Level

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForChainRun,
        CallbackManagerForChainRun,
    )
    from langchain_core.tools import BaseTool

__all__ = ["MemoryQuery", "memory_query_tool"]

NAME: Final = "query_memory"
DESCRIPTION: Final = (
    "Ask what the user said in this and earlier conversations, and what is known about people and "
    "things: what holds now, and what held before or on a date."
)
Asked = str | dict[str, Any]
"""A question, or a dict with "question" and maybe "as_of"."""
Naming = Callable[[RunnableConfig], Namespace]


class MemoryQuery(Runnable[Asked, dict[str, Any]]):
    """Answers from what was said and what holds, with a mark behind what rests on each source.

    Pass a conversation; or a memory, and as `namespace` a function of the run's config that every
    run asks whose memory it is for. One that fails or gives anything but a `Namespace` raises
    `InvalidNamespace`, and nothing is read.

    The input is a question, or a dict with `question` and maybe `as_of` (a datetime with a time
    zone, or ISO 8601); other keys of the dict are left alone. The output has `answer`, `evidence`
    (a `memory.evidence.Evidence`), `documents` (what the evidence shows, best first, each with its
    mark as `citation`), `citations` (the message or fact of each mark in the answer) and `degraded`.

    `model` is asked once a run, as a child of it; without one, or where it fails or takes more than
    `timeout` seconds, the answer is the evidence itself. A stream is one piece: marks are checked
    in the whole answer. `limit`, `level` and `budget` are those of `memory.evidence.agathered`.
    Raises `InvalidInput`.

    >>> import tempfile, pathlib
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     ann = memory.conversation("acme", "ann", "monday")
    ...     _ = ann.facts.insert("Ann", "lives in", "Porto", id="f1")
    ...     answer = MemoryQuery(ann).invoke("Where does Ann live?")
    >>> [document.page_content for document in answer["documents"]], list(answer["citations"])
    (['Ann lives in Porto'], ['[f:f1]'])
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        conversation: Conversation | Memory,
        *,
        namespace: Namespace | Naming | None = None,
        model: BaseChatModel | None = None,
        limit: int = 10,
        level: Level = "user",
        budget: int = TOKENS,
        timeout: float = 30.0,
    ) -> None:
        self._whose = whose(conversation, namespace)
        check_limit(limit)
        self._asked: dict[str, Any] = {
            "model": None if model is None else as_chat_model(model),
            "limit": limit,
            "level": checked_level(level),
            "budget": budget,
            "timeout": timeout,
        }

    def invoke(
        self,
        input: Asked,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The answer to one question; see the class."""
        return self._call_with_config(self._query, input, config, run_type="chain", **kwargs)

    async def ainvoke(
        self,
        input: Asked,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Async form of `invoke`."""
        return await self._acall_with_config(
            self._aquery, input, config, run_type="chain", **kwargs
        )

    def as_tool(
        self,
        args_schema: type[Any] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
    ) -> BaseTool:
        """A tool that takes a question and maybe a date, for an agent or a `ToolNode`.

        It answers inside the conversation's fence, so that a memory does not store it as said.
        Whose memory it reads is never the model's to say. Raises `InvalidInput` for other arguments
        of a tool than these.
        """
        if args_schema is not None or arg_types is not None:
            given = "args_schema" if args_schema is not None else "arg_types"
            raise InvalidInput(
                given, args_schema or arg_types, "leave it out: the tool has its own"
            )
        return StructuredTool.from_function(
            self._tool,
            self._atool,
            name=name or NAME,
            description=description or DESCRIPTION,
        )

    def _query(
        self, given: Asked, run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> dict[str, Any]:
        conversation, answer = self._answer(*_read(given), config)
        return _output(conversation, answer)

    async def _aquery(
        self, given: Asked, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> dict[str, Any]:
        conversation, answer = await self._aanswer(*_read(given), config)
        return _output(conversation, answer)

    def _tool(
        self,
        question: Annotated[str, "The question, complete in itself"],
        config: RunnableConfig,
        as_of: Annotated[str, "A day such as 2024-05-31, to ask what held then; else empty"] = "",
        callbacks: Any = None,  # of the tool's own run; its config is that of the run around it
    ) -> str:
        try:
            read = _read({"question": question, "as_of": as_of})
        except InvalidInput as error:
            return _refused(error)
        return fenced_answer(*self._answer(*read, patch_config(config, callbacks=callbacks)))

    async def _atool(
        self, question: str, config: RunnableConfig, as_of: str = "", callbacks: Any = None
    ) -> str:
        try:
            read = _read({"question": question, "as_of": as_of})
        except InvalidInput as error:
            return _refused(error)
        return fenced_answer(*await self._aanswer(*read, patch_config(config, callbacks=callbacks)))

    def _answer(
        self, question: str, as_of: datetime | None, config: RunnableConfig
    ) -> tuple[Conversation, Answer]:
        conversation = self._whose(ensure_config(config))
        with _within(config):
            answer = answered(conversation, question, as_of=as_of, **self._asked)
        tell(_told(conversation, answer), config.get("callbacks"))
        return conversation, answer

    async def _aanswer(
        self, question: str, as_of: datetime | None, config: RunnableConfig
    ) -> tuple[Conversation, Answer]:
        conversation = self._whose(ensure_config(config))
        with _within(config):
            answer = await aanswered(conversation, question, as_of=as_of, **self._asked)
        await atell(_told(conversation, answer), config.get("callbacks"))
        return conversation, answer


@strict
def memory_query_tool(
    conversation: Conversation | Memory,
    *,
    namespace: Namespace | Naming | None = None,
    model: BaseChatModel | None = None,
    limit: int = 10,
    level: Level = "user",
    budget: int = TOKENS,
    timeout: float = 30.0,
    name: str = NAME,
    description: str = DESCRIPTION,
) -> BaseTool:
    """`MemoryQuery(...).as_tool(...)`, in one call.

    Without `model` the agent's own model reads the evidence, which saves a request.
    """
    query = MemoryQuery(
        conversation,
        namespace=namespace,
        model=model,
        limit=limit,
        level=level,
        budget=budget,
        timeout=timeout,
    )
    return query.as_tool(name=name, description=description)


@contextmanager
def _within(config: RunnableConfig) -> Iterator[None]:
    """Make the model's run a child of this one, also where tasks take no context: Python 3.10."""
    token = var_child_runnable_config.set(config)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _read(given: Asked) -> tuple[str, datetime | None]:
    """The question and its time. Raises `InvalidInput`."""
    asked: dict[str, Any] = given if isinstance(given, dict) else {"question": given}
    question, as_of = asked.get("question"), asked.get("as_of") or None
    if not isinstance(question, str) or not question.strip():
        raise InvalidQuery("question", question, 'pass a str, or a dict with "question"')
    return question, moment_of(as_of) if isinstance(as_of, str) else as_of


def _refused(error: InvalidInput) -> str:
    """What a model is told that wrote arguments of no use."""
    return f"Not done, {error.field}: {error.remedy}."


def _told(conversation: Conversation, answer: Answer) -> list[Told]:
    key = conversation.namespace.key
    return [degraded(key, reason) for reason in answer.degraded]


def _output(conversation: Conversation, answer: Answer) -> dict[str, Any]:
    evidence = answer.evidence
    sources = sourced(evidence, conversation.namespace.scope, conversation.facts.clock())
    return {
        "answer": answer.text,
        "evidence": evidence,
        "documents": [
            Document(
                id=source.id,
                page_content=source.text,
                metadata={**source.metadata, SCORE: source.score},
            )
            for source in sources
        ],
        "citations": dict(answer.citations),
        "degraded": list(answer.degraded),
    }
