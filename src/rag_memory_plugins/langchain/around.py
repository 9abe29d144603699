"""A runnable with something done before and after each of its runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.runnables.graph import Graph
from langchain_core.runnables.utils import ConfigurableFieldSpec

from rag_memory_plugins.portal import Portal, get_portal

__all__ = ["Around", "InTurn"]


class Around(Runnable[Any, Any]):
    """`inner`, which gets what `_abefore` made of an input; its output goes through `_aafter`.

    Both run on the portal, so that sync and async calls and streams do the same. A run that fails,
    or a stream that nobody reads to its end, has no `_aafter`.
    """

    def __init__(self, inner: Runnable[Any, Any]) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    @abstractmethod
    async def _abefore(self, given: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """(what `inner` gets, what `_aafter` needs to know)."""

    @abstractmethod
    async def _aafter(self, pending: Any, output: Any) -> Any:
        """What is given back for `inner`'s whole output."""

    def _shown(self, pending: Any, chunk: Any) -> Any:
        """A chunk of a stream as it is given on."""
        return chunk

    def _last(self, pending: Any, output: Any) -> Any:
        """A last chunk for a stream that gave `output`; None for none."""
        return None

    @property
    def portal(self) -> Portal:
        """Where the work before and after a run is done."""
        return get_portal()

    @property
    def InputType(self) -> Any:  # noqa: N802  # LangChain's name for it
        """The inner runnable's."""
        return self.inner.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name for it
        """The inner runnable's."""
        return self.inner.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The inner runnable's."""
        return self.inner.config_specs

    def get_graph(self, config: RunnableConfig | None = None) -> Graph:
        """The inner runnable's."""
        return self.inner.get_graph(config)

    def invoke(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run `inner` for one input."""
        given, pending = self.portal.call(self._abefore(input, kwargs), "invoke()")
        output = self.inner.invoke(given, config, **kwargs)
        return self.portal.call(self._aafter(pending, output), "invoke()")

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Async form of `invoke`."""
        given, pending = await self.portal.acall(self._abefore(input, kwargs))
        output = await self.inner.ainvoke(given, config, **kwargs)
        return await self.portal.acall(self._aafter(pending, output))

    def stream(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """The chunks of one run."""
        given, pending = self.portal.call(self._abefore(input, kwargs), "stream()")
        whole: list[Any] = []
        for chunk in self.inner.stream(given, config, **kwargs):
            whole = _joined(whole, chunk)
            yield self._shown(pending, chunk)
        if whole:
            self.portal.call(self._aafter(pending, whole[0]), "stream()")
            if (last := self._last(pending, whole[0])) is not None:
                yield last

    async def astream(
        self,
        input: Any,  # noqa: A002  # LangChain's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Async form of `stream`."""
        given, pending = await self.portal.acall(self._abefore(input, kwargs))
        whole: list[Any] = []
        async for chunk in self.inner.astream(given, config, **kwargs):
            whole = _joined(whole, chunk)
            yield self._shown(pending, chunk)
        if whole:
            await self.portal.acall(self._aafter(pending, whole[0]))
            if (last := self._last(pending, whole[0])) is not None:
                yield last


class InTurn(Around):
    """The same for turns of one conversation: those of a batch come one after another."""

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """`invoke` for each input, in order."""
        outputs: list[Any] = []
        for given, own in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            try:
                outputs.append(self.invoke(given, own, **kwargs))
            except Exception as error:  # whatever a turn raises, when the caller wants to see it
                if not return_exceptions:
                    raise
                outputs.append(error)
        return outputs

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Async form of `batch`."""
        outputs: list[Any] = []
        for given, own in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            try:
                outputs.append(await self.ainvoke(given, own, **kwargs))
            except Exception as error:  # whatever a turn raises, when the caller wants to see it
                if not return_exceptions:
                    raise
                outputs.append(error)
        return outputs


def _joined(whole: list[Any], chunk: Any) -> list[Any]:
    """What was streamed so far as a list of one; chunks that cannot be added replace each other."""
    if not whole:
        return [chunk]
    before = whole[0]
    if isinstance(before, Mapping) and isinstance(chunk, Mapping):
        made = dict(before)
        for key, value in chunk.items():
            made[key] = _joined([made[key]], value)[0] if key in made else value
        return [made]
    # What is added to a whole message becomes a prompt template.
    if isinstance(before, BaseMessage) and not isinstance(before, BaseMessageChunk):
        return [before]
    try:
        return [before + chunk]
    except TypeError:
        return [chunk]
