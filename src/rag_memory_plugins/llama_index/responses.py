"""What a router answered, as LlamaIndex's `ChatResponse`s."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, ChatResponseAsyncGen, ChatResponseGen
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json

from rag_memory_plugins.chat import Answer, ChatRequest, Delta
from rag_memory_plugins.llama_index.blocks import calls, openai_call, plain
from rag_memory_plugins.router.decisions import Decision
from rag_memory_plugins.router.router import Router
from rag_memory_plugins.types import Message, ToolCall

__all__ = ["aparts", "one_call", "parts", "response_of", "selections"]


def response_of(answer: Answer, decision: Decision) -> ChatResponse:
    """The model's own response if it is of LlamaIndex, else one made of the answer.

    `additional_kwargs` tell the tokens, and under "router" who was asked and who answered; `raw`
    does too, unless it is the integration's own object.
    """
    native = answer.native
    if not isinstance(native, ChatResponse):
        native = ChatResponse(message=plain(answer.message))
        if answer.reasoning:
            native.additional_kwargs["thinking"] = answer.reasoning
    return _finished(native, decision, answer.finish, answer.model)


class _Replies:
    """The responses of a stream: each holds what came so far, and `delta` what is new.

    `marks` writes tool calls into `additional_kwargs` too, where LlamaIndex's programs look for
    them in a stream.
    """

    def __init__(self, request_id: str, *, marks: bool = False) -> None:
        self._id = request_id
        self._marks = marks
        self._text = ""
        self._calls: dict[int, list[str]] = {}
        self._finish = ""
        self._model = ""
        self._last: ChatResponse | None = None

    def add(self, delta: Delta) -> ChatResponse | None:
        """The response of a piece; None where it has nothing for a reader."""
        self._finish = delta.finish or self._finish
        self._model = delta.model or self._model
        self._text += delta.text
        for piece in delta.tools:
            call = self._calls.setdefault(piece.index, ["", "", ""])
            call[0], call[1] = call[0] or piece.id, call[1] or piece.name
            call[2] += piece.arguments
        native = delta.native
        if isinstance(native, ChatResponse):
            self._last = native.model_copy(update={"delta": delta.text})
        elif delta.has_content:
            made = ChatResponse(message=plain(self._message()), delta=delta.text)
            if delta.reasoning:
                made.additional_kwargs["thinking_delta"] = delta.reasoning
            self._last = made
        else:
            return None
        if self._marks:
            self._last = _with_calls(self._last)
        return self._last

    def last(self, decision: Decision) -> ChatResponse:
        """One more response behind the last piece, which tells the tokens and the decision."""
        last = self._last
        if last is None:
            last = ChatResponse(message=plain(self._message()))
        kwargs = {k: v for k, v in last.additional_kwargs.items() if k != "thinking_delta"}
        last = last.model_copy(update={"delta": "", "additional_kwargs": kwargs})
        return _finished(last, decision, self._finish, self._model)

    def _message(self) -> Message:
        made = tuple(
            ToolCall(call_id or f"call_{self._id}_{index}", name, arguments or "{}")
            for index, (call_id, name, arguments) in sorted(self._calls.items())
        )
        return Message("assistant", self._text, tool_calls=made)


def _with_calls(response: ChatResponse) -> ChatResponse:
    """The response with its tool calls in the message's `additional_kwargs`, as OpenAI's has."""
    message = response.message
    made = calls(message)
    if not made or message.additional_kwargs.get("tool_calls"):
        return response
    kwargs = {**message.additional_kwargs, "tool_calls": [openai_call(call) for call in made]}
    marked = message.model_copy(update={"additional_kwargs": kwargs})
    return response.model_copy(update={"message": marked})


def one_call(response: ChatResponse) -> ChatResponse:
    """The response with the first of its tool calls alone."""
    message = response.message
    if len(calls(message)) < 2:
        return response
    others = [b for b in message.blocks if b.block_type == "tool_call"][1:]
    blocks = [block for block in message.blocks if not any(block is other for other in others)]
    kwargs = dict(message.additional_kwargs)
    if kwargs.get("tool_calls"):
        kwargs["tool_calls"] = kwargs["tool_calls"][:1]
    alone = message.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})
    return response.model_copy(update={"message": alone})


def selections(response: ChatResponse) -> list[ToolSelection]:
    """The tool calls of a response; of one that is not whole yet, as far as it came."""
    return [
        ToolSelection(tool_id=call.id, tool_name=call.name, tool_kwargs=_arguments(call.arguments))
        for call in calls(response.message)
    ]


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = parse_partial_json(text or "{}")
    except ValueError:  # not even the beginning of JSON
        return {}
    return value if isinstance(value, dict) else {}


def _finished(response: ChatResponse, decision: Decision, finish: str, model: str) -> ChatResponse:
    tokens = _tokens(decision)
    router = _written(decision)
    raw = response.raw
    if raw is None:
        raw = {"model": model, "finish_reason": finish, "usage": tokens, "router": router}
    elif isinstance(raw, dict):
        raw = {**raw, "router": router}
    kwargs = {**tokens, **response.additional_kwargs, "router": router}
    # A copy: callers write into it, and a cache may hold the message.
    message = response.message.model_copy()
    message.additional_kwargs = dict(message.additional_kwargs)
    return response.model_copy(update={"message": message, "additional_kwargs": kwargs, "raw": raw})


def _tokens(decision: Decision) -> dict[str, int]:
    """In the words of OpenAI, which TokenCountingHandler and others read."""
    last = decision.attempts[-1] if decision.attempts and not decision.cached else None
    taken, given = (last.input_tokens, last.output_tokens) if last is not None else (0, 0)
    return {
        "prompt_tokens": taken,
        "completion_tokens": given,
        "total_tokens": taken + given,
    }


def _written(decision: Decision) -> dict[str, Any]:
    return {
        "request_id": decision.request_id,
        "model": decision.model,
        "cached": decision.cached,
        "attempts": [
            {
                "model": tried.model,
                "outcome": tried.outcome,
                "seconds": round(tried.seconds, 6),
                "cost": tried.cost,
                "error": tried.error,
            }
            for tried in decision.attempts
        ],
    }


def parts(router: Router, request: ChatRequest, *, marks: bool) -> ChatResponseGen:
    """The responses of a stream. Closing it closes the provider's connection."""
    replies = _Replies(request.id, marks=marks)
    with closing(router.stream(request)) as pieces:  # type: ignore[type-var]  # a generator
        for delta in pieces:
            reply = replies.add(delta)
            if reply is not None:
                yield reply
    yield replies.last(router.explain(request.id))


async def aparts(router: Router, request: ChatRequest, *, marks: bool) -> ChatResponseAsyncGen:
    """Async form of `parts`."""
    replies = _Replies(request.id, marks=marks)
    async with aclosing(router.astream(request)) as pieces:
        async for delta in pieces:
            reply = replies.add(delta)
            if reply is not None:
                yield reply
    yield replies.last(router.explain(request.id))
