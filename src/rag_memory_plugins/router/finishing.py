"""Why an answer ended, in one vocabulary: "stop", "length", "tool_calls", "content_filter"."""

from __future__ import annotations

from typing import Final

__all__ = ["finish_word"]

_WORDS: Final = {
    "blocklist": "content_filter",
    "complete": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "function_call": "tool_calls",
    "guardrail_intervened": "content_filter",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "model_length": "length",
    "pause_turn": "stop",
    "prohibited_content": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "stop_sequence": "stop",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
}


def finish_word(said: str) -> str:
    """A provider's word as `Delta.finish` has it; one that nobody knows stays, in lower case.

    >>> finish_word("MAX_TOKENS"), finish_word("stop"), finish_word("length_limit")
    ('length', 'stop', 'length_limit')
    """
    word = said.lower()
    return _WORDS.get(word, word)
