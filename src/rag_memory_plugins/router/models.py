"""`Model`: one entry of a router, and what is known of it before it is asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from rag_memory_plugins.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rag_memory_plugins.chat import ChatRequest, Delta, Usage
    from rag_memory_plugins.ports import ChatModel

__all__ = [
    "Capabilities",
    "HealthChecked",
    "Model",
    "Price",
    "Sized",
    "StreamingChatModel",
    "Timeouts",
]

MILLION: Final = 1_000_000


@runtime_checkable
class StreamingChatModel(Protocol):
    """A `ChatModel` that takes whole requests: tools, schemas, streams.

    It raises `ProviderError`s. Its own retries are off: the router counts every attempt.
    """

    @property
    def name(self) -> str:
        """Which model, for people and events."""

    def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer in pieces, the last with `finish`; one piece when nobody asked for a stream.

        Closing the iterator closes the provider's connection. An answer that ends without `finish`
        was cut off.
        """

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""


@runtime_checkable
class HealthChecked(Protocol):
    """A model that knows whether it can be asked, without being asked anything."""

    async def ahealth(self) -> str:
        """Why it cannot be asked, "" if it can. Cached: it is called before every request."""


@runtime_checkable
class Sized(Protocol):
    """A model that knows whether a request is too large for it: for its memory, say."""

    def fits(self, request: ChatRequest) -> str:
        """Why it cannot take this request now, "" if it can. Quick, and without asking anybody."""


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens; `cached` is of input that the provider has kept.

    >>> from rag_memory_plugins.chat import Usage
    >>> Price(0.5, 2.0).of(Usage(1_000_000, 500_000))
    1.5
    """

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """What a call cost, in US dollars."""
        cached = self.input if self.cached is None else self.cached
        fresh = max(0, usage.input - usage.cached)
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / MILLION


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to a connection, to the first piece, between two pieces, and for one attempt.

    A model that does not stream gives one piece, so `total` alone holds for it.
    """

    connect: float = 5.0
    first: float = 30.0
    between: float = 30.0
    total: float = 120.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise InvalidInput(f"timeouts.{name}", value, "pass seconds, a number > 0")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. A request that needs more is not sent to it."""

    tools: bool = True
    schema: bool = True
    vision: bool = False
    streaming: bool = True


_UNSAID: Final = Capabilities()


@dataclass(frozen=True, eq=False)
class Model:
    """An entry of a `Router`.

    `chat` answers; `provider` is who runs it and `model` what they call it, `name` what you call
    it (each once in a router). `local` models are those of this machine. `window` is in tokens,
    None if unknown; so is a `price`, but a local model costs nothing. `quality` says who is stronger,
    from 0 to 1. At most `concurrency` requests run
    at once. Two entries with the same `key` fail together: provider, account and model. A window or
    capabilities that are left out are read from attributes of these names that `chat` may have.

    >>> from rag_memory_plugins.testing.models import ScriptedModel
    >>> Model(ScriptedModel("Hi"), "small", local=True, window=8_192)
    Model('small', provider='scripted', local)
    """

    chat: ChatModel | StreamingChatModel
    name: str = ""
    provider: str = ""
    model: str = ""
    local: bool = False
    window: int | None = None
    capabilities: Capabilities = _UNSAID
    price: Price | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    concurrency: int | None = None
    quality: float = 0.5
    key: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        asks = getattr(self.chat, "astream", None) or getattr(self.chat, "achat", None)
        framework = _framework(self.chat)
        if framework:
            remedy = f"wrap it: rag_memory_plugins.{framework}.as_chat_model(model)"
            raise InvalidInput("chat", type(self.chat).__name__, remedy)
        if not callable(asks):
            remedy = "pass a ports.ChatModel, or a preset's model such as ollama('llama3.2')"
            raise InvalidInput("chat", type(self.chat).__name__, remedy)
        name = getattr(self.chat, "name", "")
        put(self, "name", self.name or name)
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput("name", self.name, "pass a str")
        put(self, "provider", self.provider or str(getattr(self.chat, "provider", "unknown")))
        put(self, "model", self.model or str(getattr(self.chat, "model", "")) or self.name)
        if self.window is None:
            put(self, "window", getattr(self.chat, "window", None))
        if self.capabilities is _UNSAID:
            put(self, "capabilities", getattr(self.chat, "capabilities", None) or _UNSAID)
        put(self, "key", self.key or f"{self.provider}/{self.model}/{self.name}")
        if self.price is None and self.local:
            put(self, "price", Price())
        for field_name, least in (("window", 1), ("concurrency", 1)):
            value = getattr(self, field_name)
            if value is not None and (
                not isinstance(value, int) or isinstance(value, bool) or value < least
            ):
                raise InvalidInput(field_name, value, f"pass None or an int >= {least}")
        for field_name, kind, remedy in (
            ("price", Price, "pass Price(input, output), dollars for a million tokens, or None"),
            ("timeouts", Timeouts, "pass Timeouts(first=30, total=120), seconds"),
            ("capabilities", Capabilities, "pass Capabilities(tools=True)"),
        ):
            value = getattr(self, field_name)
            if not isinstance(value, kind) and (field_name != "price" or value is not None):
                raise InvalidInput(field_name, value, remedy)
        if not isinstance(self.quality, (int, float)) or not 0 <= self.quality <= 1:
            raise InvalidInput("quality", self.quality, "pass a number from 0 to 1")

    def cost(self, usage: Usage) -> float:
        """US dollars of a call; 0 where nobody knows the price."""
        return 0.0 if self.price is None else self.price.of(usage)

    def __repr__(self) -> str:
        place = "local" if self.local else "cloud"
        return f"Model({self.name!r}, provider={self.provider!r}, {place})"


def _framework(chat: object) -> str:
    """Which framework an object is of, "" for none: its methods have our names and other words."""
    modules = [base.__module__ for base in type(chat).__mro__]
    for framework in ("langchain", "llama_index"):
        if any(module.startswith(framework) for module in modules):
            return framework
    return ""


def account(api_key: str, base_url: str) -> str:
    """A name for an account that tells nobody its key.

    >>> account("secret", "http://127.0.0.1/v1") == account("secret", "http://127.0.0.1/v1")
    True
    """
    return hashlib.blake2b(f"{base_url}\x00{api_key}".encode(), digest_size=6).hexdigest()


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
