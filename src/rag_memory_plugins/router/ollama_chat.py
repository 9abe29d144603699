"""`OllamaChat`: asks a model of an Ollama server, over Ollama's own protocol.

```
request  -> tokens -> context, a power of two -> the variant that nothing speaks against
variant  -> POST /api/chat, always streamed, num_ctx as large as the prompt needs -> pieces
refused  -> a typed error; out of memory is remembered of variant and context
health   -> /api/tags, a few seconds old -> why it cannot be asked, or ""
fits     -> what is known and remembered of the variants -> why not this request, or ""
```

httpx and not Ollama's own client: that one follows redirects, sends OLLAMA_API_KEY to whatever host
it is given, loses the status of an error within a stream, and has no `truncate`.
"""

from __future__ import annotations

import os
import random as _random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from rag_memory_plugins.chat import ChatRequest, Delta, Gathered
from rag_memory_plugins.errors import (
    AnswerRejected,
    ContextOverflow,
    InvalidInput,
    ModelMissing,
    OutOfMemory,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.addresses import is_loopback
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.router.ollama_choice import Choice
from rag_memory_plugins.router.ollama_health import Inventory
from rag_memory_plugins.router.ollama_http import Description, Http, base_url
from rag_memory_plugins.router.ollama_models import Variant, bits, memory_said
from rag_memory_plugins.router.ollama_wire import (
    Lines,
    at_least,
    body_of,
    must_call,
    tokens_of,
)
from rag_memory_plugins.types import Message

__all__ = ["OllamaChat"]

TIMEOUTS: Final = Timeouts(connect=2.0, first=120.0, between=60.0, total=600.0)
"""The first piece waits for the model to be loaded from a disk."""
SHOW_SECONDS: Final = 5.0


class OllamaChat:
    """Answers through one Ollama server; used from any loop and thread. See `ollama()`.

    Nothing is connected before the first request. Ollama knows no `tool_choice`: with "none" no
    tool is offered, with a tool's name that one alone. With a name or "required" nothing of the
    answer is given before its first tool call, and one without a call is an `AnswerRejected`.

    >>> OllamaChat("llama3.1", "0.0.0.0:11434")
    OllamaChat('llama3.1', 'http://127.0.0.1:11434')
    """

    provider = "ollama"
    always_streams = True

    def __init__(
        self,
        model: str,
        host: str | None = None,
        *,
        name: str = "",
        window: int | None = None,
        quantisation: str = "",
        api_key: str | None = None,
        timeouts: Timeouts = TIMEOUTS,
        options: Mapping[str, Any] | None = None,
        hooks: tuple[Hook, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not isinstance(model, str) or not model.strip():
            raise InvalidInput("model", model, "pass a name as `ollama list` shows it")
        if quantisation and not bits(f"{quantisation}_0") and not bits(quantisation):
            raise InvalidInput("quantisation", quantisation, "pass for example 'q4_0', or 'q4'")
        self.model = model
        self.name = name or f"ollama/{model}"
        self.url = base_url(os.environ.get("OLLAMA_HOST") if host is None else host)
        cloud = "cloud" in model.rpartition(":")[2].lower()  # Ollama passes those on to its makers
        self.loopback = is_loopback(self.url) and not cloud
        self._options = dict(options or {})
        self._hooks = hooks
        self._http = Http(self.url, api_key, timeouts)
        self._inventory = Inventory(self._look, get_portal, clock, random)
        self._choice = Choice(model, window, quantisation, clock)

    def __repr__(self) -> str:
        return f"OllamaChat({self.model!r}, {self.url!r})"

    async def ahealth(self) -> str:
        """Why it cannot be asked, "" if it can; some seconds old at most, and at once but first."""
        known = self._inventory.at_hand() or await self._inventory.aknown()
        if known.down:
            return known.down
        return "" if self._choice.among(known.installed) else self._missing()

    def fits(self, request: ChatRequest) -> str:
        """Why it cannot be asked this, as far as is known without a call; "" if nothing is."""
        known = self._inventory.at_hand()
        variants = self._choice.among(known.installed) if known is not None else ()
        if not variants:
            return ""
        can = self._choice.describe(variants[0]).capabilities
        if can and request.tools and request.tool_choice != "none" and "tools" not in can:
            return f"{variants[0].name} cannot call tools"
        if request.images:
            if can and "vision" not in can:
                return f"{variants[0].name} cannot see images"
            images = [image for message in request.messages for image in message.images]
            if not all(image.url.startswith("data:") for image in images):
                return "Ollama takes images as data: URIs alone"
        if not self._choice.unfit:
            return ""
        return self._choice.why_none(variants, tokens_of(request))

    def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer in pieces. Raises `ProviderError`; closing it makes Ollama stop."""
        return get_portal().carry(self._pieces(request))

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The assistant's answer. Raises `ProviderError`."""
        gathered = Gathered()
        async for piece in self.astream(ChatRequest(tuple(messages), max_tokens=max_tokens)):
            gathered.add(piece)
        if not gathered.text and not gathered.tool_calls:
            raise AnswerRejected(f"{self.name}: an answer without a word")
        return gathered.answer().message

    async def aclose(self) -> None:
        """Nothing: each request closes its own connection."""

    async def _pieces(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        need = tokens_of(request)
        variants = await self._installed()
        while True:
            variant, num_ctx = await self._chosen(variants, need)
            body = body_of(request, variant.name, num_ctx, self._options)
            asked = body["options"]["num_ctx"]  # an option may say so
            lines = Lines(request, variant.name, f"{self.name} ({variant.name} at {self.url})")
            try:
                async with aclosing(self._held_back(request, lines, body)) as pieces:
                    async for piece in pieces:
                        yield piece
            except OutOfMemory as error:
                # One that an option made larger would be as large again.
                tried = min(asked, num_ctx)
                raise self._too_large(variant, tried, variants, need, error) from error
            except ContextOverflow:
                # Our estimate was too low: of base64, say. There may be room for twice as much.
                need = num_ctx + 1
                if asked != num_ctx or self._choice.smallest(variant, need) <= num_ctx:
                    raise
            except ProviderError as error:
                self._learn(error)
                raise
            else:
                self._choice.worked(variant, need, asked)
                self._tell_if_cut(request, lines, asked)
                return

    async def _chosen(self, variants: tuple[Variant, ...], need: int) -> tuple[Variant, int]:
        while (chosen := self._choice.first(variants, need)) is not None:
            if not await self._describe(chosen[0], SHOW_SECONDS):
                return chosen
        raise OutOfMemory(f"{self.name}: {self._choice.why_none(variants, need)}")

    async def _held_back(
        self, request: ChatRequest, lines: Lines, body: dict[str, Any]
    ) -> AsyncGenerator[Delta, None]:
        """The pieces; where a tool must be called none before the call, which may never come."""
        waiting = must_call(request)
        held: list[Delta] = []
        async with aclosing(self._http.chat(body, lines, request.timeout)) as pieces:
            async for piece in pieces:
                waiting = waiting and not piece.tools
                held.append(piece)
                if not waiting:
                    for each in held:
                        yield each
                    held.clear()
        if waiting:
            raise AnswerRejected(f"{self.name}: no tool was called, and Ollama cannot be told to")

    async def _installed(self) -> tuple[Variant, ...]:
        """In the order they are tried. A server that was down, or without the model, is looked at."""
        known = await self._inventory.aknown()
        if not self._choice.among(known.installed):
            known = await self._inventory.anew()
        if known.down:
            raise ProviderUnavailable(f"{self.name}: {known.down}", connected=False)
        variants = self._choice.among(known.installed)
        if not variants:
            raise ModelMissing(f"{self.name}: {self._missing()}", status=404)
        return variants

    def _missing(self) -> str:
        return f"model {self.model!r} is not installed at {self.url}; ollama pull {self.model}"

    def _too_large(
        self,
        variant: Variant,
        num_ctx: int,
        variants: Sequence[Variant],
        need: int,
        error: OutOfMemory,
    ) -> OutOfMemory:
        needed, available = memory_said(str(error))
        self._choice.too_large(variant, num_ctx, needed, available)
        left = self._choice.first(variants, need)
        data = {
            "model": variant.name,
            "num_ctx": num_ctx,
            "needed": needed,
            "available": available,
            "next": left[0].name if left else "",
        }
        emit(self._hooks, Event("ollama.out_of_memory", data=data))
        then = f"{left[0].name} is next" if left else "nothing smaller is installed"
        return OutOfMemory(f"{error}; {then}", smaller=left is not None, status=error.status)

    def _learn(self, error: ProviderError) -> None:
        """A request that failed tells of the server too."""
        nobody = isinstance(error, ProviderUnavailable) and not error.connected
        if nobody or (isinstance(error, ProviderTimeout) and error.stage == "connect"):
            self._inventory.mark_down(self._not_running())
        elif error.status == 404:
            self._inventory.mark_old()

    def _not_running(self) -> str:
        return f"Ollama is not running at {self.url}; ollama serve"

    def _tell_if_cut(self, request: ChatRequest, lines: Lines, num_ctx: int) -> None:
        """Of an older server, which takes no notice of `truncate` (ollama #14259).

        One from before 2025 may leave out what it had in its cache, and look the same.
        """
        usage, sent = lines.usage, at_least(request)
        if usage is not None and usage.exact and 0 < usage.input < sent:
            data = {"model": lines.model, "read": usage.input, "sent": sent, "num_ctx": num_ctx}
            emit(self._hooks, Event("ollama.cut", _scope(request), data=data))

    async def _look(self, seconds: float) -> tuple[Variant, ...]:
        try:
            tags = await self._http.tags(seconds)
        except ProviderUnavailable as error:
            if error.connected:
                raise
            raise ProviderUnavailable(self._not_running(), connected=False) from error
        installed = tuple([Variant.from_tag(tag) for tag in tags])
        if variants := self._choice.among(installed):
            await self._describe(variants[0], seconds)
        return installed

    async def _describe(self, variant: Variant, seconds: float) -> bool:
        """Ask once what it can do and how long its context is; whether that is news."""
        key = (variant.name, variant.digest)
        if key in self._choice.described:
            return False
        try:
            self._choice.described[key] = await self._http.show(variant.name, seconds)
        except ProviderError as error:
            # Without it the context is as large as the prompt asks for.
            emit(self._hooks, Event("ollama.not_described", data={"error": str(error)}))
            if error.status is not None and error.status < 500:  # it has no /api/show
                self._choice.described[key] = Description()
            return False
        return True


def _scope(request: ChatRequest) -> str:
    return request.scope.key if request.scope is not None else ""
