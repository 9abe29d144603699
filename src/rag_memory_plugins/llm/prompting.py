"""The items of one prompt until each has an answer or a reason: asked, read, asked again in fewer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import ChatModelError
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.llm.asking import MayPass, answered
from rag_memory_plugins.llm.labels import answers_of, labels_for, prompt, rounds
from rag_memory_plugins.portal import get_portal

if TYPE_CHECKING:
    from rag_memory_plugins.ports import ChatModel

__all__ = ["Outcome", "Prompting", "Run"]

FAILURES: Final = 4
"""Failed calls in a row after which a model is held to be down, and is asked no more for a run."""


@dataclass(frozen=True)
class Outcome:
    """An answer as JSON text; or None, and why."""

    text: str | None
    reason: str = ""
    error: ChatModelError | None = None


@dataclass
class Run:
    """The prompts of one caller, side by side: whose they are, and how the model does.

    `keep` is given each answer as soon as it is there. `gate` lets as many through as may run at a
    time, so that who asks much has no more in front of others than that.
    """

    scope: str
    keep: Callable[[Mapping[bytes, str]], None]
    gate: asyncio.Semaphore
    failures: int = field(default=0, init=False)
    error: ChatModelError | None = field(default=None, init=False)

    def failed(self, error: ChatModelError) -> None:
        """Count a failure; one that asking again cannot mend counts for all."""
        self.failures += 1 if isinstance(error, MayPass) else FAILURES
        self.error = error


@dataclass(frozen=True)
class Prompting:
    """How prompts are made and answers checked; at most `calls` calls for one prompt's items."""

    model: ChatModel
    instruction: str
    valid: Callable[[Any], bool] | None
    calls: int
    timeout: float
    max_tokens: int | None
    slots: asyncio.Semaphore
    hooks: tuple[Hook, ...]
    clock: Callable[[], float]
    rng: Random

    async def asettle(self, items: Mapping[bytes, str], run: Run) -> dict[bytes, Outcome]:
        """An outcome for every item, by its key."""
        found: dict[bytes, str] = {}
        asked = dict.fromkeys(items, 0)
        errors: dict[bytes, ChatModelError] = {}
        for calls, part in enumerate(_parts(items, found)):
            if calls >= self.calls:
                break
            async with run.gate, self.slots:
                if run.failures >= FAILURES:
                    break
                try:
                    got = await self._ask({key: items[key] for key in part}, run)
                except ChatModelError as error:
                    run.failed(error)
                    errors.update(dict.fromkeys(part, error))
                    continue
            run.failures = 0
            run.keep(got)
            found |= got
            for key in part:
                asked[key] += 1
                errors.pop(key, None)
        return {
            key: Outcome(found[key])
            if key in found
            else self._lost(asked[key], errors.get(key), run)
            for key in items
        }

    def _lost(self, asked: int, error: ChatModelError | None, run: Run) -> Outcome:
        if error is None and not asked:  # the run was over before it came to this item
            error = run.error
        if error is not None:
            return Outcome(None, str(error), error)
        return Outcome(None, f"{self.model.name} gave no usable answer in {asked} prompts")

    async def _ask(self, items: Mapping[bytes, str], run: Run) -> dict[bytes, str]:
        """The usable answers of one prompt, by key. Raises `ChatModelError`."""
        begun = self.clock()
        labels = labels_for([*items.values()], self.rng)
        request = prompt(self.instruction, dict(zip(labels, items.values(), strict=True)))
        found: dict[str, str] = {}
        data: dict[str, object] = {"model": self.model.name, "items": len(items)}
        try:
            answer = await answered(
                self.model,
                request,
                name=self.model.name,
                timeout=self.timeout,
                max_tokens=self.max_tokens,
            )
            # Beside the loop: an answer may be long, and steered by who wrote an item.
            found = await get_portal().acompute(lambda: self._usable(answer, labels, data))
        except ChatModelError as error:
            data["error"] = str(error)
            raise
        finally:
            data["answered"] = len(found)
            emit(self.hooks, Event("llm.call", run.scope, self.clock() - begun, data))
        return {
            key: found[label] for key, label in zip(items, labels, strict=True) if label in found
        }

    def _usable(
        self, answer: str, labels: Sequence[str], data: dict[str, object]
    ) -> dict[str, str]:
        """What was answered and is valid; `data` is told what was not."""
        texts = answers_of(answer, labels)
        if self.valid is None:
            return texts
        found = {}
        for label, text in texts.items():
            try:
                if self.valid(json.loads(text)):
                    found[label] = text
            except Exception as error:  # value["same"] of a list: a check that fails is no yes
                data["valid_raised"] = type(error).__name__
        data["invalid"] = len(texts) - len(found)
        return found


def _parts(items: Mapping[bytes, str], found: Mapping[bytes, str]) -> Iterator[list[bytes]]:
    """All, then what is not `found` by then in smaller parts, then what is still not, alone."""
    for size in rounds(len(items)):
        missing = [key for key in items if key not in found]
        for start in range(0, len(missing), size):
            yield missing[start : start + size]
