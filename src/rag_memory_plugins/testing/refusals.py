"""Refusals as providers word them, each a `Refusal` for a `FaultServer` to send."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from rag_memory_plugins.testing.fault_replies import Refusal

__all__ = [
    "bad_request",
    "content_filtered",
    "context_exceeded",
    "forbidden",
    "model_missing",
    "out_of_credit",
    "out_of_memory",
    "overloaded",
    "rate_limited",
    "server_error",
    "too_large",
    "unauthorized",
]


def rate_limited(
    *,
    retry_after_ms: float | None = None,
    retry_after: float | str | datetime | None = None,
    reset_requests: str | None = None,
    reset_tokens: str | None = None,
    try_again_in: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """429, and what it says of when to come back: each header that is given, or nothing.

    `retry_after` is seconds, or an aware UTC datetime for the date form; the resets are Go
    durations ("6m0s") and come with nothing remaining; `try_again_in` ("5.289s") stands in the
    message. `headers` are added as they are, and win.
    """
    sent: dict[str, str] = {}
    if retry_after_ms is not None:
        sent["retry-after-ms"] = str(retry_after_ms)
    if isinstance(retry_after, datetime):
        sent["Retry-After"] = format_datetime(retry_after, usegmt=True)
    elif retry_after is not None:
        sent["Retry-After"] = str(retry_after)
    for name, reset in (("requests", reset_requests), ("tokens", reset_tokens)):
        if reset is not None:
            sent[f"x-ratelimit-remaining-{name}"] = "0"
            sent[f"x-ratelimit-reset-{name}"] = reset
    again = f" Please try again in {try_again_in}." if try_again_in else ""
    return Refusal(
        429,
        f"Rate limit reached for this model on tokens per minute (TPM).{again}",
        kind="tokens",
        code="rate_limit_exceeded",
        headers={**sent, **(headers or {})},
    )


def too_large(limit: int = 7000, requested: int = 7895, *, status: int = 413) -> Refusal:
    """One request over the whole limit of a minute: waiting does not help on this model."""
    return Refusal(
        status,
        "Request too large for this model on tokens per minute (TPM): "
        f"Limit {limit}, Requested {requested}, please reduce your message size and try again.",
        kind="tokens",
        code="rate_limit_exceeded",
    )


def unauthorized() -> Refusal:
    """401: the key is wrong."""
    return Refusal(401, "Invalid API Key", kind="invalid_request_error", code="invalid_api_key")


def out_of_credit() -> Refusal:
    """402, in OpenRouter's form."""
    return Refusal(402, "Insufficient credits", code=402)


def forbidden() -> Refusal:
    """403: the key may not use this model."""
    return Refusal(
        403,
        "The project does not have access to this model",
        kind="permissions_error",
        code="model_permission_denied",
    )


def model_missing(model: str = "missing") -> Refusal:
    """404: there is no such model, or Ollama has not pulled it."""
    return Refusal(
        404, f"model '{model}' not found", kind="not_found_error", code="model_not_found"
    )


def bad_request(message: str = "'messages': at least one message is required") -> Refusal:
    """400 for what the caller sent."""
    return Refusal(400, message, kind="invalid_request_error")


def context_exceeded(window: int = 8192, requested: int = 9000) -> Refusal:
    """400: the prompt is longer than the model's context window."""
    return Refusal(
        400,
        f"This model's maximum context length is {window} tokens. However, your messages resulted "
        f"in {requested} tokens. Please reduce the length of the messages.",
        kind="invalid_request_error",
        code="context_length_exceeded",
    )


def content_filtered(*, status: int = 400) -> Refusal:
    """The prompt was refused: Azure's form with 400, OpenRouter's with 403."""
    if status == 403:
        return Refusal(
            403,
            "This model requires moderation, and your input was flagged",
            code=403,
            more={"metadata": {"reasons": ["violence"], "flagged_input": "..."}},
        )
    return Refusal(
        status,
        "The prompt was filtered by the content management policy",
        kind="invalid_request_error",
        code="content_filter",
    )


def server_error(status: int = 500) -> Refusal:
    """500, 502, 504: something broke on their side."""
    return Refusal(status, "Internal Server Error", kind="server_error")


def overloaded(status: int = 503, headers: Mapping[str, str] | None = None) -> Refusal:
    """503 or 529: too many requests of everybody."""
    return Refusal(
        status, "The model is overloaded", kind="overloaded_error", headers=headers or {}
    )


def out_of_memory(needed: str = "7.5 GiB", available: str = "5.2 GiB") -> Refusal:
    """500 as Ollama words it, through either protocol, when a model does not fit into memory."""
    return Refusal(
        500,
        f"model requires more system memory ({needed}) than is available ({available})",
    )
