"""One call of a `RouterChatModel`: LangChain's keywords as a `ChatRequest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from rag_memory_plugins.chat import Answer, ChatRequest
from rag_memory_plugins.errors import AllModelsFailed, AnswerRejected, InvalidInput, nearest
from rag_memory_plugins.langchain.asking import (
    Asked,
    Told,
    choice_of,
    native_messages,
    spec_of,
    told_tools,
)
from rag_memory_plugins.langchain.writing import message_of

if TYPE_CHECKING:
    from rag_memory_plugins.langchain.router_model import RouterChatModel
    from rag_memory_plugins.router.router import Router

__all__ = ["RouterCall"]

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_NATIVE: Final = ("strict",)
"""Keywords of `bind_tools` that no provider takes as they are."""
_TRACED: Final = ("ls_structured_output_format", "structured_output_format", "stream")


class RouterCall:
    """One call as the router is asked it."""

    def __init__(
        self,
        model: RouterChatModel,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        callbacks: Any,
    ) -> None:
        self._model = model
        self._rejected: list[Answer] = []
        given = {name: value for name, value in kwargs.items() if name not in _TRACED}
        tools = told_tools(given.pop("tools", None) or ())
        wanted = given.pop("response_format", None)
        told = [*tools, *([wanted] if isinstance(wanted, Told) else [])]
        self._form = next((each for each in told if each.judge is not None), None)
        schema = _schema(wanted)
        if wanted is not None and schema is None:
            given["response_format"] = wanted  # a dialect of the provider's
        choice = choice_of(given.pop("tool_choice", None), [spec_of(tool).name for tool in tools])
        limits = [given.pop(name) for name in _LIMITS if name in given]
        settings = {name: given.pop(name) for name in _NATIVE if name in given}
        named = {"id": given.pop("request_id")} if given.get("request_id") else {}
        self.request = ChatRequest(
            native_messages(messages),
            tools=tuple([spec_of(tool) for tool in tools]),
            tool_choice=choice,
            schema=schema,
            max_tokens=next((n for n in limits if n is not None), model.max_tokens),
            temperature=given.pop("temperature", model.temperature),
            stop=tuple(stop or model.stop or ()),
            timeout=given.pop("timeout", model.timeout),
            scope=model.scope,
            first=_entry(model.router, given.pop("model", None)),
            options=given,
            native=Asked(
                tuple([tool.own for tool in tools]), settings, quiet=True, callbacks=callbacks
            ),
            accept=None if self._form is None else self._judge,
            **named,
        )

    def last(self, error: AllModelsFailed) -> Answer:
        """The last answer that was of no use, for who wants to see it; else raises `error`."""
        rejected = all(isinstance(each, AnswerRejected) for each in error.errors)
        if self._form is None or not (self._form.raw and rejected and self._rejected):
            raise error
        return self._rejected[-1]

    def _judge(self, answer: Answer) -> None:
        if self._form is None or self._form.judge is None:
            return
        try:
            self._form.judge(message_of(self._model.router, answer))
        except ValueError:
            self._rejected.append(answer)
            raise


def _entry(router: Router, name: Any) -> str:
    names = [model.name for model in router.candidates]
    if name is None or name in names:
        return name or ""
    raise InvalidInput("model", name, nearest(str(name), names))


def _schema(wanted: Any) -> Mapping[str, Any] | None:
    """The JSON Schema in a response format, None if there is none."""
    if isinstance(wanted, type):
        wanted = {"json_schema": _named(wanted)}
    inner = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        return None
    return {"title": inner.get("name") or "answer", **inner["schema"]}


def _named(kind: type) -> dict[str, Any]:
    function = convert_to_openai_tool(kind)["function"]
    return {"name": function["name"], "schema": function["parameters"]}
