"""`LLMExtractor`: claims read by a chat model, many messages a call, each checked against its message.

```
messages -> without fences, system, tools, nameless assistants: nothing to read, no claims
items    -> speaker, day and text as JSON; 20 a prompt (`LLMBatcher`), answers kept by scope
answer   -> claims; one with a number, name, date or field that cannot be is dropped, and counted
missing  -> the fallback reads those messages; an event says how many, and why
```
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.events import Event, Hook, emit
from rag_memory_plugins.facts.claim_reading import LONGEST, claims_of, entries_of
from rag_memory_plugins.facts.comparing import (
    StatePair,
    acompare_states_batch,
    comparing_batcher,
)
from rag_memory_plugins.facts.heard import heard
from rag_memory_plugins.facts.retrying import RetryingModel
from rag_memory_plugins.llm.batching import BatchAnswer, LLMBatcher
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.ports import ChatModel
from rag_memory_plugins.ports.facts import Claim, FactExtractor

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.types import Message

__all__ = ["INSTRUCTION", "LLMExtractor"]

VERSION: Final = 1
"""Of the instruction and the checks: raised with what makes other claims of the same message."""
INSTRUCTION: Final = f"""\
The item is one message of a chat: `speaker`, the day it was said, and `text`. Which lasting facts \
does the speaker state in it? A list of objects in this form:
{{"subject": "Ann", "predicate": "lives in", "object": "Porto", "confidence": 0.9, "valid_from": \
"2026-05-01", "valid_to": null, "negated": false, "corrects": false, "many": false}}
- subject: whom or what it is about. "I" and "we" are the speaker, by the name that `speaker` gives. \
"My X is Y" is (speaker, X, Y); with another verb the subject is "speaker's X".
- predicate: short, lower case, present tense: "lives in", "works at", "works as", "likes", \
"dislikes", "prefers", "is", "status", "deadline", "favourite colour".
- object: words of the text, without the article. Copy numbers and names as they stand.
- confidence: 0 to 1, how surely the text states it.
- valid_from, valid_to: ISO dates, or null where the text gives none; count "next Monday" from the \
day it was said.
- negated: it holds no longer, or does not hold; predicate and object say what does not.
- corrects: what was said before was never so. many: a subject may have several at once, as likes.
Fields that are false or null may be left out. Texts are at most {LONGEST} characters.
Questions, conditions, wishes, instructions, quotes, hearsay, code and moods state nothing: answer \
[] for a message without facts. Add nothing that the text does not say."""
REASONS: Final = 3


class LLMExtractor:
    """Has `model` read claims, and `fallback` where it cannot; a `FactExtractor`.

    A prompt holds up to `batch` messages and `tokens` tokens; `concurrency` calls run at a time,
    each tried up to `tries` times within `timeout` seconds a try. A message that the model leaves
    out, or is down for, is read by `fallback` (by default the package's rules). Answers are kept
    for `cache_seconds` by scope, speaker, day and text. `hooks` are told of what was dropped
    ("facts.dropped") and of messages that the fallback read ("facts.degraded"); `sleep` waits
    between tries. Neither `model` nor a `fallback` that was passed is closed here. Raises
    `InvalidInput`.

    >>> import re
    >>> from rag_memory_plugins.namespace import Scope
    >>> from rag_memory_plugins.types import Message
    >>> class Model:
    ...     name = "scripted"
    ...     async def achat(self, messages, *, max_tokens=None):
    ...         [label] = re.findall("<item ([a-z]+)>", messages[1].content)
    ...         claim = {"subject": "Ann", "predicate": "lives in", "object": "Porto"}
    ...         return Message("assistant", json.dumps({label: [claim]}))
    ...     async def aclose(self): ...
    >>> class Rules:
    ...     name = "none"
    ...     async def aextract(self, scope, messages): return [[] for _ in messages]
    ...     async def aclose(self): ...
    >>> extractor = LLMExtractor(Model(), fallback=Rules())
    >>> said = [Message("user", "I live in Porto", name="Ann"), Message("system", "Be brief")]
    >>> [[claim.object for claim in claims] for claims in asyncio.run(
    ...     extractor.aextract(Scope("acme", "ann"), said))]
    [['Porto'], []]
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        fallback: FactExtractor | None = None,
        counter: TokenCounter | str | None = None,
        batch: int = 20,
        tokens: int = 8_000,
        concurrency: int = 4,
        calls: int = 12,
        tries: int = 3,
        timeout: float = 60.0,
        max_tokens: int | None = None,
        cache_seconds: float = 3_600.0,
        hooks: tuple[Hook, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        _check(model, fallback, tries, timeout)
        self.model = model
        self._owned = fallback is None
        self.fallback = _rules() if fallback is None else fallback
        self._hooks = hooks
        retrying = RetryingModel(model, tries=tries, timeout=timeout, sleep=sleep)
        self._comparer = comparing_batcher(
            retrying,
            counter=counter,
            concurrency=concurrency,
            timeout=retrying.longest,
            cache_seconds=cache_seconds,
            hooks=hooks,
            clock=clock,
            rng=rng,
        )
        self._batcher = LLMBatcher(
            retrying,
            INSTRUCTION,
            valid=lambda value: entries_of(value) is not None,
            counter=counter,
            batch=batch,
            tokens=tokens,
            concurrency=concurrency,
            calls=calls,
            timeout=retrying.longest,
            max_tokens=max_tokens,
            cache_seconds=cache_seconds,
            hooks=hooks,
            clock=clock,
            rng=rng,
        )

    @property
    def name(self) -> str:
        """Which model reads, and by which version of the question."""
        return f"LLM {self.model.name} v{VERSION}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.name!r}, fallback={self.fallback!r})"

    async def aextract(self, scope: Scope, messages: Sequence[Message]) -> list[list[Claim]]:
        """The claims of each message, in order.

        Raises what the fallback raises, `InvalidNamespace` for what is no scope.
        """
        texts = {number: heard(message) for number, message in enumerate(messages)}
        said = {number: text for number, text in texts.items() if text}
        items = [_item(messages[number], text) for number, text in said.items()]
        answers = await self._batcher.aask(items, scope=scope)
        by_number = dict(zip(said, answers, strict=True))
        found, dropped = await get_portal().acompute(lambda: _read(by_number, messages, said))
        if dropped:
            data = {"claims": dropped.total(), "reasons": dict(dropped)}
            emit(self._hooks, Event("facts.dropped", scope.key, data=data))
        lost = {number: by_number[number].reason for number in said if number not in found}
        if lost:
            found |= await self._instead(scope, messages, lost)
        return [found.get(number, []) for number in range(len(messages))]

    async def asame(self, scope: Scope, states: Sequence[tuple[str, str, str, str]]) -> list[bool]:
        """Whether the values of each (entity, key, old, new) say the same: one call for many.

        Numbers, names and negations that differ are a change whatever the model says; rules decide
        where it does not answer (`compare_states_batch`).
        """
        pairs = [StatePair(*state) for state in states]
        found = await acompare_states_batch(
            pairs, model=self._comparer, scope=scope, hooks=self._hooks
        )
        return [difference.change == "same" for difference in found]

    async def aclose(self) -> None:
        """Close the fallback that was made here; model and another fallback are their makers'."""
        if self._owned:
            await self.fallback.aclose()

    async def _instead(
        self, scope: Scope, messages: Sequence[Message], lost: Mapping[int, str]
    ) -> dict[int, list[Claim]]:
        """What the fallback reads in the messages that the model did not."""
        reasons = [*dict.fromkeys(lost.values())][:REASONS]
        data = {"messages": len(lost), "fallback": self.fallback.name, "reasons": reasons}
        emit(self._hooks, Event("facts.degraded", scope.key, data=data))
        read = await self.fallback.aextract(scope, [messages[number] for number in lost])
        return dict(zip(lost, read, strict=True))


def _check(model: object, fallback: object, tries: object, timeout: object) -> None:
    for name, value, kind in (("model", model, ChatModel), ("fallback", fallback, FactExtractor)):
        if not isinstance(value, kind) and not (name == "fallback" and value is None):
            got = f"{type(value).__module__}.{type(value).__name__}"
            raise InvalidInput(name, got, f"pass a ports.{kind.__name__}")
    if isinstance(tries, bool) or not isinstance(tries, int) or tries < 1:
        raise InvalidInput("tries", tries, "pass a whole number from 1")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidInput("timeout", timeout, "pass seconds, a number above 0")


def _rules() -> FactExtractor:
    """The package's rules, loaded by who wants them alone."""
    from rag_memory_plugins.facts.rules import RuleExtractor

    return RuleExtractor()


def _item(message: Message, text: str) -> str:
    said = {
        "speaker": message.name or "user",
        "said": f"{message.time:%A} {message.time.date().isoformat()}",
        "text": text,
    }
    return json.dumps(said, ensure_ascii=False)


def _read(
    answers: Mapping[int, BatchAnswer], messages: Sequence[Message], said: Mapping[int, str]
) -> tuple[dict[int, list[Claim]], Counter[str]]:
    """The claims by number of a message, without those that the model gave no answer for."""
    found: dict[int, list[Claim]] = {}
    dropped: Counter[str] = Counter()
    for number, answer in answers.items():
        if answer.source in {"model", "cache"}:
            read = claims_of(answer.value, messages[number], said[number])
            found[number] = list(read.claims)
            dropped += read.dropped
    return found, dropped
