"""Thread ids of one scope, as a checkpointer keeps them and as the caller knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.namespace import Namespace, Scope

__all__ = ["OwnThreads", "shared_run"]

_THREAD: Final = "thread_id"
_OF_A_CHECKPOINT: Final = (_THREAD, "checkpoint_id", "checkpoint_ns", "checkpoint_map")


@dataclass(frozen=True)
class OwnThreads:
    """The threads of `scope`, for a call that was made with `config`. Raises `InvalidNamespace`."""

    scope: Scope
    config: RunnableConfig | None

    def key(self, thread_id: object) -> str:
        """What the saver keeps the thread under: `Namespace.key`, which no other thread has."""
        try:
            return Namespace(self.scope.tenant, self.scope.user, cast("str", thread_id)).key
        except InvalidNamespace as error:
            # LangGraph has a thread where we have a session; tenant and user were checked before.
            raise InvalidNamespace(_THREAD, error.got, error.remedy) from None

    def inside(self, config: RunnableConfig) -> RunnableConfig:
        """`config` as the saver gets it."""
        given = config.get("configurable", {})
        return {**config, "configurable": {**given, _THREAD: self.key(given.get(_THREAD))}}

    def listed(
        self, before: RunnableConfig | None
    ) -> tuple[RunnableConfig | None, RunnableConfig | None]:
        """(config, before) of a `list` as the saver gets them; a `before` may name no thread."""
        config = None if self.config is None else self.inside(self.config)
        return config, self.inside(before) if before and _thread_of(before) else before

    def holds(self, item: CheckpointTuple) -> bool:
        """Whether the checkpoint is of this scope; one that somebody wrote unguarded is not."""
        try:
            return Namespace.from_key(_thread_of(item.config)).scope == self.scope
        except InvalidNamespace:
            return False

    def config_back(self, config: RunnableConfig) -> RunnableConfig:
        """A config of the saver with the caller's thread id, and what else the caller's said.

        A scope that was found by the config is found by what is given back, too.
        """
        found = config.get("configurable", {})
        thread_id = Namespace.from_key(found[_THREAD]).session
        given: Mapping[str, Any] = (self.config or {}).get("configurable", {})
        extra = {
            name: value
            for name, value in given.items()
            if name not in _OF_A_CHECKPOINT and not name.startswith("__")
        }
        return {**config, "configurable": {**extra, **found, _THREAD: thread_id}}

    def back(self, item: CheckpointTuple) -> CheckpointTuple:
        """A checkpoint of the saver as the caller gets it."""
        parent = item.parent_config
        return item._replace(
            config=self.config_back(item.config),
            parent_config=None if parent is None else self.config_back(parent),
        )

    def given_back(self, item: CheckpointTuple | None) -> CheckpointTuple | None:
        """The same, of a checkpoint that may not be there."""
        return None if item is None else self.back(item)


def shared_run(run_id: str) -> InvalidNamespace:
    """The error for a run id that two scopes used."""
    remedy = "another scope has a run of this id, which the saver would delete with it"
    return InvalidNamespace("run_ids", run_id, remedy)


def _thread_of(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get(_THREAD) or "")
