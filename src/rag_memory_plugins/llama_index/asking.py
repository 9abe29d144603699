"""A request of the router as a call of a LlamaIndex model's methods, and its tools both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.tools import BaseTool, FunctionTool, ToolMetadata

from rag_memory_plugins.chat import ChatRequest, Delta, NativeMessages, ToolSpec
from rag_memory_plugins.errors import BadRequest
from rag_memory_plugins.llama_index.blocks import COUNTED
from rag_memory_plugins.llama_index.convert import to_chat

__all__ = ["Asked", "NativeAsk", "asked", "spec_of", "tool_of"]

ANSWER: Final = "answer"
"""The tool whose arguments are the answer, where one in a schema is asked for."""


@dataclass(frozen=True)
class NativeAsk:
    """How a LlamaIndex model is asked in the words of the one who asked: `ChatRequest.native`.

    `tools` are theirs, `kwargs` what they wrote beside the messages, `parallel` whether more than
    one call is allowed.
    """

    tools: tuple[BaseTool, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    parallel: bool = True

    def items(self) -> Iterable[tuple[str, Any]]:
        """What a cache tells requests apart by; the tools are in the request's own words too."""
        return (("kwargs", dict(self.kwargs)), ("parallel", self.parallel))


@dataclass(frozen=True)
class Asked:
    """One call: the sync method's name (the async one has an `a` before it) and its arguments."""

    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    streams: bool
    schema_tool: str = ""

    def unwrapped(self, delta: Delta) -> Delta:
        """Arguments of the tool that stands for a schema are the answer's text."""
        if not self.schema_tool:
            return delta
        text = "".join(piece.arguments for piece in delta.tools)
        # The framework's own message would show a call of a tool that nobody has.
        return replace(delta, text=text or delta.text, tools=(), native=None)

    @property
    def chats(self) -> list[ChatMessage]:
        """The messages."""
        chats: list[ChatMessage] = self.kwargs.get("chat_history") or self.args[0]
        return chats

    def plainly(self) -> Asked | None:
        """The same with the blocks that every integration knows; None if it has no others."""
        if all(block.block_type in COUNTED for chat in self.chats for block in chat.blocks):
            return None
        plain = [_plain(chat) for chat in self.chats]
        if "chat_history" in self.kwargs:
            return replace(self, kwargs={**self.kwargs, "chat_history": plain})
        return replace(self, args=(plain,))


def asked(request: ChatRequest, name: str, *, calls: bool) -> Asked:
    """How a model is asked that `calls` tools or does not. Raises `BadRequest` where it has to."""
    native = request.native if isinstance(request.native, NativeAsk) else NativeAsk()
    known: dict[str, Any] = dict(native.kwargs or request.options)
    if request.stop and "stop" not in known:
        known["stop"] = list(request.stop)
    chats = _chats(request)
    tools = _tools(request, native)
    if request.schema is not None:
        title = str(request.schema.get("title") or ANSWER)
        tools = (tool_of(ToolSpec(title, "Give the answer.", request.schema)),)
    elif not tools:
        return Asked("stream_chat" if request.stream else "chat", (chats,), known, request.stream)
    if not calls:
        what = "gives no answer in a schema" if request.schema else "cannot call tools"
        raise BadRequest(f"{name} {what}; say so: Model(..., capabilities=Capabilities(...))")
    known["chat_history"] = chats
    known["allow_parallel_tool_calls"] = native.parallel and request.schema is None
    if request.schema is not None or request.tool_choice not in ("", "auto"):
        known["tool_required"] = True
    if request.schema is not None:
        # In one piece: half a tool call is no half of a text.
        return Asked("chat_with_tools", (list(tools),), known, False, tools[0].metadata.get_name())
    method = "stream_chat_with_tools" if request.stream else "chat_with_tools"
    return Asked(method, (list(tools),), known, request.stream)


def _chats(request: ChatRequest) -> list[ChatMessage]:
    messages = request.messages
    if isinstance(messages, NativeMessages):
        native = messages.native
        if all(isinstance(chat, ChatMessage) for chat in native):
            return list(native)
    return [to_chat(message) for message in messages]


def _plain(chat: ChatMessage) -> ChatMessage:
    blocks = [block for block in chat.blocks if block.block_type in COUNTED]
    return chat.model_copy(update={"blocks": blocks or [TextBlock(text="")]})


def _tools(request: ChatRequest, native: NativeAsk) -> tuple[BaseTool, ...]:
    """Those that may be called: with a tool's name as the choice, that one alone."""
    choice = request.tool_choice
    if choice == "none":
        return ()
    own = {tool.metadata.get_name(): tool for tool in native.tools}
    tools = [own.get(spec.name) or tool_of(spec) for spec in request.tools]
    if choice in ("", "auto", "required"):
        return tuple(tools)
    return tuple(tool for tool in tools if tool.metadata.get_name() == choice)


def spec_of(tool: BaseTool | Mapping[str, Any]) -> ToolSpec:
    """A LlamaIndex tool, or one as OpenAI writes it, in our words."""
    if isinstance(tool, Mapping):
        inner = tool.get("function", tool)
        return ToolSpec(
            inner["name"], inner.get("description") or "", inner.get("parameters") or {}
        )
    known = tool.metadata
    return ToolSpec(known.get_name(), known.description or "", known.get_parameters_dict())


def tool_of(spec: ToolSpec) -> BaseTool:
    """A LlamaIndex tool of this schema, to be told of and never to be run."""
    metadata = _Metadata(spec.description or spec.name, spec.name, None, parameters=spec.parameters)
    return FunctionTool(fn=_nobody, metadata=metadata)


@dataclass
class _Metadata(ToolMetadata):
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def get_parameters_dict(self) -> dict[str, Any]:
        return {"type": "object", "properties": {}, **self.parameters}


def _nobody(**arguments: Any) -> Sequence[Any]:
    raise NotImplementedError("whoever asked runs the tools")
