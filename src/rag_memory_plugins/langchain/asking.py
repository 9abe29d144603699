"""What a LangChain model is asked, beyond our words: the caller's own tools, formats, callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langchain_core.tracers import context as hooks
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.function_calling import convert_to_openai_tool

from rag_memory_plugins.chat import NativeMessages, ToolSpec
from rag_memory_plugins.langchain.convert import to_message
from rag_memory_plugins.langchain.counting import IMAGES

__all__ = [
    "Asked",
    "Told",
    "choice_of",
    "field_of",
    "native_messages",
    "spec_of",
    "told_tools",
    "tracers",
    "unheard",
]

_CHOICES: Final = {"any": "required", "required": "required", "auto": "auto", "none": "none"}


class Told(dict[str, Any]):
    """A tool or a response format as JSON, with the object that it was made of beside it.

    `judge` is given an answer to it and raises `ValueError` for one of no use; `raw` says that the
    caller wants to see even that.
    """

    own: Any = None
    judge: Callable[[AIMessage], None] | None = None
    raw: bool = False


@dataclass(frozen=True)
class Asked:
    """`ChatRequest.native` of a request that a LangChain model made.

    `settings` are keywords of `bind_tools`. With `quiet` the caller's callbacks see the model that
    asks, not the one that is asked: nothing is counted or streamed twice; `callbacks` are those
    that see both.
    """

    tools: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    quiet: bool = False
    callbacks: Any = None


def told_tools(tools: Sequence[Any], *, strict: bool | None = None) -> list[Told]:
    """Tools of any kind as OpenAI's JSON; a provider's own tool stays what it is."""
    return [tool if isinstance(tool, Told) else _told(tool, strict) for tool in tools]


def _told(tool: Any, strict: bool | None) -> Told:
    try:
        told = Told(convert_to_openai_tool(tool, strict=strict))
    except ValueError:
        if not isinstance(tool, Mapping):
            raise
        told = Told(tool)  # of a provider that LangChain does not know
    told.own = tool
    return told


def spec_of(tool: Mapping[str, Any]) -> ToolSpec:
    """A tool for any model; one that a provider runs itself has a name and no parameters."""
    function = tool.get("function", tool)
    name = function.get("name") or function.get("type")
    return ToolSpec(name, function.get("description") or "", function.get("parameters") or {})


def choice_of(choice: Any, names: Sequence[str]) -> str:
    """A tool choice of any dialect in our words; "" where nothing was chosen."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        inner = function if isinstance(function, Mapping) else choice
        choice = inner.get("name") or inner.get("type")
    if choice is True:
        return "required"
    if not isinstance(choice, str) or not choice:
        return ""
    return choice if choice in names else _CHOICES.get(choice, choice)


def field_of(model: BaseChatModel, name: str) -> str | None:
    """The field of a model that `name` sets, None if the model does not know it."""
    fields = type(model).model_fields
    if name in fields:
        return name
    return next((known for known, info in fields.items() if info.alias == name), None)


def native_messages(messages: Sequence[BaseMessage]) -> NativeMessages:
    """LangChain's messages as ours; they are translated when a model of another kind is asked."""
    characters, images = 0, False
    for message in messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        else:
            for block in message.content:
                text = block if isinstance(block, str) else block.get("text")
                characters += len(text) if isinstance(text, str) else 0
                images = images or (isinstance(block, dict) and block.get("type") in IMAGES)
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                characters += len(call["name"]) + len(json.dumps(call["args"], default=str))
    return NativeMessages(messages, _ours, characters=characters, images=images)


def _ours(messages: Sequence[BaseMessage]) -> list[Any]:
    return [to_message(message) for message in messages]


def tracers(run: Any) -> Any:
    """Those callbacks of `run` that draw a tree of runs; the others would count a call twice.

    `run` is a model's run manager, None where LangChain hands none over (in streams): then those of
    the run around it.
    """
    found: Any = ensure_config().get("callbacks") if run is None else run
    if isinstance(found, list) or found is None:
        return [handler for handler in found or () if _draws(handler)]
    parent = found.parent_run_id if run is None else run.run_id
    drawing = [handler for handler in found.inheritable_handlers if _draws(handler)]
    return CallbackManager(drawing, list(drawing), parent_run_id=parent)


def _draws(handler: object) -> bool:
    return isinstance(handler, BaseTracer) and not isinstance(handler, _StreamingCallbackHandler)


@contextmanager
def unheard() -> Iterator[None]:
    """Callbacks that context variables hold hear nothing: those of the run around, for example."""
    with ExitStack() as stack:
        # A model with bound tools adds these to whatever config it is given.
        around = var_child_runnable_config
        stack.callback(around.reset, around.set(None))
        for variable, *_ in getattr(hooks, "_configure_hooks", ()):
            heard = variable.get()
            if heard is not None and not _draws(heard):
                stack.callback(variable.reset, variable.set(None))
        yield
