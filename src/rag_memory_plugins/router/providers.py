"""Models of providers as entries of a `Router`: `groq`, `openrouter`, `openai_compatible`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypedDict

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.router.addresses import server_url
from rag_memory_plugins.router.models import Capabilities, Model, Price, Timeouts, account
from rag_memory_plugins.router.openai_protocol import OPENAI_HOST, OpenAIChat
from rag_memory_plugins.router.prices import price_of
from rag_memory_plugins.windows import context_window

if TYPE_CHECKING:
    from typing_extensions import Unpack  # importing it costs a quarter of the router's import

__all__ = ["Entry", "groq", "openai_compatible", "openrouter"]

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
