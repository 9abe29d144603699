"""`ollama()`: a model of an Ollama server as an entry of a router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag_memory_plugins.events import Hook
from rag_memory_plugins.router.models import Capabilities, Model, Price, Timeouts, account
from rag_memory_plugins.router.ollama_chat import TIMEOUTS, OllamaChat
from rag_memory_plugins.router.ollama_models import full_name

__all__ = ["OllamaChat", "ollama"]


def ollama(
    model: str,
    host: str | None = None,
    *,
    name: str = "",
    window: int | None = None,
    quantisation: str = "",
    api_key: str | None = None,
    capabilities: Capabilities | None = None,
    price: Price | None = None,
    timeouts: Timeouts = TIMEOUTS,
    concurrency: int | None = None,
    quality: float = 0.3,
    options: Mapping[str, Any] | None = None,
    hooks: tuple[Hook, ...] = (),
) -> Model:
    """A model of an Ollama server; `host` is by default OLLAMA_HOST, else 127.0.0.1:11434.

    `model` is a name as `ollama list` shows it. Any installed variant of its name, size and kind
    may answer: the one of that very tag, else the best; with `quantisation` ("q4_0", or "q4" for any
    of four bits) one of those first. One that does not fit into memory is followed by a smaller one.
    `window` is the most context it may be given. `options` are Ollama's ("seed", "top_k"), or
    "think" and "keep_alive". Raises `InvalidInput`, and `MissingExtra` without httpx.

    >>> ollama("llama3.1:8b", "127.0.0.1:11434")
    Model('ollama/llama3.1:8b', provider='ollama', local)
    """
    chat = OllamaChat(
        model,
        host,
        name=name,
        window=window,
        quantisation=quantisation,
        api_key=api_key,
        timeouts=timeouts,
        options=options,
        hooks=hooks,
    )
    return Model(
        chat,
        local=chat.loopback,
        window=window,
        capabilities=capabilities or Capabilities(vision=True),
        price=price or Price(),
        timeouts=timeouts,
        concurrency=concurrency,
        quality=quality,
        key=f"ollama/{account(api_key or '', chat.url)}/{full_name(model)}",
    )
