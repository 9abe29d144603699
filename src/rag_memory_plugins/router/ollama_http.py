"""Ollama's HTTP interface over httpx: the one file that imports it."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rag_memory_plugins.chat import Delta
from rag_memory_plugins.errors import (
    InvalidInput,
    MissingExtra,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.router.addresses import is_loopback
from rag_memory_plugins.router.faults import provider_error
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.router.ollama_wire import Lines, refusal

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Description", "Http", "base_url"]


@dataclass(frozen=True)
class Description:
    """What Ollama says of a model; empty where it does not say."""

    context_length: int | None = None
    capabilities: frozenset[str] = frozenset()


class Http:
    """Requests to one server, on the portal. Nothing is kept from one to the next."""

    def __init__(self, url: str, api_key: str | None, timeouts: Timeouts) -> None:
        if importlib.util.find_spec("httpx") is None:
            raise MissingExtra("ollama", "ollama()")
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeouts = timeouts
        self._tls: ssl.SSLContext | None = None

    async def tags(self, seconds: float) -> list[Mapping[str, Any]]:
        """`GET /api/tags`: what is installed."""
        models = (await self._asked("GET", "/api/tags", None, seconds)).get("models")
        return [tag for tag in models or () if isinstance(tag, dict)]

    async def show(self, model: str, seconds: float) -> Description:
        """`POST /api/show`."""
        shown = await self._asked("POST", "/api/show", {"model": model}, seconds)
        lengths = [
            value
            for key, value in (shown.get("model_info") or {}).items()
            if key.endswith(".context_length") and isinstance(value, int) and value > 0
        ]
        can = frozenset(map(str, shown.get("capabilities") or ()))
        return Description(min(lengths, default=None), can)

    async def chat(
        self, body: Mapping[str, Any], lines: Lines, seconds: float | None
    ) -> AsyncGenerator[Delta, None]:
        """`POST /api/chat`, in pieces. Raises `ProviderError`, also for an answer without an end."""
        limits = _Limits(lines.what, self._timeouts, seconds)
        async with self._opened("POST", "/api/chat", body, limits) as response:
            async with aclosing(_lines_of(response)) as texts:
                while (text := await _next(texts, limits)) is not None:
                    piece = lines.read(text)
                    if piece is None:
                        continue
                    limits.begun = limits.begun or piece.has_content
                    if piece.has_content or piece.finish:
                        yield piece
                    if piece.finish:
                        return
        raise ProviderUnavailable(f"{lines.what}: the answer ended without its last line")

    async def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float
    ) -> dict[str, Any]:
        """The JSON object that answers."""
        what = f"Ollama at {self._url}"
        times = Timeouts(min(self._timeouts.connect, seconds), seconds, seconds, seconds)
        limits = _Limits(what, times, None)
        async with self._opened(method, path, body, limits) as response:
            async with limits.within():
                text = await response.aread()
        with suppress(ValueError):
            data = json.loads(text)
            if isinstance(data, dict):
                return data
        raise ProviderUnavailable(f"{what}: {path} answers with no JSON object; is it Ollama?")

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: Mapping[str, Any] | None, limits: _Limits
    ) -> AsyncIterator[httpx.Response]:
        """An answer of status 200, whose connection is closed at the end, read or not."""
        client = await self._client()
        limits.start()
        try:
            request = client.build_request(method, f"{self._url}{path}", json=body)
            async with limits.within():
                response = await client.send(request, stream=True)
            if response.status_code != 200:
                async with limits.within():
                    text = (await response.aread()).decode(errors="replace")
                raise refusal(response.status_code, response.headers, text, limits.what)
            yield response
        finally:
            await client.aclose()

    async def _client(self) -> httpx.AsyncClient:
        """A client for one request, and with it a connection: about 1 ms of CPU.

        One that requests share keeps a connection open for ever when it is cancelled while an
        answer ends (httpx 0.28), and the first request after a restart of Ollama fails.
        """
        if self._tls is None:
            # Importing httpx and reading certificates take too long for the portal's loop.
            self._tls = await get_portal().acompute(self._certificates)
        import httpx

        return httpx.AsyncClient(
            headers=self._headers,
            follow_redirects=False,
            trust_env=not is_loopback(self._url),  # a proxy must not see what stays here
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=self._timeouts.connect),
        )

    def _certificates(self) -> ssl.SSLContext:
        import httpx

        plain = is_loopback(self._url) and self._url.startswith("http:")
        return httpx.create_ssl_context(verify=not plain)


class _Limits:
    """How long each wait of one request may take.

    What a reader does with a piece counts for the whole alone.
    """

    def __init__(self, what: str, timeouts: Timeouts, seconds: float | None) -> None:
        self.what = what
        self.begun = False
        self._times = timeouts
        self._total = min(timeouts.total, seconds or timeouts.total)
        self._started = 0.0

    def start(self) -> None:
        self._started = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """Raise `ProviderTimeout` when the wait in this block takes too long.

        What httpx raises in it comes out as a `ProviderError` too.
        """
        now = asyncio.get_running_loop().time()
        stage, end = "first", self._started + self._times.first
        if self.begun:
            stage, end = "between", now + self._times.between
        if self._started + self._total < end:
            stage, end = "total", self._started + self._total
        try:
            with _mapped(self.what):
                async with timeout_at(end):
                    yield
        except asyncio.TimeoutError:
            seconds = self._total if stage == "total" else getattr(self._times, stage)
            said = {"first": "no first piece", "between": "no further piece"}.get(stage, "no end")
            message = f"{self.what}: {said} within {seconds:g} s"
            raise ProviderTimeout(message, stage=stage) from None


async def _lines_of(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines as Ollama ends them: httpx' own also end at U+0085, which may stand in a text."""
    rest = b""
    async for data in response.aiter_bytes():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


async def _next(lines: AsyncIterator[bytes], limits: _Limits) -> bytes | None:
    """None after the last."""
    async with limits.within():
        return await anext(lines, None)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """What httpx raises as a `ProviderError`."""
    import httpx

    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as error:
        found = provider_error(error, what)
        if type(found) is ProviderError:  # a transport that failed, in a way nobody has named
            found = ProviderUnavailable(str(found))
        raise found from error


def base_url(host: str | None) -> str:
    """Where a host of any form that OLLAMA_HOST takes is; an address to listen on is this machine.

    >>> [base_url(host) for host in (None, ":8080", "0.0.0.0", "gpu.lan/", "https://gpu.lan/api")]
    ['http://127.0.0.1:11434', 'http://127.0.0.1:8080', 'http://127.0.0.1:11434',
     'http://gpu.lan:11434', 'https://gpu.lan:443/api']
    """
    text = (host or "").strip().strip("'\"").rstrip("/")
    scheme, sign, rest = text.partition("://")
    if not sign:
        scheme, rest = "http", text
    port = {"http": 80, "https": 443}.get(scheme) if sign else 11434
    with suppress(ValueError):  # not an IPv6 address without brackets
        rest = f"[{ipaddress.IPv6Address(rest)}]"
    try:
        parts = urlsplit(f"//{rest}")
        port = port and (parts.port or port)
        name = parts.hostname or ""
    except ValueError:
        port, name = None, ""
    if port is None or "@" in rest or "?" in rest or " " in rest:
        raise InvalidInput("host", host, "pass 'host:port' or 'http://host:port'")
    listening = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to call there
    name = listening.get(name, name)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path}"
