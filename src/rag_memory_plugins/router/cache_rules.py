"""What may be answered from a cache, and when two requests are the same one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from rag_memory_plugins.chat import NativeMessages
from rag_memory_plugins.errors import InvalidInput, nearest
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.router.models import Model
from rag_memory_plugins.router.present import time_relative

if TYPE_CHECKING:
    from rag_memory_plugins.chat import Answer, ChatRequest
    from rag_memory_plugins.types import Message

__all__ = ["CacheRules"]

_PER: Final = ("user", "tenant")
_WHOLE: Final = frozenset({"", "stop", "end_turn", "stop_sequence", "eos", "complete", "finished"})
"""How a whole answer ends, in lower case; what is not known is not kept."""


@dataclass(frozen=True, eq=False)
class CacheRules:
    """What is kept, and for whom.

    `models` are those that may answer, `Model`s or names: another list is another cache. Of models
    that differ in `quality` only the strongest's answers are kept, since another day the same
    question is answered better; `keep` names others. `per` "user" keeps users apart, "tenant" lets
    a tenant's users share; nothing is ever shared between tenants, and what nobody asks (no scope)
    is not kept. Raise `version` when what answers rest on changes: a corpus, a prompt outside of
    the request.

    Not kept: answers that call tools, and with `tools=False` answers to requests that offer some;
    answers that were cut off or filtered; requests whose temperature is above `max_temperature`
    (none at all is not above it: who switches a cache on and leaves the temperature alone wants
    hits, who raises it wants variety); questions for which `volatile` is true, of the present by
    default. `secret` keys the hashes; it is random, so caches of two processes have nothing in
    common. Raises `InvalidInput`.

    >>> CacheRules(["small", "large"], per="tenant", version="handbook 7").per
    'tenant'
    """

    models: Sequence[Model | str]
    per: Literal["user", "tenant"] = "user"
    version: str = ""
    tools: bool = False
    max_temperature: float = 0.0
    keep: Collection[str] | None = None
    volatile: Callable[[str], bool] = time_relative
    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    _who: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        models = list(self.models) if not isinstance(self.models, str) else []
        names = [model.name if isinstance(model, Model) else model for model in models]
        if not names or any(not isinstance(name, str) or not name for name in names):
            raise InvalidInput("models", self.models, "pass the router's models, or their names")
        if self.per not in _PER:
            raise InvalidInput("per", self.per, nearest(str(self.per), _PER))
        if not isinstance(self.version, str):
            raise InvalidInput("version", self.version, "pass a str")
        if not isinstance(self.secret, bytes) or not 16 <= len(self.secret) <= 64:
            raise InvalidInput("secret", "(hidden)", "pass 16 to 64 random bytes")
        qualities = {name: _quality(model) for name, model in zip(names, models, strict=True)}
        best = max(qualities.values())
        kept = self.keep
        if kept is None:
            kept = [name for name, quality in qualities.items() if quality == best]
        unknown = [name for name in kept if name not in qualities]
        if unknown or isinstance(kept, str):
            raise InvalidInput("keep", self.keep, f"pass names among {', '.join(names)}")
        put(self, "keep", frozenset(kept))
        put(self, "_who", json.dumps([_identity(model) for model in models]))

    def refused(self, request: ChatRequest) -> tuple[Scope | None, str]:
        """The scope of a request that may be answered from a cache; None, and why not."""
        scope = request.scope
        if scope is None:
            return None, "it has no scope"
        if request.tools and not self.tools:
            return None, "it offers tools"
        for temperature in (request.temperature, request.options.get("temperature")):
            if temperature is not None and not temperature <= self.max_temperature:
                return None, f"its temperature is {temperature}"
        if not _all_text(request.messages):
            return None, "it holds what only a framework can read"
        if any(
            message.role == "user" and self.volatile(message.content)
            for message in request.messages
        ):
            return None, "its answer depends on the time"
        return scope, ""

    def unfit(self, answer: Answer) -> str:
        """Why an answer is not kept, "" if it is."""
        message = answer.message
        if answer.model not in (self.keep or ()):
            return f"the answer is of {answer.model!r}"
        if answer.finish.casefold() not in _WHOLE:
            return f"the answer ended with {answer.finish!r}"
        if message.tool_calls:
            return "the answer calls tools"
        if not message.content.strip() or message.images:
            return "the answer is no text"
        return ""

    def partition(self, scope: Scope) -> tuple[str, ...]:
        """Whose answers these are: equal for those who share."""
        return (scope.tenant, scope.key) if self.per == "user" else (scope.tenant,)

    def key(self, scope: Scope, request: ChatRequest, *, wording: bool = True) -> bytes | None:
        """A keyed hash of all that a model sees; without `wording`, of all but the last user's text.

        None for values that JSON cannot say.
        """
        messages = request.messages
        last = -1 if wording else last_user(messages)
        tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
        said = _said(messages, last)
        asked = [request.tool_choice, request.schema, request.max_tokens, request.temperature]
        more = [list(request.stop), sorted(request.options.items()), request.native]
        parts = [self.partition(scope), self._who, self.version, wording, said, tools, asked, more]
        try:
            blob = json.dumps(parts, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError, RecursionError):
            return None
        data = blob.encode(errors="surrogatepass")
        return hashlib.blake2b(data, digest_size=32, key=self.secret).digest()


def last_user(messages: Sequence[Message]) -> int:
    """The place of the user's message that a prompt ends with, -1 if it ends with another's."""
    last = len(messages) - 1
    return last if messages[last].role == "user" else -1


def _said(messages: Sequence[Message], hidden: int) -> list[Any]:
    """Messages as values. Ids of calls are numbered: their own differ every time."""
    numbers: dict[str, int] = {}
    said = []
    for place, message in enumerate(messages):
        calls = [
            [numbers.setdefault(call.id, len(numbers)), call.name, call.arguments]
            for call in message.tool_calls
        ]
        answers = message.tool_call_id
        said.append(
            [
                message.role,
                None if place == hidden else message.content,
                message.name,
                calls,
                None if answers is None else numbers.setdefault(answers, len(numbers)),
                [[image.url, image.width, image.height, image.detail] for image in message.images],
            ]
        )
    return said


def _all_text(messages: Sequence[Message]) -> bool:
    """Whether messages of a framework hold text alone: what else they hold, ours may not tell."""
    if not isinstance(messages, NativeMessages):
        return True
    return not messages.images and all(map(_is_text, messages.native))


def _is_text(native: Any) -> bool:
    blocks = getattr(native, "blocks", None)
    blocks = getattr(native, "content", None) if blocks is None else blocks
    if isinstance(blocks, str) or blocks is None:
        return True
    kinds = [
        block.get("type") if isinstance(block, dict) else getattr(block, "block_type", None)
        for block in blocks
        if not isinstance(block, str)
    ]
    return all(kind == "text" for kind in kinds)


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return dict(value.items())
    raise TypeError


def _quality(model: Model | str) -> float:
    return model.quality if isinstance(model, Model) else 0.5


def _identity(model: Model | str) -> list[str]:
    return [model.name, model.provider, model.model] if isinstance(model, Model) else [model]
