"""Models of providers as entries of a `Router`: `ollama`, `groq`, `openrouter` and others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Hook
from rag_memory_plugins.router.addresses import server_url
from rag_memory_plugins.router.models import Capabilities, Model, Price, Timeouts, account
from rag_memory_plugins.router.ollama_chat import TIMEOUTS, OllamaChat
from rag_memory_plugins.router.ollama_models import full_name
from rag_memory_plugins.router.openai_protocol import OPENAI_HOST, OpenAIChat
from rag_memory_plugins.router.prices import price_of
from rag_memory_plugins.windows import context_window

if TYPE_CHECKING:
    from typing_extensions import Unpack  # importing it costs a quarter of the router's import

__all__ = ["Entry", "default_models", "groq", "ollama", "openai_compatible", "openrouter"]

GROQ: Final = "https://api.groq.com/openai/v1"
OPENROUTER: Final = "https://openrouter.ai/api/v1"


class Entry(TypedDict, total=False):
    """What you know better than a preset; each as in `Model`."""

    name: str
    window: int | None
    capabilities: Capabilities
    price: Price | None
    timeouts: Timeouts
    concurrency: int | None
    quality: float


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


def groq(
    model: str, api_key: str | None = None, *, base_url: str = GROQ, **entry: Unpack[Entry]
) -> Model:
    """A model at Groq; needs the extra `openai`. The key is `api_key` or GROQ_API_KEY.

    >>> groq("llama-3.3-70b-versatile", api_key="...")
    Model('groq/llama-3.3-70b-versatile', provider='groq', cloud)
    """
    chat = OpenAIChat(
        base_url,
        model,
        api_key,
        provider="groq",
        key_name="GROQ_API_KEY",
        always_streams=True,
        timeouts=entry.get("timeouts"),
    )
    return _model(chat, "GROQ_API_KEY", api_key, entry)


def openrouter(
    model: str,
    api_key: str | None = None,
    *,
    app: str = "",
    site: str = "",
    base_url: str = OPENROUTER,
    **entry: Unpack[Entry],
) -> Model:
    """A model at OpenRouter; needs the extra `openai`. The key is `api_key` or OPENROUTER_API_KEY.

    `app` and `site` are what OpenRouter shows as the name and the URL of your application.

    >>> openrouter("meta-llama/llama-3.3-70b-instruct", api_key="...", name="big").name
    'big'
    """
    shown = {"X-Title": app, "HTTP-Referer": site}
    chat = OpenAIChat(
        base_url,
        model,
        api_key,
        provider="openrouter",
        key_name="OPENROUTER_API_KEY",
        headers={name: value for name, value in shown.items() if value},
        always_streams=True,
        timeouts=entry.get("timeouts"),
    )
    return _model(chat, "OPENROUTER_API_KEY", api_key, entry)


def openai_compatible(
    base_url: str,
    model: str,
    api_key: str | None = None,
    *,
    provider: str = "",
    key_name: str = "",
    headers: dict[str, str] | None = None,
    always_streams: bool = False,
    **entry: Unpack[Entry],
) -> Model:
    """A model behind any server that speaks OpenAI's chat completions; needs the extra `openai`.

    The key is `api_key`, or stands in the environment under `key_name` (OPENAI_API_KEY for OpenAI
    itself); many servers want none. It is local, and costs nothing, when `base_url` is of this
    machine. `provider` is by default its host.

    >>> openai_compatible("http://127.0.0.1:8080/v1", "qwen3:8b")
    Model('127.0.0.1:8080/qwen3:8b', provider='127.0.0.1:8080', local)
    """
    host = server_url(base_url).netloc.rpartition("@")[2]
    if host == OPENAI_HOST:
        provider, key_name = provider or "openai", key_name or "OPENAI_API_KEY"
    chat = OpenAIChat(
        base_url,
        model,
        api_key,
        provider=provider or host,
        key_name=key_name,
        headers=headers,
        always_streams=always_streams,
        timeouts=entry.get("timeouts"),
    )
    return _model(chat, key_name, api_key, entry, local=chat.loopback)


def default_models(
    local: str = "llama3.2",
    groq_model: str = "llama-3.3-70b-versatile",
    openrouter_model: str = "meta-llama/llama-3.3-70b-instruct",
) -> list[Model]:
    """What a `Router` may begin with: Ollama, then Groq, then OpenRouter.

    The keys are GROQ_API_KEY and OPENROUTER_API_KEY; a provider without one is passed over, and
    `Router.explain` says so.

    >>> default_models()
    [Model('ollama/llama3.2', provider='ollama', local),
     Model('groq/llama-3.3-70b-versatile', provider='groq', cloud),
     Model('openrouter/meta-llama/llama-3.3-70b-instruct', provider='openrouter', cloud)]
    """
    return [
        ollama(local),
        groq(groq_model, quality=0.6),
        openrouter(openrouter_model, quality=0.6),
    ]


def _model(
    chat: OpenAIChat, key_name: str, api_key: str | None, entry: Entry, *, local: bool = False
) -> Model:
    known: Entry = {"window": _window(chat.model), **entry}
    if "price" not in known:
        known["price"] = Price() if local else price_of(chat.provider, chat.model)
    whose = account(api_key or os.environ.get(key_name or " ", ""), chat.base_url)
    of = f"{chat.provider}/{whose}/{chat.model}"
    return Model(chat, provider=chat.provider, model=chat.model, local=local, key=of, **known)


def _window(model: str) -> int | None:
    try:
        return context_window(model).tokens
    except InvalidInput:
        return None
