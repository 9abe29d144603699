"""The worker that keeps rolling summaries: it folds in what has left the recent turns."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.memory.draft import checked_line
from rag_memory_plugins.results import Summary

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Fold, Folded, MessageLog, Summarizer, TokenCounter
    from rag_memory_plugins.results import SummaryLine

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


class Folding:
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
        self.summarizer = summarizer
        self._log = log
        self._hooks = hooks
        self._limit = limit
        self._least = least
        self._counter = counter
        self._woken = asyncio.Event()
        self._one_fold = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._pause = 0.0
        self.failed: dict[str, str] = {}
        """Why the last fold of a session failed, by the namespace's key, until one succeeds."""
        self._stopping = False

    def start(self) -> None:
        """Begin to work in the background of the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def wake(self) -> None:
        """Say that a session may have grown."""
        self._woken.set()

    async def astop(self) -> None:
        """Stop; a fold at hand is given back."""
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def adrain(self, seconds: float) -> None:
        """Fold until nothing is left, time is up or a fold fails."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and await self.astep():
                pass
        except Exception:  # anything a summarizer raises; its Event told, the session stays queued
            return

    async def astep(self) -> bool:
        """Fold one session; False when there was none. Raises what the summarizer raises."""
        async with self._one_fold:
            fold = await self._log.atake_fold(
                self.summarizer.every, KEEP, self._least, LEASE_SECONDS
            )
            if fold is None:
                return False
            try:
                await self._fold(fold)
            except BaseException as error:
                # Also when cancelled: the next opener must not wait for the lease to end.
                pause = 0.0 if isinstance(error, asyncio.CancelledError) else self._backoff()
                await self._log.arelease_fold(fold, pause)
                self.failed[fold.namespace.key] = f"summary: {self.summarizer.name}: {error!r}"
                data = {"error": repr(error), "retry_seconds": pause}
                emit(self._hooks, Event("summary.failed", fold.namespace.scope.key, data=data))
                raise
            self._pause = 0.0
            self.failed.pop(fold.namespace.key, None)
            return True

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

    def _backoff(self) -> float:
        self._pause = min(LAST_RETRY, max(FIRST_RETRY, 2 * self._pause))
        return self._pause

    async def _work(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                while not self._stopping and await self.astep():
                    pass
            except Exception as error:  # a summarizer of a user's may raise anything; we live on
                data = {"error": repr(error)}
                emit(self._hooks, Event("summary.stopped", data=data))
            try:
                await asyncio.wait_for(self._woken.wait(), max(POLL_SECONDS, self._pause))
            except asyncio.TimeoutError:
                continue
