"""Models behind OpenAI's chat completions, asked through the client library `openai`.

```text
request  -> body (openai_words), on the portal's loop
client   made at the first request, in a thread: importing the library takes a second
chunks   plain JSON values -> Delta, carried to the loop that asked
errors   of the client, of its HTTP library, of a chunk -> ProviderError, in one place
```

The library's own models of requests and answers are passed by: servers that speak the protocol
differ from them in both directions, and building them takes most of a chunk's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import threading
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rag_memory_plugins.chat import ChatRequest, Delta, Gathered
from rag_memory_plugins.errors import (
    BadRequest,
    InvalidInput,
    MissingExtra,
    ProviderAuth,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.portal import Portal, get_portal
from rag_memory_plugins.router.addresses import is_loopback, server_url
from rag_memory_plugins.router.faults import provider_error
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.router.openai_words import Reading, body_of
from rag_memory_plugins.router.waiting import tokens_left
from rag_memory_plugins.types import Message

__all__ = ["OpenAIChat"]

OPENAI_HOST: Final = "api.openai.com"
_NEWER: Final = re.compile(r"o\d|gpt-[5-9]|gpt-\d\d|chatgpt|codex")
_OF_OPENAI: Final = ("openai-organization", "openai-project")
_NEEDED: Final = ("accept", "content-length", "content-type", "host")


class OpenAIChat:
    """A model behind `base_url`, as a `StreamingChatModel` and a `ChatModel`; needs the extra `openai`.

    The key is `api_key`, else what the environment holds under `key_name`; with neither given the
    server asks for none. `headers` go with every request. With `always_streams` an answer is
    streamed even when nobody asked, so that a stall is seen and a cancelled answer stops. May be
    used from any loop and thread; nothing is imported or opened before the first request.

    >>> chat = OpenAIChat("http://127.0.0.1:8080/v1", "qwen3:8b", provider="llama.cpp")
    >>> chat.name, chat.loopback
    ('llama.cpp/qwen3:8b', True)
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        provider: str = "",
        key_name: str = "",
        headers: Mapping[str, str] | None = None,
        always_streams: bool = False,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host = server_url(base_url).hostname or ""
        if not isinstance(model, str) or not model:
            raise InvalidInput("model", model, "pass the model's name as the provider gives it")
        self.base_url = base_url
        self.model = model
        self.provider = provider or host
        self.name = f"{self.provider}/{model}"
        self.always_streams = always_streams
        self.loopback = is_loopback(base_url)
        self._api_key = api_key
        self._key_name = key_name
        self._headers = dict(headers or {})
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._own = host == OPENAI_HOST or host.endswith(".azure.com")
        self._limit = "max_tokens"
        if self._own and _NEWER.match(model):
            self._limit = "max_completion_tokens"
        self._asks_usage = True
        self._left: tuple[int, float] | None = None
        self._client: tuple[Portal, Any, Any] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAIChat({self.name!r})"

    @property
    def portal(self) -> Portal:
        return get_portal()

    @property
    def tokens_left(self) -> int | None:
        """What the provider's limit had left at its last answer; None once that is over."""
        left = self._left
        return left[0] if left is not None and self._clock() < left[1] else None

    @property
    def tokens_back(self) -> float | None:
        """Seconds until that limit is whole again; None if nobody said."""
        left = self._left
        return max(0.0, left[1] - self._clock()) if left is not None else None

    async def ahealth(self) -> str:
        """Why it cannot be asked: it has no key."""
        if self._key_name and not self._key():
            return f"no key: set {self._key_name} or pass api_key="
        return ""

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The whole answer to plain messages. Raises `ProviderError`."""
        gathered = Gathered()
        async for piece in self.astream(ChatRequest(tuple(messages), max_tokens=max_tokens)):
            gathered.add(piece)
        if self.always_streams and not gathered.finish:
            raise ProviderUnavailable(f"{self.name}: its answer was cut off; ask again")
        return gathered.answer().message

    def astream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer in pieces; one piece where it is not streamed. Raises `ProviderError`.

        One that breaks off in good order ends without a piece that has `finish`.
        """
        return self.portal.carry(self._stream(request))

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self.portal.acall(self._close())

    async def _close(self) -> None:
        made = await self.portal.acompute(self._taken)
        if made is not None and made[0] is self.portal:  # a fork's parent keeps its own
            await made[2].close()

    def _taken(self) -> tuple[Portal, Any, Any] | None:
        with self._lock:  # held while a client is made, so not on the loop
            made, self._client = self._client, None
        return made

    async def _stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        why = await self.ahealth()
        if why:
            raise ProviderAuth(f"{self.name}: {why}")
        streams = request.stream or self.always_streams
        reading = Reading(self.name, stream=streams)
        with self._told(reading):
            answer = await self._ask(request, stream=streams)
            if not streams:
                for piece in self._whole(reading, answer):
                    yield piece
                return
            try:
                async with contextlib.aclosing(self._chunks(answer)) as chunks:
                    async for data in chunks:
                        for piece in reading.read(data):
                            yield piece
            except Exception:  # it had said that it was done: only its usage is lost
                if not reading.finished:
                    raise
            finally:
                await answer.close()
            for piece in reading.end():
                yield piece

    @staticmethod
    def _whole(reading: Reading, data: Any) -> Iterator[Delta]:
        """An answer that came at once, as one piece."""
        pieces = [*reading.read(data), *reading.end()]
        if pieces:
            last = pieces[-1]
            yield replace(pieces[0], finish=last.finish, usage=last.usage)

    @staticmethod
    async def _chunks(stream: Any) -> AsyncGenerator[Any, None]:
        """What a stream sends, or the one answer of a server that does not stream."""
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.endswith("json"):
            await stream.response.aread()
            yield stream.response.json()
        elif kind.endswith("html"):
            await stream.response.aread()
            yield stream.response.text
        else:
            async for data in stream:
                yield data

    async def _ask(self, request: ChatRequest, *, stream: bool) -> Any:
        """The client's stream, or the answer's JSON; again where a server does not know a field."""
        for tries_left in (2, 1, 0):
            body = body_of(
                request,
                self.model,
                stream=stream,
                usage=self._asks_usage,
                limit=self._limit,
                strict=self._own,
            )
            try:
                return await self._post(body, stream=stream)
            except Exception as error:  # raised again, unless the next request says less
                if not tries_left or not self._learns(error, body):
                    raise
        raise AssertionError("the last try returns or raises")

    def _learns(self, error: Exception, body: Mapping[str, Any]) -> bool:
        """Whether a refusal names a field that this server does not take; it is not sent again."""
        if not isinstance(provider_error(error, self.name), BadRequest):
            return False
        said = str(error)
        if "stream_options" in said and "stream_options" in body:
            self._asks_usage = False
            return True
        if "max_completion_tokens" in said and "max_tokens" in body:
            self._limit = "max_completion_tokens"
            return True
        return False

    async def _post(self, body: dict[str, Any], *, stream: bool) -> Any:
        module, client = await self._connected()
        limits = self._timeouts
        read = max(limits.first, limits.between) if stream else limits.total
        how: dict[str, Any] = {"stream_cls": module.AsyncStream[object]} if stream else {}
        return await client.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options={"timeout": module.Timeout(read, connect=limits.connect), "max_retries": 0},
            stream=stream,
            **how,
        )

    def _key(self) -> str:
        return self._api_key or (os.environ.get(self._key_name, "") if self._key_name else "")

    async def _connected(self) -> tuple[Any, Any]:
        """The library, and the client of this portal."""
        portal, made = self.portal, self._client
        if made is None or made[0] is not portal:
            made = await portal.acompute(lambda: self._connect(portal))
        return made[1:]

    def _connect(self, portal: Portal) -> tuple[Portal, Any, Any]:
        with self._lock:
            if self._client is not None and self._client[0] is portal:
                return self._client
            try:
                module = importlib.import_module("openai")
            except ImportError as error:
                raise MissingExtra("openai", f"{type(self).__name__} ({error})") from error
            http = module.DefaultAsyncHttpxClient(
                # A redirect would take the prompt elsewhere, and a proxy what is for this machine.
                follow_redirects=False,
                trust_env=not self.loopback,
                event_hooks={"request": [self._address], "response": [self._note]},
            )
            client = module.AsyncOpenAI(
                base_url=self.base_url,
                api_key=self._key() or "none",
                http_client=http,
                max_retries=0,
            )
            # What its network layer imports at first use takes another 50 ms.
            asyncio.run(importlib.import_module("anyio.lowlevel").checkpoint())
            self._client = (portal, module, client)
            return self._client

    async def _address(self, request: Any) -> None:
        """Our headers, and none of those that the environment holds for OpenAI itself."""
        if not self._own:
            lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
            names = [line.partition(":")[0].strip().lower() for line in lines]
            for name in {*_OF_OPENAI, *names}.difference(_NEEDED):
                request.headers.pop(name, None)
        if key := self._key():
            request.headers["authorization"] = f"Bearer {key}"
        elif request.headers.get("authorization", "").startswith("Bearer"):
            del request.headers["authorization"]  # Basic is of a name and password in the URL
        request.headers.update(self._headers)

    async def _note(self, response: Any) -> None:
        left = tokens_left(response.headers, time.time)
        if left is not None:
            self._left = (left[0], self._clock() + left[1])

    @contextlib.contextmanager
    def _told(self, reading: Reading) -> Iterator[None]:
        """Whatever goes wrong inside as a `ProviderError`."""
        try:
            yield
        except (MissingExtra, ProviderError):
            raise
        except Exception as error:  # a client's and its HTTP library's errors share no base class
            ours = provider_error(error, self.name)
            if isinstance(ours, ProviderTimeout) and ours.stage == "first":
                ours.stage = reading.late
            # The client's generators stand in the frames of its error. Left to the collector, two
            # of one answer may be closed at once, on any thread: they go here and now.
            traceback.clear_frames(error.__traceback__)
            raise ours from error
