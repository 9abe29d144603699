"""Without what only another provider takes: cache marks, signed thoughts, a class's own settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool

from rag_memory_plugins.langchain.asking import field_of

__all__ = ["for_model", "known_settings", "provider_of", "settings_for", "tools_for"]

MESSAGE = TypeVar("MESSAGE", bound=BaseMessage)

_THOUGHTS: Final = (
    "thinking", "redacted_thinking", "reasoning", "reasoning_content", "non_standard",
    "server_tool_call", "server_tool_result", "server_tool_use",
)  # fmt: skip
_CALLS: Final = ("tool_use", "tool_call", "function_call", "input_json_delta", "tool_call_chunk")
"""They stand in `tool_calls` too, from where every integration takes them."""
_CACHING: Final = "cache_control"


def provider_of(model: BaseChatModel) -> str:
    """Who runs a model, as LangChain names it in traces and in `model_provider`."""
    try:
        params = model._get_ls_params()  # noqa: SLF001  # LangChain has no public word for it
        return str(params.get("ls_provider", ""))
    except Exception:  # an integration's own code, asked for a name only
        return ""


def _marks_caches(model: BaseChatModel) -> bool:
    return "anthropic" in model._llm_type  # noqa: SLF001  # nor for this


def for_model(messages: Sequence[MESSAGE], model: BaseChatModel) -> list[MESSAGE]:
    """`messages` as `model` takes them; those with nothing foreign in them stay the same objects.

    Cache marks stay for Anthropic's models alone. Of what another provider answered the signed or
    encrypted thoughts and the tools that it ran itself are left out: nobody else can read them.
    """
    if all(isinstance(message.content, str) for message in messages):
        return list(messages)
    provider, marks = provider_of(model), _marks_caches(model)
    return [_plain(message, provider, marks=marks) for message in messages]


def _plain(message: MESSAGE, provider: str, *, marks: bool) -> MESSAGE:
    if not isinstance(message.content, list):
        return message
    blocks: list[Any] = [
        block if marks or not isinstance(block, dict) else _without(block, _CACHING)
        for block in message.content
    ]
    content: Any = blocks
    author = message.response_metadata.get("model_provider")
    if isinstance(message, AIMessage) and author and provider and author != provider:
        content = [block for block in blocks if _kind(block) not in (*_THOUGHTS, *_CALLS)]
        if all(_kind(block) == "text" for block in content):
            # Not every provider takes an answer in blocks.
            content = "".join(
                b if isinstance(b, str) else str(b.get("text") or "") for b in content
            )
    elif all(map(_same, blocks, message.content)):
        return message
    return message.model_copy(update={"content": content})


def _kind(block: Any) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


def _same(one: object, other: object) -> bool:
    return one is other


def _without(value: Mapping[str, Any], key: str) -> Any:
    """A mapping without a key, at the top and in what hangs on it; the same object if it is not."""
    inner = {name: value.get(name) for name in ("extras", "metadata")}
    changed = {
        name: {k: v for k, v in item.items() if k != key}
        for name, item in inner.items()
        if isinstance(item, Mapping) and key in item
    }
    if key not in value and not changed:
        return value
    return {name: item for name, item in {**value, **changed}.items() if name != key}


def tools_for(tools: Sequence[Any], model: BaseChatModel) -> list[Any]:
    """Tools without cache marks, for a model that takes none."""
    if _marks_caches(model):
        return list(tools)
    return [_tool(tool) for tool in tools]


def _tool(tool: Any) -> Any:
    if isinstance(tool, Mapping):
        return _without(tool, _CACHING)
    extras = tool.extras if isinstance(tool, BaseTool) else None
    if not extras or _CACHING not in extras:
        return tool
    left = {name: value for name, value in extras.items() if name != _CACHING}
    return tool.model_copy(update={"extras": left or None})


def settings_for(
    settings: Mapping[str, Any], model: BaseChatModel, meant_for: BaseChatModel | None = None
) -> dict[str, Any]:
    """Those of `settings` that `model` knows, or all if they were `meant_for` a model of its class.

    A model knows its fields, the keywords of its `bind_tools`, and `stop`.
    """
    if meant_for is not None and type(meant_for) is type(model):
        return dict(settings)
    names = known_settings(model)
    return {
        name: value
        for name, value in settings.items()
        if name in names or field_of(model, name) is not None
    }


def known_settings(model: BaseChatModel) -> frozenset[str]:
    """Keywords of `model.bind_tools`, and `stop`."""
    return _keywords(type(model))


@lru_cache(maxsize=256)
def _keywords(kind: type[BaseChatModel]) -> frozenset[str]:
    parameters = inspect.signature(kind.bind_tools).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {item.name for item in parameters if item.kind in named}
    return frozenset((names - {"self", "tools", "tool_choice"}) | {"stop"})
