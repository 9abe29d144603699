"""The worker that keeps rolling summaries: it folds in what has left the recent turns."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Literal

from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.draft import checked_line
from rag_memory_plugins.memory.worker import Worker
from rag_memory_plugins.results import Summary

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Namespace
    from rag_memory_plugins.ports import Fold, Folded, MessageLog, Summarizer, TokenCounter
    from rag_memory_plugins.results import SummaryLine
    from rag_memory_plugins.types import Level

__all__ = ["FOLD_AT", "SUMMARY_TOKENS", "Folding"]

SUMMARY_TOKENS: Final = 1_200
"""What a summary may have when the memory's budget states no share for it."""
FOLD_AT: Final = 80
"""Percent of `Modes.full_up_to` from which a session is summarised: below it all is in view."""
KEEP: Final = 450
"""Tokens of newest turns that are not folded yet: they stand in the context as they were said."""
LEASE_SECONDS: Final = 300.0
"""Longer than a language model takes, with its retries."""
POLL_SECONDS: Final = 5.0
FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 300.0
FAILURES: Final = 1_000
"""Sessions of which it is known why their last fold failed: a model may be down for all of them."""


class Folding(Worker):
    """Summarises in the background of one memory; a turn never waits for it.

    It is woken by `wake`, stopped by `astop`. A fold that fails is given back and tried again
    after a pause that doubles up to five minutes. Each fold emits an Event.
    """

    def __init__(
        self,
        log: MessageLog,
        summarizer: Summarizer,
        hooks: tuple[Hook, ...],
        limit: int,
        least: int,
        counter: TokenCounter,
    ) -> None:
        super().__init__(FIRST_RETRY, LAST_RETRY)
        self.summarizer = summarizer
        self._log = log
        self._hooks = hooks
        self._limit = limit
        self._least = least
        self._counter = counter
        self._one_fold = asyncio.Lock()
        self._failed: dict[str, str] = {}  # by the namespace's key, the last to fail last

    def failed(self, namespace: Namespace) -> str:
        """Why the last fold of a session failed; "" when it did not, or it is long ago."""
        return self._failed.get(namespace.key, "")

    def forget(self, namespace: Namespace, level: Level | Literal["tenant"]) -> None:
        """Forget why folds failed: an error may quote what was said."""
        keys = [namespace.key]
        if level != "session":
            whose = namespace.scope.key
            if level == "tenant":
                whose = whose.partition("/")[0]
            keys = [key for key in self._failed if key.startswith(f"{whose}/")]
        for key in keys:
            self._failed.pop(key, None)

    async def astep(self) -> int:
        """Fold one session; 0 when there was none. Raises what the summarizer raises."""
        async with self._one_fold:
            fold = await self._log.atake_fold(
                self.summarizer.every, KEEP, self._least, LEASE_SECONDS
            )
            if fold is None:
                return 0
            try:
                await self._fold(fold)
            except BaseException as error:
                pause = self._retry_after(error)
                await self._log.arelease_fold(fold, pause)
                self._has_failed(fold.namespace.key, error)
                data = {"error": repr(error), "retry_seconds": pause}
                emit(self._hooks, Event("summary.failed", fold.namespace.scope.key, data=data))
                raise
            self._pause = 0.0
            self._failed.pop(fold.namespace.key, None)
            return 1

    def _has_failed(self, key: str, error: BaseException) -> None:
        self._failed.pop(key, None)
        self._failed[key] = f"summary: {self.summarizer.name}: {error!r}"
        if len(self._failed) > FAILURES:
            del self._failed[next(iter(self._failed))]

    async def _fold(self, fold: Fold) -> None:
        started = time.perf_counter()
        lines = fold.summary.lines if fold.summary is not None else ()
        messages = [item.message for item in fold.messages]
        made = await self.summarizer.afold(lines, messages, self._limit)
        version = fold.summary.version if fold.summary is not None else 0
        upto = fold.messages[-1].seq
        kept_lines, degraded = self._within(made)
        summary = Summary(kept_lines, version, upto, self.summarizer.name, degraded)
        kept = await self._log.aput_summary(fold, summary)
        if not kept:  # an erase came between, or another worker was first: begun anew
            await self._log.arelease_fold(fold, 0.0)
        data = {
            "messages": len(messages),
            "lines": len(kept_lines),
            "kept": kept,
            "degraded": len(degraded),
        }
        seconds = time.perf_counter() - started
        emit(self._hooks, Event("summary.folded", fold.namespace.scope.key, seconds, data))

    def _within(self, made: Folded) -> tuple[tuple[SummaryLine, ...], tuple[str, ...]]:
        """The lines that can be shown and fit into the limit, the newest first to stay."""
        lines = [checked_line(line) for line in made.lines]
        degraded = list(made.degraded)
        if not lines:
            degraded.append(f"summary: {self.summarizer.name} returned nothing")
        left, kept = self._limit, []
        for line in reversed(lines):
            left -= self._counter.count(f"{line.text}\n")
            if left < 0:
                degraded.append(
                    f"summary: {self.summarizer.name} gave more than {self._limit} tokens"
                )
                break
            kept.append(line)
        return tuple(reversed(kept)), tuple(degraded)

    async def _round(self) -> None:
        try:
            await self._all()
        except Exception as error:  # a summarizer of a user's may raise anything; we live on
            emit(self._hooks, Event("summary.stopped", data={"error": repr(error)}))
        await self._rest(max(POLL_SECONDS, self._pause))
