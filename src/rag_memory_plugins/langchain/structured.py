"""Answers of a wanted form: what a router's model is told of it, and how an answer is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.langchain.asking import Told, told_tools

__all__ = ["METHODS", "Form", "Method", "form_of", "parsed_with"]

Method: TypeAlias = Literal["function_calling", "json_schema", "json_mode"]
METHODS: Final[tuple[Method, ...]] = ("function_calling", "json_schema", "json_mode")


@dataclass(frozen=True)
class Form:
    """What is bound to a model for an answer of a form, and what parses it."""

    bound: Mapping[str, Any]
    parser: BaseOutputParser[Any]


def form_of(schema: Any, method: Method, *, strict: bool | None, raw: bool) -> Form:
    """The form of `schema`: a Pydantic class, a `TypedDict`, a JSON Schema or an OpenAI tool."""
    if method not in METHODS:
        raise InvalidInput("method", method, nearest(str(method), METHODS))
    typed = isinstance(schema, type) and is_basemodel_subclass(schema)
    function = convert_to_openai_tool(schema, strict=strict)["function"]
    parser: BaseOutputParser[Any]
    if method == "function_calling":
        (tool,) = told_tools([schema], strict=strict)
        if typed:
            parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        else:
            parser = JsonOutputKeyToolsParser(key_name=function["name"], first_tool_only=True)
        bound: dict[str, Any] = {"tools": [tool], "tool_choice": function["name"]}
        told = tool
    else:
        parser = PydanticOutputParser(pydantic_object=schema) if typed else JsonOutputParser()
        told = Told({"type": "json_object"})
        if method == "json_schema":
            wanted = {"name": function["name"], "schema": function["parameters"]}
            if strict is not None:
                wanted["strict"] = strict
            told = Told({"type": "json_schema", "json_schema": wanted})
        bound = {"response_format": told}
    told.judge = _judge(parser, None if typed else function["parameters"])
    told.raw = raw
    bound["ls_structured_output_format"] = {"kwargs": {"method": method}, "schema": schema}
    return Form(bound, parser)


def parsed_with(
    model: Runnable[Any, AIMessage], form: Form, *, include_raw: bool
) -> Runnable[Any, Any]:
    """`model` and the parser behind it; with `include_raw` the message and a failure beside it."""
    if not include_raw:
        return model | form.parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | form.parser, parsing_error=lambda _: None
    )
    unread = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([unread], exception_key="parsing_error")


def _judge(
    parser: BaseOutputParser[Any], parameters: Mapping[str, Any] | None
) -> Callable[[BaseMessage], None]:
    def judge(message: BaseMessage) -> None:
        value = parser.parse_result([ChatGeneration(message=message)])
        if value is None:
            raise ValueError("it is not of the form that was asked for")
        if parameters is not None:
            required = parameters.get("required", ())
            missing = [key for key in required if key not in value]
            if missing:
                raise ValueError(f"the answer lacks {', '.join(missing)}")

    return judge
