"""Any LangGraph checkpointer, with every tenant's threads apart.

LangGraph finds a chat by its `thread_id` alone: whoever sends one that another tenant used reads
that tenant's chat. Here the saver sees `Namespace(tenant, user, thread_id).key` in its place, and
the caller gets back the thread id that was sent.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace
from rag_memory_plugins.langchain.threads import OwnThreads, shared_run
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import strict

if TYPE_CHECKING:
    from langgraph.checkpoint.base import DeltaChannelHistory  # older ones do not have it

__all__ = ["TenantCheckpointer", "run_context"]

Scoping: TypeAlias = Scope | Callable[[RunnableConfig], Scope]

_RUNTIME: Final = "__pregel_runtime"  # where LangGraph keeps it; test_checkpointer.py holds that


def run_context(config: RunnableConfig) -> Any:
    """What `context=` brought to the run of `config`; None outside a run, as in `get_state`."""
    return getattr(config.get("configurable", {}).get(_RUNTIME), "context", None)


class TenantCheckpointer(BaseCheckpointSaver[Any]):
    """`saver` for `compile(checkpointer=...)`, in which no thread is reached but its scope's own.

    `scope` is whose threads these are, or a function of the runnable config:
    `lambda config: Scope(config["configurable"]["tenant"], config["configurable"]["user"])`, and
    with `run_context(config)` of what `context=` brought. `Scope(tenant, SHARED)` is for threads
    that a tenant's users share. What comes back carries the caller's thread id and the other keys
    of its config, so that it leads back here.

    Calls without a config (`delete_thread`, `copy_thread`, `prune`, `delete_for_runs`, `list(None)`)
    need a fixed scope: `of(scope)` gives one on the same saver. Whatever names no scope raises
    `InvalidNamespace` before the saver is asked. `list(None)` and `delete_for_runs` read the
    checkpoints of all tenants to find the scope's own.

    >>> from langgraph.checkpoint.memory import InMemorySaver
    >>> from langgraph.graph import START, MessagesState, StateGraph
    >>> graph = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": ["Hi"]})
    >>> ann = TenantCheckpointer(InMemorySaver(), Scope("acme", "ann"))
    >>> chat = graph.add_edge(START, "answer").compile(checkpointer=ann)
    >>> thread = {"configurable": {"thread_id": "1"}}
    >>> _ = chat.invoke({"messages": ["I moved to Lisbon"]}, thread)
    >>> ann.get_tuple(thread) is None, ann.of(Scope("globex", "ann")).get_tuple(thread) is None
    (False, True)
    """

    @strict
    def __init__(self, saver: BaseCheckpointSaver[Any], scope: Scoping) -> None:
        if not isinstance(saver, BaseCheckpointSaver):
            got = f"{type(saver).__module__}.{type(saver).__name__}"
            raise InvalidInput("saver", got, "pass a LangGraph checkpointer")
        if not isinstance(scope, Scope) and not callable(scope):
            remedy = "pass Scope(tenant, user), or a function of the runnable config"
            raise InvalidNamespace("scope", scope, remedy)
        super().__init__(serde=saver.serde)
        self.saver = saver
        self._scope = scope

    def of(self, scope: Scope) -> TenantCheckpointer:
        """The same saver for one scope, for calls that have no config."""
        return TenantCheckpointer(self.saver, scope)

    def __repr__(self) -> str:
        where = self._scope.key if isinstance(self._scope, Scope) else "by config"
        return f"{type(self).__name__}({type(self.saver).__name__}, {where!r})"

    @property
    def config_specs(self) -> Any:
        return self.saver.config_specs

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        threads = self._threads(config)
        return threads.given_back(self.saver.get_tuple(threads.inside(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        threads = self._threads(config)
        return threads.given_back(await self.saver.aget_tuple(threads.inside(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        threads = self._threads(config)
        within, earlier = threads.listed(before)
        # Of all threads those of the scope are picked here, so the saver must not count others.
        asked = limit if config is not None else None
        found = self.saver.list(within, filter=filter, before=earlier, limit=asked)
        own = (threads.back(item) for item in found if threads.holds(item))
        return islice(own, limit)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        threads = self._threads(config)
        within, earlier = threads.listed(before)
        asked = limit if config is not None else None
        left = limit
        async for item in self.saver.alist(within, filter=filter, before=earlier, limit=asked):
            if left is not None and left <= 0:
                return
            if threads.holds(item):
                left = None if left is None else left - 1
                yield threads.back(item)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        threads = self._threads(config)
        inside = threads.inside(config)
        return threads.config_back(self.saver.put(inside, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        threads = self._threads(config)
        inside = threads.inside(config)
        put = await self.saver.aput(inside, checkpoint, metadata, new_versions)
        return threads.config_back(put)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.saver.put_writes(self._threads(config).inside(config), writes, task_id, task_path)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        inside = self._threads(config).inside(config)
        await self.saver.aput_writes(inside, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self.saver.delete_thread(self._threads(None).key(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        await self.saver.adelete_thread(self._threads(None).key(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what the scope's runs wrote; runs of others are left as they are.

        Raises `InvalidNamespace` for a run id that the scope shares with another: nothing is
        deleted then, as the saver would delete both.
        """
        own, threads = [], self._threads(None)
        for run_id in run_ids:
            found = self.saver.list(None, filter={"run_id": run_id})
            whose = {threads.holds(item) for item in found}
            if whose == {True, False}:
                raise shared_run(run_id)
            own += [run_id] * (True in whose)
        self.saver.delete_for_runs(own)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Async form of `delete_for_runs`."""
        own, threads = [], self._threads(None)
        for run_id in run_ids:
            found = self.saver.alist(None, filter={"run_id": run_id})
            whose = {threads.holds(item) async for item in found}
            if whose == {True, False}:
                raise shared_run(run_id)
            own += [run_id] * (True in whose)
        await self.saver.adelete_for_runs(own)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        threads = self._threads(None)
        self.saver.copy_thread(threads.key(source_thread_id), threads.key(target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        threads = self._threads(None)
        source, target = threads.key(source_thread_id), threads.key(target_thread_id)
        await self.saver.acopy_thread(source, target)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        threads = self._threads(None)
        self.saver.prune([threads.key(one) for one in thread_ids], strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        threads = self._threads(None)
        await self.saver.aprune([threads.key(one) for one in thread_ids], strategy=strategy)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        inside = self._threads(config).inside(config)
        return self.saver.get_delta_channel_history(config=inside, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        inside = self._threads(config).inside(config)
        return await self.saver.aget_delta_channel_history(config=inside, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.saver.get_next_version(current, channel)

    def with_allowlist(
        self, extra_allowlist: Collection[tuple[str, ...]]
    ) -> BaseCheckpointSaver[Any]:
        return TenantCheckpointer(self.saver.with_allowlist(extra_allowlist), self._scope)

    def _threads(self, config: RunnableConfig | None) -> OwnThreads:
        """The threads of the scope that `config` names."""
        if isinstance(self._scope, Scope):
            return OwnThreads(self._scope, config)
        if config is None:
            raise InvalidNamespace(
                "scope", None, "a call without a config names no tenant; use of(Scope(...)) for it"
            )
        try:
            scope = self._scope(config)
        except InvalidNamespace:
            raise
        except Exception as error:  # the user's function: it may fail in any way, never open
            given = sorted(key for key in config.get("configurable", {}) if key[:2] != "__")
            remedy = f"its function failed ({error!r}); pass in config what it looks for"
            raise InvalidNamespace("scope", given, remedy) from error
        if not isinstance(scope, Scope):
            raise InvalidNamespace("scope", scope, "the function must give a Scope")
        return OwnThreads(scope, config)
