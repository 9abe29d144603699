"""What an integration's answer says of itself: why it ended, and what it used.

LlamaIndex has no common place for either. Integrations hand over the provider's own object as
`raw`, and some copy figures into `additional_kwargs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

from llama_index.core.base.llms.types import ChatResponse

from rag_memory_plugins.chat import Usage
from rag_memory_plugins.router.finishing import finish_word

__all__ = ["finish_of", "model_of", "usage_of"]

_REASONS: Final = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_INPUT: Final = (
    "prompt_tokens", "input_tokens", "prompt_token_count", "prompt_eval_count", "inputTokens",
)  # fmt: skip
_OUTPUT: Final = (
    "completion_tokens", "output_tokens", "candidates_token_count", "eval_count", "outputTokens",
)  # fmt: skip
_CACHED: Final = ("cached_tokens", "cached_content_token_count")
_REASONED: Final = ("reasoning_tokens", "thoughts_token_count")
_MISSING: Final = object()


def finish_of(response: ChatResponse) -> str | None:
    """Why the answer ended, "" for a piece before the end, None where nothing is said of it."""
    told = False
    for source in _sources(response):
        for name in _REASONS:
            value = _get(source, name)
            told = told or value is None
            word = value.name if isinstance(value, Enum) else value
            if isinstance(word, str) and word:
                return finish_word(word)
    done = _get(response.raw, "done")  # Ollama
    if isinstance(done, bool):
        return "stop" if done else ""
    return "" if told else None


def usage_of(response: ChatResponse) -> Usage | None:
    """Tokens as the provider counted them; None where it did not."""
    raw = response.raw
    for source in (
        _get(raw, "usage"),
        _get(raw, "usage_metadata"),
        raw,
        response.additional_kwargs,
        response.message.additional_kwargs,
    ):
        taken, given = _number(source, _INPUT), _number(source, _OUTPUT)
        if taken is None or given is None:
            continue
        details = _get(source, "prompt_tokens_details")
        cached = _number(details, _CACHED) or _number(source, _CACHED) or 0
        apart = _number(source, ("cache_read_input_tokens",)) or 0  # Anthropic: not in its input
        thought = _get(source, "completion_tokens_details")
        reasoning = _number(thought, _REASONED) or _number(source, _REASONED) or 0
        return Usage(taken + apart, given, cached + apart, reasoning)
    return None


def model_of(response: ChatResponse) -> str:
    """What the provider says that the model is; "" where it does not."""
    model = _get(response.raw, "model")
    return model if isinstance(model, str) else ""


def _sources(response: ChatResponse) -> Iterator[Any]:
    raw = response.raw
    for name in ("choices", "candidates"):
        several = _get(raw, name)
        if isinstance(several, (list, tuple)) and several:
            yield several[0]
    yield raw
    yield response.additional_kwargs
    yield response.message.additional_kwargs


def _get(source: Any, name: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(name, _MISSING)
    return _MISSING if source is None else getattr(source, name, _MISSING)


def _number(source: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = _get(source, name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
