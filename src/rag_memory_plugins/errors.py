"""One tree of errors. Every message names the field or engine, what was got, and the remedy.

```
RagMemoryError
├── InvalidInput (also ValueError)      bad input; nothing was changed
│   ├── InvalidNamespace                tenant, user or session
│   ├── InvalidMessage
│   │   └── MessageConflict             same id, other content
│   ├── InvalidBudget
│   │   └── BudgetTooSmall              what must be in does not fit
│   ├── InvalidQuery
│   │   └── InvalidFilter               an unknown field, operator or value
│   ├── InvalidURL
│   ├── InvalidFile
│   └── UnknownArgument (also TypeError)
├── MissingExtra (also ImportError)     an optional part is not installed
├── StoreError                          the store refused; acknowledged data is intact
│   ├── StoreLocked                     locked for longer than the busy timeout
│   ├── StoreReadOnly
│   ├── StoreFull
│   ├── StoreCorrupt                    not a database, damaged, or of a newer schema
│   └── StoreClosed
├── EmbedderError                       no vectors could be made
├── RerankerError                       no scores could be made; the base order stands
├── ChatModelError                      no answer
│   ├── ProviderError                   one attempt at one model failed
│   │   ├── ProviderTimeout             connect, first content, between pieces, or the whole
│   │   ├── ProviderUnavailable         no connection, 5xx, overloaded, or an answer cut off
│   │   ├── ProviderLimited             429: too many requests or tokens
│   │   ├── OutOfMemory                 a local model does not fit
│   │   ├── AnswerRejected              an answer that cannot be used: no JSON, half a tool call
│   │   ├── ContextOverflow             the prompt is longer than the model's window
│   │   ├── ContentFiltered             the provider refused what it was asked
│   │   ├── ProviderAuth                401, 403
│   │   └── BadRequest                  400, 422: asking again changes nothing
│   │       └── ModelMissing            404: the provider has no such model; another may have its own
│   ├── StreamInterrupted               it broke off after the first piece; holds the partial text
│   ├── AllModelsFailed                 every model that could be asked; holds each attempt's error
│   ├── NoModelFits                     none can do what is asked, in this mode
│   └── RequestCancelled                by `Router.cancel`
│   ├── TooManyRequests                 a rate limit of ours has no room
│   └── BudgetSpent                     the money of a tenant or user is spent
└── PortalError                         a sync or async face was used where it cannot work
    ├── WouldDeadlock                   a sync call on the portal's own thread
    └── ForkedProcess                   an object opened before fork() was used in the child
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "AllModelsFailed",
    "AnswerRejected",
    "BadRequest",
    "BudgetSpent",
    "BudgetTooSmall",
    "ChatModelError",
    "ContentFiltered",
    "ContextOverflow",
    "EmbedderError",
    "ForkedProcess",
    "InvalidBudget",
    "InvalidFile",
    "InvalidFilter",
    "InvalidInput",
    "InvalidMessage",
    "InvalidNamespace",
    "InvalidQuery",
    "InvalidURL",
    "MessageConflict",
    "MissingExtra",
    "ModelMissing",
    "NoModelFits",
    "OutOfMemory",
    "PortalError",
    "ProviderAuth",
    "ProviderError",
    "ProviderLimited",
    "ProviderTimeout",
    "ProviderUnavailable",
    "RagMemoryError",
    "RequestCancelled",
    "RerankerError",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreReadOnly",
    "StoreUnreachable",
    "StreamInterrupted",
    "TooManyRequests",
    "UnknownArgument",
    "WouldDeadlock",
    "nearest",
]


class RagMemoryError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidInput(RagMemoryError, ValueError):
    """An argument cannot be used; nothing was changed.

    `field` names the argument, `got` is what was passed, `remedy` says what to do.
    """

    def __init__(self, field: str, got: object, remedy: str) -> None:
        self.field = field
        self.got = got
        self.remedy = remedy
        super().__init__(f"{field}: got {shorten(got)}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.field, self.got, self.remedy))


class InvalidNamespace(InvalidInput):
    """A tenant, user or session id that cannot name a memory."""


class InvalidMessage(InvalidInput):
    """A message that cannot be stored; nothing of its batch was stored."""


class MessageConflict(InvalidMessage):
    """The id is taken in this namespace by a message with other content."""


class InvalidBudget(InvalidInput):
    """A token budget that cannot be kept."""


class BudgetTooSmall(InvalidBudget):
    """What must be in the context is larger than the whole budget."""


class InvalidQuery(InvalidInput):
    """A search that cannot be run: empty text, a bad limit, an unknown level."""


class InvalidFilter(InvalidQuery):
    """A filter that names an unknown field or operator, or a value that cannot be compared."""


class InvalidURL(InvalidInput):
    """A store URL that names no engine or no place."""


class InvalidFile(InvalidInput):
    """A file that is missing or not in a format that can be imported."""


class UnknownArgument(InvalidInput, TypeError):
    """A keyword argument that the callable does not take."""


class MissingExtra(RagMemoryError, ImportError):
    """An optional part is not installed; the message holds the command that installs it."""

    def __init__(self, extra: str, what: str) -> None:
        self.extra = extra
        self.what = what
        super().__init__(
            f"{what} needs the extra {extra!r}: pip install 'rag-memory-plugins[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.extra, self.what))


class StoreError(RagMemoryError):
    """The store refused the operation; everything acknowledged before is intact."""


class StoreLocked(StoreError):
    """Another process held the write lock for longer than the busy timeout."""


class StoreReadOnly(StoreError):
    """The database or its folder cannot be written."""


class StoreFull(StoreError):
    """No room left on the disk, or a size limit was reached."""


class StoreCorrupt(StoreError):
    """The file is not a database of this package, is damaged, or comes from a newer version."""


class StoreUnreachable(StoreError):
    """An engine on another machine refused the connection, dropped it, or gave no answer in time.

    A write that was under way may be stored or not: write it again with the same id.
    """


class StoreClosed(StoreError):
    """The memory was closed; open it again."""


class EmbedderError(RagMemoryError):
    """The embedder gave no usable vectors."""


class RerankerError(RagMemoryError):
    """The reranker gave no usable scores; the order it was given stands."""


class ChatModelError(RagMemoryError):
    """The chat model gave no usable answer."""


class ProviderError(ChatModelError):
    """One attempt at one model failed. `model` is the entry's name, "" outside of a router.

    `status` is the HTTP status, if there was one. `retry_after` is in seconds, as the provider said
    it; None if it did not.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.status = status
        self.retry_after = retry_after


class ProviderTimeout(ProviderError):
    """Nothing came in time. `stage` is "connect", "first", "between", "total" or "deadline".

    The last is the asker's: the request's own time was over before the provider's.
    """

    def __init__(self, message: str, *, stage: str = "total", **values: object) -> None:
        super().__init__(message, **values)  # type: ignore[arg-type]  # those of ProviderError
        self.stage = stage


class ProviderUnavailable(ProviderError):
    """No connection, a 5xx, an overloaded provider, or an answer that ends without an end.

    `connected` is False when nobody was there.
    """

    def __init__(self, message: str, *, connected: bool = True, **values: object) -> None:
        super().__init__(message, **values)  # type: ignore[arg-type]
        self.connected = connected


class ProviderLimited(ProviderError):
    """429: too many requests or tokens for this account."""


class OutOfMemory(ProviderError):
    """A local model does not fit into memory. `smaller`: asking again uses a smaller variant."""

    def __init__(self, message: str, *, smaller: bool = False, **values: object) -> None:
        super().__init__(message, **values)  # type: ignore[arg-type]
        self.smaller = smaller


class AnswerRejected(ProviderError):
    """The model answered, and the answer cannot be used; another model may do better."""


class ContextOverflow(ProviderError):
    """The prompt is longer than the model's window; a larger window may hold it."""


class ContentFiltered(ProviderError):
    """The provider refused what it was asked, or what the model said."""


class ProviderAuth(ProviderError):
    """The key is missing, wrong, or may not use this model."""


class BadRequest(ProviderError):
    """The provider cannot do what it was asked; asking again changes nothing."""


class ModelMissing(BadRequest):
    """The provider has no such model, or not any more; asking another one may do."""


class StreamInterrupted(ChatModelError):
    """An answer broke off after its first piece, so no other model could take over.

    `text` is what came; the tokens are counted by us where the provider did not say; `cost` is in
    US dollars and `model` the entry that said it. The cause says what happened.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost: float = 0.0,
        model: str = "",
    ) -> None:
        super().__init__(message)
        self.text = text
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.cost = cost
        self.model = model


class AllModelsFailed(ChatModelError):
    """Every model that could be asked failed. `errors` has each attempt's, in order.

    `retry_after` is in seconds: when the first of them may be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[ProviderError] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
        self.retry_after = retry_after


class NoModelFits(ChatModelError):
    """No model can do what is asked: tools, vision, the window, the mode, the budget."""


class RequestCancelled(ChatModelError):
    """The request was cancelled by its id."""


class TooManyRequests(ChatModelError):
    """A rate limit of ours has no room; nothing was sent.

    `rule` is the limit in words, `retry_after` seconds until it has room, infinite for a call that
    is larger than the limit.
    """

    def __init__(self, rule: str, retry_after: float) -> None:
        self.rule = rule
        self.retry_after = retry_after
        remedy = (
            "the call is larger than the limit; send less, or state a larger limit"
            if retry_after == inf
            else f"try again in {retry_after:.1f} s"
        )
        super().__init__(f"rate limit: {rule} reached; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.rule, self.retry_after))


class BudgetSpent(ChatModelError):
    """The money of a tenant or user does not reach for this call; nothing was sent.

    `limit_usd`, `spent_usd` (with what running calls hold) and `left_usd` are dollars, `until` is
    when the next window begins, None for a budget without one.
    """

    def __init__(
        self, whose: str, limit_usd: float, spent_usd: float, until: datetime | None
    ) -> None:
        self.whose = whose
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.until = until
        when = f"it starts again at {until.isoformat()}" if until else "it does not start again"
        super().__init__(
            f"budget of {whose}: {spent_usd:.6f} of {limit_usd:.6f} USD are spent or held, and the "
            f"call costs more than is left; {when}: send less, use a cheaper model, or raise the limit"
        )

    @property
    def left_usd(self) -> float:
        return max(self.limit_usd - self.spent_usd, 0.0)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.whose, self.limit_usd, self.spent_usd, self.until))


class PortalError(RagMemoryError):
    """A sync or async face was used where it cannot work."""


class WouldDeadlock(PortalError):
    """A sync method was called on the portal's thread, which would wait for itself."""


class ForkedProcess(PortalError):
    """A memory opened before fork() was used in the child process."""


def shorten(value: object, limit: int = 120) -> str:
    """One printable line of at most `limit` characters for an error message."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def nearest(got: str, valid: Iterable[str]) -> str:
    """`did you mean 'x'? valid: x, y` for a misspelt name."""
    names = sorted(valid)
    close = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names)}"
