"""`LLMBatcher`: many small questions of one kind, asked of a chat model in few prompts.

```
items    -> equal ones once -> those with a kept answer, or asked by somebody now, are not asked
the rest -> prompts by count and tokens, side by side, each item under a label (`labels`)
answer   -> JSON by label, each value checked; what is missing goes into smaller prompts, then alone
found    -> kept for its scope (`kept`); everybody who waits for the item gets it
missing  -> the caller's fallback, or no value; with the reason either way
```

All of it runs on the portal, so callers of any loop and thread share calls and limits unlocked.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.errors import ChatModelError, InvalidInput, InvalidNamespace, shorten
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.llm.asking import sendable
from rag_memory_plugins.llm.flights import Flights
from rag_memory_plugins.llm.kept import KeptAnswers
from rag_memory_plugins.llm.labels import ITEM, packed, prompt
from rag_memory_plugins.llm.prompting import Outcome, Prompting, Run
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.portal import blocking, get_portal, on_portal
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.tokens import make_counter

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter

__all__ = ["BatchAnswer", "LLMBatcher"]

CHARACTERS: Final = 300_000
"""Of answers kept for a scope: over a thousand short ones."""
SAMPLE: Final = "qkzjx"
"""A label of the most tokens that one of 20,000 took in cl100k_base; most take two less."""
REASONS: Final = 3
"""Told in one event or error."""


@dataclass(frozen=True)
class BatchAnswer:
    """What one item got.

    `value` is a JSON value, or what the fallback gave. `source` says whose it is: of the "model",
    of the "cache" (the model, earlier), of the "fallback", or "none", and then it is None.
    `reason` says why the model gave none; it is "" where it did.

    >>> BatchAnswer(None, "none", "scripted: no answer in 60 s").value is None
    True
    """

    value: Any
    source: Literal["model", "cache", "fallback", "none"]
    reason: str = ""


class LLMBatcher:
    """Asks `model` one question, `instruction`, about each of many items.

    The instruction says what to answer about an item, and in which form of JSON. A prompt holds at
    most `batch` items and about `tokens` tokens; an item too long for one is not asked. What an
    answer leaves out, or `valid(value)`, a quick check, refuses, is asked again in smaller prompts,
    at last alone, with at most `calls` calls for the items of one prompt. What then has no answer
    gets that of `fallback(item)`, run in a thread, or none. At most `concurrency` calls run at a
    time, whoever asks, each up to `timeout` seconds and, if given, `max_tokens`. After four failed
    calls in a row nothing more is asked for that caller.

    Equal items are asked once, also by callers at the same time, but never for two scopes: answers
    are kept for `cache_seconds` by scope, model, instruction and item (0: not at all), until
    something is erased. Items go between tags that no item can close and are answered by labels
    that no item can know. An item may still argue for itself; the model decides. `rng` makes
    labels; `clock` is in seconds. `model` is never closed here. Raises `InvalidInput`.

    >>> import re
    >>> from rag_memory_plugins.types import Message
    >>> class Model:
    ...     name = "scripted"
    ...     async def achat(self, messages, *, max_tokens=None):
    ...         labels = re.findall("<item ([a-z]+)>", messages[1].content)
    ...         return Message("assistant", " ".join('{"%s": true}' % label for label in labels))
    ...     async def aclose(self): ...
    >>> batcher = LLMBatcher(Model(), "Is it a place? Answer true or false.")
    >>> [answer.value for answer in batcher.ask(["Lisbon", "Oslo"], scope=Scope("acme", "ann"))]
    [True, True]
    >>> batcher.ask(["Lisbon"], scope=Scope("acme", "ann"))
    [BatchAnswer(value=True, source='cache', reason='')]
    """

    def __init__(
        self,
        model: ChatModel,
        instruction: str,
        *,
        valid: Callable[[Any], bool] | None = None,
        fallback: Callable[[str], Any] | None = None,
        counter: TokenCounter | str | None = None,
        batch: int = 20,
        tokens: int = 2_500,
        concurrency: int = 4,
        calls: int = 12,
        timeout: float = 60.0,
        max_tokens: int | None = None,
        cache_seconds: float = 3_600.0,
        hooks: tuple[Hook, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        if not isinstance(model, ChatModel):
            got = f"{type(model).__module__}.{type(model).__name__}"
            raise InvalidInput("model", got, "pass a ports.ChatModel")
        if not isinstance(instruction, str) or not instruction.strip():
            raise InvalidInput("instruction", instruction, "say what to answer about each item")
        for name, function in (("valid", valid), ("fallback", fallback)):
            if function is not None and not callable(function):
                raise InvalidInput(name, function, "pass a function of one argument, or None")
        self.portal = get_portal()
        self.model = model
        self.instruction = sendable(instruction.strip())
        self.fallback = fallback
        self.counter = make_counter(counter)
        self.batch = _whole("batch", batch)
        self._room = self._room_of(_whole("tokens", tokens))
        self._concurrency = _whole("concurrency", concurrency)
        self._hooks = hooks
        self._clock = clock
        self._kept = KeptAnswers(_seconds("cache_seconds", cache_seconds), CHARACTERS, clock=clock)
        self._flights: Flights[Outcome] = Flights()
        self._prompting = Prompting(
            model=model,
            instruction=self.instruction,
            valid=valid,
            calls=_whole("calls", calls),
            timeout=_seconds("timeout", timeout, least=0.001),
            max_tokens=None if max_tokens is None else _whole("max_tokens", max_tokens),
            slots=asyncio.Semaphore(self._concurrency),
            hooks=hooks,
            clock=clock,
            rng=random.SystemRandom() if rng is None else rng,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.name!r}, {shorten(self.instruction, 60)})"

    @on_portal
    async def aask(
        self, items: Sequence[str], *, scope: Scope, strict: bool = False
    ) -> list[BatchAnswer]:
        """One answer an item, in order. With `strict`, every one is the model's.

        Cancelled, it cancels the calls that nobody else waits for. Raises `InvalidInput`,
        `InvalidNamespace`; with `strict` `ChatModelError`, if any item has no answer of the model:
        those that have one are kept, so asking again costs only the others.
        """
        _check(items, scope)
        begun = self._clock()
        keys = [self._key(scope, item) for item in items]
        texts = dict(zip(keys, items, strict=True))
        kept = self._kept.find(scope.key, texts)
        outcomes = {key: Outcome(text) for key, text in kept.items()}
        outcomes |= await self._asked(scope, {key: texts[key] for key in texts if key not in kept})
        lost = {key: outcome for key, outcome in outcomes.items() if outcome.text is None}
        data = {"items": len(texts), "kept": len(kept), "lost": len(lost)}
        emit(self._hooks, Event("llm.ask", scope.key, self._clock() - begun, data))
        instead = await self._instead(scope, texts, lost, strict=strict) if lost else {}
        answers = {
            key: BatchAnswer(json.loads(outcome.text), "cache" if key in kept else "model")
            for key, outcome in outcomes.items()
            if outcome.text is not None
        }
        return [answers.get(key) or instead[key] for key in keys]

    ask = blocking(aask)

    def _key(self, scope: Scope, item: str) -> bytes:
        parts = json.dumps([scope.key, self.model.name, self.instruction, item])
        return hashlib.blake2b(parts.encode(), digest_size=16).digest()

    def _room_of(self, tokens: int) -> int:
        """Tokens that a prompt has for items."""
        rules = self.counter.count_messages(prompt(self.instruction, {}))
        if rules >= tokens:
            raise InvalidInput("tokens", tokens, f"the question alone takes {rules}; pass more")
        return tokens - rules

    def _sizes(self, shown: Mapping[bytes, str]) -> dict[bytes, int]:
        tags = self.counter.count(ITEM.format(label=SAMPLE, text=""))
        counts = self.counter.count_batch([*shown.values()])
        return {key: tags + count for key, count in zip(shown, counts, strict=True)}

    async def _asked(self, scope: Scope, texts: Mapping[bytes, str]) -> dict[bytes, Outcome]:
        """An outcome for each, of new prompts or of those that somebody waits for already."""
        if not texts:
            return {}
        # Read first: what is asked before an erase must not be kept after it.
        keep = functools.partial(self._kept.keep, scope.key, generation=self._kept.generation)
        shown = {key: sendable(text) for key, text in texts.items()}
        # Beside the loop: counting a very long item takes a while.
        sizes = await self.portal.acompute(lambda: self._sizes(shown))
        outcomes = {}
        for key, size in sizes.items():
            if size > self._room:
                reason = f"the item takes {size} tokens, and a prompt has room for {self._room}"
                outcomes[key] = Outcome(None, f"{reason}; raise `tokens`")
        rest = [key for key in shown if key not in outcomes]
        new = {key: sizes[key] for key in rest if key not in self._flights}
        run = Run(scope.key, keep, asyncio.Semaphore(self._concurrency))
        for keys in packed(new, self._room, self.batch):
            items = {key: shown[key] for key in keys}
            self._flights.begin(keys, self._prompting.asettle(items, run))
        return outcomes | await self._flights.wait(rest)

    async def _instead(
        self,
        scope: Scope,
        texts: Mapping[bytes, str],
        lost: Mapping[bytes, Outcome],
        *,
        strict: bool,
    ) -> dict[bytes, BatchAnswer]:
        """What there is for items without an answer of the model. Raises `ChatModelError` if `strict`."""
        reasons = [*dict.fromkeys(outcome.reason for outcome in lost.values())][:REASONS]
        instead: dict[bytes, BatchAnswer] = {}
        if not strict:
            # In a thread that may wait for the portal: it is the caller's function.
            instead = await asyncio.to_thread(self._fallbacks, texts, lost)
        helped = sum(answer.source == "fallback" for answer in instead.values())
        data = {"items": len(lost), "fallback": helped, "reasons": reasons}
        emit(self._hooks, Event("llm.degraded", scope.key, data=data))
        if strict:
            errors = [outcome.error for outcome in lost.values() if outcome.error is not None]
            message = f"{len(lost)} of {len(texts)} items have no answer: {'; '.join(reasons)}"
            raise ChatModelError(message) from (errors[0] if errors else None)
        return instead

    def _fallbacks(
        self, texts: Mapping[bytes, str], lost: Mapping[bytes, Outcome]
    ) -> dict[bytes, BatchAnswer]:
        answers = {}
        for key, outcome in lost.items():
            answer = BatchAnswer(None, "none", outcome.reason)
            if self.fallback is not None:
                try:
                    value = self.fallback(texts[key])
                    answer = BatchAnswer(value, "fallback", outcome.reason)
                except Exception as error:  # one item must not cost the others; the reason says so
                    reason = f"{outcome.reason}; fallback: {shorten(error)}"
                    answer = BatchAnswer(None, "none", reason)
            answers[key] = answer
        return answers


def _check(items: object, scope: object) -> None:
    if not isinstance(scope, Scope):
        raise InvalidNamespace("scope", scope, "pass a Scope: answers are kept for it alone")
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise InvalidInput("items", items, "pass a list of str")
    for number, item in enumerate(items):
        if not isinstance(item, str):
            raise InvalidInput(f"items[{number}]", item, "pass a str")


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInput(name, value, "pass a whole number from 1")
    return value


def _seconds(name: str, value: object, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInput(name, value, "pass seconds, a finite number")
    if value < least:
        raise InvalidInput(name, value, f"pass seconds, a number from {least:g}")
    return float(value)
