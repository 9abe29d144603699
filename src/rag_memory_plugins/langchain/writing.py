"""A router's answer as LangChain holds one: the decision in its metadata, the run's own id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from rag_memory_plugins.chat import Answer, Delta
from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.convert import to_langchain
from rag_memory_plugins.langchain.reading import usage_metadata

if TYPE_CHECKING:
    from rag_memory_plugins.router.decisions import Decision
    from rag_memory_plugins.router.router import Router

__all__ = ["ROUTER", "Writing", "decided", "message_of", "told_decision"]

ROUTER: Final = "router"
"""The key of `response_metadata` under which a decision stands."""

_RUN: Final = "lc_run-"


def decided(router: Router, request_id: str) -> dict[str, Any]:
    """What became of a request: its id, who answered, and every attempt. `explain` has the rest."""
    try:
        decision = router.explain(request_id)
    except InvalidInput:  # a thousand requests began since
        return {"request_id": request_id}
    return told_decision(decision)


def told_decision(decision: Decision) -> dict[str, Any]:
    """A decision as JSON."""
    attempts = [
        {
            "model": tried.model,
            "outcome": tried.outcome,
            "seconds": round(tried.seconds, 6),
            **({"error": tried.error} if tried.error else {}),
        }
        for tried in decision.attempts
    ]
    told: dict[str, Any] = {
        "request_id": decision.request_id,
        "model": decision.model,
        "attempts": attempts,
    }
    if decision.cached:
        told["cached"] = decision.cached
    return told


def message_of(router: Router, answer: Answer) -> AIMessage:
    """The answer: the model's own message if it is of LangChain, else one made of ours."""
    said: dict[str, Any] = {"model_name": _model(router, answer.model)}
    native = answer.native
    if not isinstance(native, AIMessage):
        made = to_langchain(answer.message)
        thought = {"reasoning_content": answer.reasoning} if answer.reasoning else {}
        fields: dict[str, Any] = {
            "id": None,
            "usage_metadata": usage_metadata(answer.usage),
            "additional_kwargs": {**made.additional_kwargs, **thought},
        }
        native = made.model_copy(update=fields)
        said["finish_reason"] = answer.finish
    metadata = {
        **said,
        **native.response_metadata,
        ROUTER: decided(router, answer.request_id),
    }
    fields = {"id": _id(native), "response_metadata": metadata}
    copied: AIMessage = native.model_copy(update=fields)
    return copied


class Writing:
    """Pieces of one answer as LangChain's chunks, and the chunk that ends it."""

    def __init__(self) -> None:
        self._named = False
        self._native = False
        self._finish = ""
        self._usage: Any = None
        self._model = ""

    def chunk(self, delta: Delta) -> ChatGenerationChunk | None:
        """The chunk of a piece; None if there is nothing in it."""
        self._finish = delta.finish or self._finish
        self._model = delta.model or self._model
        native = delta.native
        if isinstance(native, AIMessage):
            self._native = True
            self._named = self._named or bool(native.response_metadata.get("model_name"))
            message = _as_chunk(native)
            empty = not (
                message.content or message.tool_call_chunks or message.response_metadata
                or message.usage_metadata or message.additional_kwargs
            )  # fmt: skip
            return None if empty else ChatGenerationChunk(message=message)
        self._usage = delta.usage or self._usage  # once, at the end: LangChain adds them up
        if not delta.has_content:
            return None
        calls = [
            tool_call_chunk(
                name=piece.name or None,
                args=piece.arguments,
                # Its result must name it, and some providers give a call no id.
                id=piece.id or (f"call_{uuid4().hex}" if piece.name else None),
                index=piece.index,
            )
            for piece in delta.tools
        ]
        thought = {"reasoning_content": delta.reasoning} if delta.reasoning else {}
        made = AIMessageChunk(content=delta.text, additional_kwargs=thought, tool_call_chunks=calls)
        return ChatGenerationChunk(message=made)

    def last(self, router: Router, request_id: str) -> ChatGenerationChunk:
        """What ends the answer, with the decision."""
        decision = decided(router, request_id)
        said: dict[str, Any] = {ROUTER: decision}
        if not self._named:
            said["model_name"] = self._model or _model(router, decision.get("model", ""))
        if not self._native and self._finish:
            said["finish_reason"] = self._finish
        message = AIMessageChunk(
            content="",
            response_metadata=said,
            usage_metadata=usage_metadata(self._usage),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)


def _as_chunk(message: AIMessage) -> AIMessageChunk:
    if isinstance(message, AIMessageChunk):
        # The answer ends with a chunk of ours.
        return message.model_copy(update={"id": _id(message), "chunk_position": None})
    return AIMessageChunk(
        content=message.content,
        id=_id(message),
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
        usage_metadata=message.usage_metadata,
    )


def _id(message: AIMessage) -> str | None:
    """A provider's id; the run's that asks takes the place of the inner run's."""
    own = message.id
    return None if own is None or own.startswith(_RUN) else own


def _model(router: Router, name: str) -> str:
    found = next((model for model in router.candidates if model.name == name), None)
    return name if found is None else found.model
