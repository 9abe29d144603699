"""What a LangChain model answers, as pieces of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage

from rag_memory_plugins.chat import Delta, ToolPiece, Usage
from rag_memory_plugins.router.finishing import finish_word

__all__ = ["Reading", "reasoning_of", "usage_metadata", "usage_of"]

_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")


class Reading:
    """One answer of a LangChain model, read piece by piece.

    `form` is the tool that stands for a schema: the arguments of its call are the answer's text.

    >>> reading = Reading()
    >>> reading.piece(AIMessageChunk("Hi")).text, reading.end().finish
    ('Hi', 'stop')
    """

    def __init__(self, form: str = "") -> None:
        self.said_finish = False
        self._form = form
        self._finish = ""
        self._usage: UsageMetadata | None = None
        self._called = False
        self._forms: set[int] = set()
        self._numbers: dict[Any, int] = {}

    def piece(self, message: BaseMessage) -> Delta:
        """A chunk, or a whole message."""
        self._note(message)
        text, tools = str(message.text), []
        for tool in self._calls(message):
            if tool.name and tool.name == self._form:
                self._forms.add(tool.index)
            if tool.index in self._forms:
                text += tool.arguments
            else:
                tools.append(tool)
                self._called = True
        return Delta(
            text,
            reasoning_of(message),
            tuple(tools),
            usage=usage_of(self._usage),
            model=str(message.response_metadata.get("model_name") or ""),
            native=None if self._form else message,
        )

    def end(self, *, cut_off: bool = False) -> Delta:
        """What ends the answer. With `cut_off`, an answer without a reason to end has no end."""
        if self._finish == "tool_calls" and self._forms and not self._called:
            return Delta(finish="stop")
        # LangChain has no word for why an answer ended, and some integrations hand on none: one
        # that came to its end without an error is taken for whole.
        normal = "tool_calls" if self._called else "stop"
        return Delta(finish=self._finish or ("" if cut_off else normal))

    def _note(self, message: BaseMessage) -> None:
        said = message.response_metadata
        reason = next((said[key] for key in _REASONS if said.get(key)), None)
        if reason is not None:
            self.said_finish = True
            self._finish = finish_word(str(getattr(reason, "name", reason)))
        if isinstance(message, AIMessage) and message.usage_metadata:
            # A chunk holds what is added to the chunks before it.
            self._usage = add_usage(self._usage, message.usage_metadata)

    def _calls(self, message: BaseMessage) -> Iterator[ToolPiece]:
        if isinstance(message, AIMessageChunk):
            for chunk in message.tool_call_chunks:
                number = self._number(chunk["index"], chunk["id"] or chunk["name"])
                yield ToolPiece(number, chunk["id"] or "", chunk["name"] or "", chunk["args"] or "")
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                arguments = json.dumps(call["args"], ensure_ascii=False)
                yield ToolPiece(
                    self._number(None, "new"), call["id"] or "", call["name"], arguments
                )
            for broken in message.invalid_tool_calls:
                number = self._number(None, "new")
                # With arguments that are no JSON the call counts as broken, as it is.
                arguments = broken["args"] or "?"
                yield ToolPiece(number, broken["id"] or "", broken["name"] or "", arguments)

    def _number(self, index: Any, begins: Any) -> int:
        """The number of a call: by its index, or of the last one if nothing begins."""
        if index is not None:
            return self._numbers.setdefault(index, len(self._numbers))
        if begins or not self._numbers:
            self._numbers[("new", len(self._numbers))] = len(self._numbers)
        return len(self._numbers) - 1


def reasoning_of(message: BaseMessage) -> str:
    """What a model thought aloud, as OpenAI's, Anthropic's and LangChain's blocks hold it."""
    said = message.additional_kwargs.get("reasoning_content")
    parts = [said] if isinstance(said, str) else []
    for block in message.content if isinstance(message.content, list) else ():
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "thinking":
            parts.append(str(block.get("thinking") or ""))
        elif block.get("type") in ("reasoning", "reasoning_content"):
            parts.append(str(block.get("reasoning") or ""))
            parts += [str(item.get("text") or "") for item in block.get("summary") or ()]
    return "".join(parts)


def usage_of(usage: UsageMetadata | None) -> Usage | None:
    """LangChain's figures in ours."""
    if usage is None:
        return None
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    return Usage(
        usage["input_tokens"],
        usage["output_tokens"],
        read.get("cache_read", 0),
        written.get("reasoning", 0),
    )


def usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Our figures in LangChain's."""
    if usage is None:
        return None
    told = UsageMetadata(
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.input + usage.output,
    )
    if usage.cached:
        told["input_token_details"] = {"cache_read": usage.cached}
    if usage.reasoning:
        told["output_token_details"] = {"reasoning": usage.reasoning}
    return told
