"""What a LlamaIndex model is called with, as a request of the router."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.tools import BaseTool
from pydantic import BaseModel

from rag_memory_plugins.chat import Answer, ChatRequest, NativeMessages
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.llama_index.asking import NativeAsk, spec_of
from rag_memory_plugins.llama_index.convert import to_message
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.types import Message

__all__ = ["SchemaOf", "ToolList", "request_of"]

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
_OURS: Final = (
    "tools", "tool_choice", "tool_required", "allow_parallel_tool_calls", "schema", "timeout",
    "scope", "request_id",
)  # fmt: skip
_CHOICES: Final = {"any": "required"}

Accept = Callable[[Answer], None]


class ToolList(list[dict[str, Any]]):
    """Tools as OpenAI writes them, which events and traces can write down, and as they were."""

    def __init__(self, tools: Sequence[BaseTool]) -> None:
        specs = [spec_of(tool) for tool in tools]
        super().__init__(
            {
                "type": "function",
                "function": {
                    "name": spec.name,
                    "description": spec.description,
                    "parameters": dict(spec.parameters),
                },
            }
            for spec in specs
        )
        self.native = tuple(tools)


class SchemaOf(dict[str, Any]):
    """The JSON Schema of a class, and the class."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        super().__init__(output_cls.model_json_schema())
        self.output_cls = output_cls


def request_of(
    chats: Sequence[ChatMessage],
    kwargs: Mapping[str, Any],
    *,
    scope: Scope | None,
    stream: bool,
    schemas: bool,
) -> ChatRequest:
    """The request of one call. `schemas`: whether a model can be held to a schema.

    Words that we have none for go to the provider as they are. Raises `InvalidInput`.
    """
    given = {name: value for name, value in kwargs.items() if value is not None}
    tools = given.get("tools") or ()
    own = tools.native if isinstance(tools, ToolList) else _own(tools)
    choice = _choice(given)
    schema = given.get("schema")
    if tools and schema is not None:
        raise InvalidInput("schema", schema, "pass tools or a schema, not both")
    words = {name: value for name, value in given.items() if name not in _OURS}
    limits = [words[name] for name in _LIMITS if name in words]
    stop = words.get("stop", ())
    plain = (*_LIMITS, "temperature", "stop")
    return ChatRequest(
        _messages(chats),
        tools=tuple([spec_of(tool) for tool in tools]),
        tool_choice=choice if tools else "",
        schema=_json(schema, told=schemas),
        max_tokens=limits[0] if limits else None,
        temperature=words.get("temperature"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        options={name: value for name, value in words.items() if name not in plain},
        stream=stream,
        scope=given.get("scope", scope),
        native=NativeAsk(own, words, given.get("allow_parallel_tool_calls", True)),
        timeout=given.get("timeout"),
        accept=_accept(own, choice, schema),
        **({"id": str(given["request_id"])} if "request_id" in given else {}),
    )


def _own(tools: Any) -> tuple[BaseTool, ...]:
    if isinstance(tools, (str, bytes)) or not isinstance(tools, Sequence):
        raise InvalidInput("tools", tools, "pass a list of LlamaIndex tools")
    for tool in tools:
        if not isinstance(tool, (BaseTool, Mapping)):
            raise InvalidInput("tools", tool, "pass LlamaIndex tools, or tools as OpenAI has them")
    return tuple([tool for tool in tools if isinstance(tool, BaseTool)])


def _choice(given: Mapping[str, Any]) -> str:
    """The choice in our words: a tool's name, or "required" and such; there are many ways to say it."""
    choice = given.get("tool_choice")
    if isinstance(choice, Mapping):  # {"type": "function", "function": {"name": ...}}
        inner = choice.get("function", choice)
        choice = inner.get("name") or choice.get("type")
    if choice is None or (choice == "auto" and given.get("tool_required")):
        return "required" if given.get("tool_required") else ""
    return _CHOICES.get(str(choice), str(choice))


def _json(schema: Any, *, told: bool) -> Mapping[str, Any] | None:
    """The schema, if a model can be `told` of it; an answer is held to a class in any case."""
    if schema is None or (isinstance(schema, Mapping) and not isinstance(schema, SchemaOf)):
        return schema
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        schema = SchemaOf(schema)
    if not isinstance(schema, SchemaOf):
        raise InvalidInput("schema", schema, "pass a pydantic class or a JSON Schema")
    return schema if told else None


def _messages(chats: Sequence[ChatMessage]) -> NativeMessages:
    blocks = [block for chat in chats for block in chat.blocks]
    return NativeMessages(
        list(chats),
        _converted,
        characters=sum(_length(block) for block in blocks)
        + sum(len(str(chat.additional_kwargs.get("tool_calls") or "")) for chat in chats),
        images=any(block.block_type == "image" for block in blocks),
    )


def _converted(chats: Sequence[ChatMessage]) -> list[Message]:
    return [to_message(chat) for chat in chats]


def _length(block: Any) -> int:
    if isinstance(block, TextBlock):
        return len(block.text)
    if block.block_type == "tool_call":
        return len(block.tool_name) + len(str(block.tool_kwargs))
    if block.block_type == "thinking":
        return len(block.content or "")
    return 0


def _accept(own: Sequence[BaseTool], choice: str, schema: Any) -> Accept | None:
    """What an answer must have so that it is of use; None where any is."""
    if own and choice not in ("", "auto", "none"):
        named = [tool for tool in own if tool.metadata.get_name() == choice]
        return _calls_of(named or own)
    output_cls = getattr(schema, "output_cls", schema)
    if isinstance(output_cls, type):
        parser: PydanticOutputParser[Any] = PydanticOutputParser(output_cls)

        def parsed(answer: Answer) -> None:
            parser.parse(answer.message.content)

        return parsed
    return None


def _calls_of(own: Sequence[BaseTool]) -> Accept:
    """Where a tool has to be called, a call of one that there is, with arguments that it takes."""
    tools = {tool.metadata.get_name(): tool for tool in own}

    def called(answer: Answer) -> None:
        if not answer.message.tool_calls:
            raise ValueError("it was to call a tool and called none")
        for call in answer.message.tool_calls:
            if call.name not in tools:
                raise ValueError(f"it calls {call.name!r}, and was to call {' or '.join(tools)}")
            takes = tools[call.name].metadata.fn_schema
            if takes is not None:
                takes.model_validate(json.loads(call.arguments))

    return called
