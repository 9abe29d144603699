"""The ports: what a `Memory` is made of. One small Protocol each, on one page.

A port that another wraps is implemented by the wrapper too, so caches, limits and fallbacks nest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rag_memory_plugins.config import Recall

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.namespace import Namespace, Scope
    from rag_memory_plugins.results import EraseReceipt, Hit, Stats, Summary, SummaryLine
    from rag_memory_plugins.types import Level, Message, Messages

    Vectors = NDArray[np.float32]
    TokenVectors = NDArray[np.int8]

__all__ = [
    "ChatModel",
    "Embedder",
    "Encoded",
    "FactSource",
    "Fold",
    "Folded",
    "Found",
    "ItemChange",
    "ItemStore",
    "MessageLog",
    "Pending",
    "Point",
    "Query",
    "RemovedPoint",
    "Reranker",
    "SessionView",
    "SharedState",
    "StoredItem",
    "StoredMessage",
    "Summarizer",
    "TokenCounter",
    "TokenEmbedder",
    "VectorIndex",
    "VectorStore",
]


class TokenCounter(Protocol):
    """Counts tokens. Pure and quick: it is called on the event loop."""

    name: str
    """What counts, for people: "cl100k_base", "words"."""
    exact: bool
    """False for an estimate; a `Context` then says `tokens_exact=False`."""

    def count(self, text: str) -> int:
        """Tokens of one text."""

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order."""

    def count_messages(self, messages: Sequence[Message]) -> int:
        """Tokens of the messages as a chat request: names, tool calls and framing count."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors.

    Methods are awaited on the portal's loop and must not be bound to another loop. Blocking work
    belongs in a worker thread. Equal texts give equal vectors, whatever else is in the batch.
    """

    @property
    def fingerprint(self) -> str:
        """Model, version and dimension: vectors of two fingerprints are never compared."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""

    async def aembed_query(self, text: str) -> Vectors:
        """One question as a float32 unit vector of shape (dimension,). Raises `EmbedderError`."""

    async def aembed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its pieces, float32 unit vectors of shape (pieces, dimension), in order.

        A text longer than the model reads gives several overlapping pieces; an empty text gives
        shape (0, dimension). Raises `EmbedderError`.
        """

    async def aclose(self) -> None:
        """Free threads and memory; called once, by the memory that opened it."""


@dataclass(frozen=True)
class Encoded:
    """A text as an embedder reads it: `vectors` of its pieces, and maybe a vector for each token.

    `vectors` are unit float32 of shape (pieces, dimension), one piece for a query. `tokens` are of
    shape (tokens, width), each row of about the same length; `spans` says of a query's tokens which
    characters each stands for. `passages` are of shape (passages, width), a row for each of
    `sentences.passages(text)` and one for a query, all of the same length, their most telling
    numbers first: a first look takes the first half.
    """

    vectors: Vectors
    tokens: TokenVectors | None = None
    spans: tuple[tuple[int, int], ...] = ()
    passages: TokenVectors | None = None


@runtime_checkable
class TokenEmbedder(Embedder, Protocol):
    """An embedder that gives token vectors too, which rank the first candidates more finely."""

    async def aencode_query(self, text: str) -> Encoded:
        """One question. Raises `EmbedderError`."""

    async def aencode_documents(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text as in `aembed_documents`, with its token vectors. Raises `EmbedderError`."""


@runtime_checkable
class Reranker(Protocol):
    """Reads a question beside each text and says how well the text answers it.

    It sees the first few dozen candidates only. One that fails leaves the order it was given and
    marks the result `degraded`.
    """

    @property
    def name(self) -> str:
        """What ranks, for people and events: "cross-encoder model.onnx"."""

    async def arerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One finite score a text, in order, higher is better. Raises `RerankerError`."""

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class ChatModel(Protocol):
    """Answers a chat: a provider's model, or one made of several."""

    @property
    def name(self) -> str:
        """Which model, for people and events."""

    async def achat(self, messages: Sequence[Message], *, max_tokens: int | None = None) -> Message:
        """The assistant's answer. Raises `ChatModelError`."""

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""


@runtime_checkable
class Summarizer(Protocol):
    """Folds turns that left the recent ones into a summary, without reading older turns again."""

    @property
    def name(self) -> str:
        """What summarises, for people and events."""

    @property
    def every(self) -> int:
        """Tokens of new turns that are worth a fold: few when a fold is cheap."""

    async def afold(
        self, lines: Sequence[SummaryLine], messages: Sequence[Message], limit: int
    ) -> Folded:
        """`lines` and what matters of `messages`, oldest first, in at most `limit` tokens.

        Every line rests on messages at hand or on lines it was made from. Raises `ChatModelError`
        or `EmbedderError` when it has nothing to fall back on.
        """

    async def aclose(self) -> None:
        """Free what it holds; called once, by who made it."""


@runtime_checkable
class SharedState(Protocol):
    """Small numbers that the processes of a memory share: totals, limits, breaker states.

    Losing them loses no memory.
    """

    async def aadd(self, key: str, amounts: Mapping[str, int], seconds: float) -> None:
        """Add each amount to the number of its name under `key`, all at once.

        The key is dropped `seconds` after its last change.
        """

    async def aget(self, key: str) -> dict[str, int]:
        """The numbers under `key`; empty when there are none."""

    async def akeys(self, prefix: str) -> list[str]:
        """Keys that begin with `prefix`, sorted."""

    async def adrop(self, keys: Sequence[str]) -> int:
        """Forget these keys; return how many there were."""

    async def aclose(self) -> None:
        """Release what it holds; called once, by who made it."""


@runtime_checkable
class FactSource(Protocol):
    """What holds now, beside what was said."""

    async def acurrent(self, namespace: Namespace, query: str, limit: int) -> Sequence[SummaryLine]:
        """Up to `limit` statements that hold for the namespace's user, the first matter most."""


@dataclass(frozen=True)
class StoredMessage:
    """A message as the log holds it. `seq` grows with every message of the log."""

    seq: int
    session: str
    message: Message
    group: int | None
    """`seq` of the assistant message that began this message's tool group, if it is in one."""
    tokens: int = 0
    """What it was counted as when it was stored."""
    said: int = 0
    """Tokens said in its session before it; what is forgotten since still counts."""


@dataclass(frozen=True)
class SessionView:
    """What a context needs of a session, read at once.

    `tokens` is what it holds, `said` all that was ever said in it. `peak` follows `tokens` up, and
    down only when they fall by a fifth, so that what is chosen by size does not flap. `goal` are
    the user's first messages, `recent` the last ones, both oldest first.
    """

    tokens: int = 0
    said: int = 0
    peak: int = 0
    goal: Sequence[StoredMessage] = ()
    pins: Sequence[StoredMessage] = ()
    recent: Sequence[StoredMessage] = ()
    summary: Summary | None = None


@dataclass(frozen=True)
class Fold:
    """A session whose turns wait to be summarised: who took it, and what it has by now."""

    namespace: Namespace
    generation: int
    summary: Summary | None
    messages: Sequence[StoredMessage]
    """Those after the summary, oldest first, as far as they have left the recent turns."""


@dataclass(frozen=True)
class Folded:
    """A summary after a fold. `degraded` says what failed on the way; empty when nothing did."""

    lines: tuple[SummaryLine, ...]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """A message that has no vector yet."""

    seq: int
    scope_id: int
    text: str


@dataclass(frozen=True)
class Query:
    """What an index is asked: a question, what the embedder made of it (None: keywords alone).

    `neighbours` is how many messages to either side come with a hit; 0 for none. With `where` only
    messages that match it, by `Filter.matches`, are among the hits and their neighbours; the
    lanes score over the whole scope all the same. `now` is when it
    is asked, which "last week" is told from. Below `min_relevance` there are no hits. With `focus`
    the hits tell how near each of their passages is, and so many messages more are among them for
    their best passage alone; of two that say much the same the newer is above. `under` keeps only
    sessions of items with this path or a longer one; with `paged` the first hits are the same
    whatever `limit` is, so that pages fit together.
    """

    text: str
    encoded: Encoded | None
    limit: int
    level: Level
    now: datetime
    neighbours: int = 1
    where: Filter | None = None
    recall: Recall = field(default_factory=Recall)
    min_relevance: float = 0.0
    focus: int = 0
    under: str = ""
    paged: bool = False


@dataclass(frozen=True)
class Found:
    """What an index found: hits best first, of how many messages, how many without a vector.

    `seconds` is what each step took; `off` says of steps that did not run why. `signals` tell
    whether the hits mean anything; `calibration` is what the user's own questions made of them.
    `degraded` says what failed on the way.
    """

    hits: tuple[Hit, ...]
    total: int
    pending: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    off: Mapping[str, str] = field(default_factory=dict)
    signals: tuple[float, ...] = ()
    calibration: str | None = None
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """A message as a vector store keeps it: `vectors` of shape (pieces, dimension), one or more.

    `text` is what was embedded, for a store that embeds by itself; others need not keep it.
    """

    scope: Scope
    session: str
    seq: int
    text: str
    vectors: Vectors


@dataclass(frozen=True)
class RemovedPoint:
    """A message whose `pieces` vectors a vector store must let go of."""

    scope: Scope
    seq: int
    pieces: int


@runtime_checkable
class VectorStore(Protocol):
    """Vectors outside the log, for users with more messages than one process compares.

    It proposes messages for a question. What each scores follows from the log's own vectors, and
    what the log does not hold is never a hit: a store that is behind, inexact or wrong can leave
    hits out, and do nothing else. Methods are awaited on the portal's loop and raise `StoreError`.
    """

    @property
    def name(self) -> str:
        """Which store, for people, and to know it again when the log is opened with it."""

    async def aopen(self, log: str, dimension: int) -> None:
        """Begin to serve a log: its points are kept apart from those of any other log."""

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points; a point put again (same scope and seq) takes its own place."""

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` points of the scope, or of one session, best first, each once."""

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points; those it does not hold are no error."""

    async def aclose(self) -> None:
        """Free connections; called once, by who made it."""


class MessageLog(Protocol):
    """The truth: every message, durable before `aappend` returns, in order within its session."""

    async def aappend(
        self, namespace: Namespace, messages: Sequence[Message], tokens: Sequence[int]
    ) -> int:
        """Store all of `messages` or none, each of so many tokens; return how many were new.

        A message whose (namespace, id) is stored with the same content is a retry and stores
        nothing; with other content it raises `MessageConflict`.
        """

    async def arecent(self, namespace: Namespace, limit: int) -> list[StoredMessage]:
        """The last `limit` messages of the session, oldest first."""

    async def alisted(
        self,
        namespace: Namespace,
        archived: bool | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredMessage]:
        """Messages of the session in order: the archived ones, the others (False) or all (None).

        `limit` of them after the first `offset`. The others are read without a look at the archived
        messages before them.
        """

    async def acounted(self, namespace: Namespace, archived: bool | None = None) -> int:
        """How many `alisted` gives."""

    async def aarchive(
        self, namespace: Namespace, ids: Sequence[str], *, archived: bool = True
    ) -> list[StoredMessage]:
        """Archive messages of the session, or bring them back; return those that there are.

        Being archived changes nothing but `alisted` and `acounted`, and goes when the message is
        erased.
        """

    async def asessions(self, scope: Scope) -> list[str]:
        """Names of the user's sessions that hold a message, in the order they began."""

    async def aview(
        self, namespace: Namespace, recent: int, goal: int, whole: int = 0
    ) -> SessionView:
        """The session's sizes, pins, summary, first `goal` user messages and the last messages.

        Those of the last `recent` tokens, a few at least and 1,000 at most; all of a session whose
        peak is at most `whole` tokens; none for 0.
        """

    async def atake_fold(self, every: int, keep: int, least: int, seconds: float) -> Fold | None:
        """A session that has said `least` tokens, with `every` to fold before its last `keep`.

        It is taken for `seconds`: nobody else gets it until then.
        """

    async def aput_summary(self, fold: Fold, summary: Summary) -> bool:
        """Keep the summary, unless the session's has changed since; False then."""

    async def arelease_fold(self, fold: Fold, seconds: float) -> None:
        """Give a fold back, to be taken again after `seconds`."""

    async def asummary(self, namespace: Namespace) -> Summary | None:
        """The session's summary, if there is one."""

    async def adrop_summary(self, namespace: Namespace | None = None) -> None:
        """Forget the session's summary, or everybody's, so that it is made anew from the log."""

    async def agroups(self, scope: Scope, groups: Sequence[int]) -> list[StoredMessage]:
        """Every message of these tool groups, oldest first."""

    async def apin(self, namespace: Namespace, message_id: str, level: Level) -> None:
        """Keep a stored message in every context. Raises `InvalidMessage` for an unknown id."""

    async def aunpin(self, namespace: Namespace, message_id: str) -> None:
        """Let go of a pin; nothing happens if there is none."""

    async def apins(self, namespace: Namespace) -> list[StoredMessage]:
        """Pinned messages of the session and of the user, oldest first."""

    async def afind(
        self, namespace: Namespace, where: Filter | None, limit: int, level: Level
    ) -> list[StoredMessage]:
        """The last `limit` messages of the session, or of the user, that match; oldest first."""

    async def aforget(
        self,
        namespace: Namespace,
        ids: Sequence[str] | None,
        where: Filter | None,
        level: Level,
    ) -> EraseReceipt:
        """Erase messages of the session, or of the user: those of these ids that match."""

    async def aerase(self, namespace: Namespace, level: Level) -> EraseReceipt:
        """Erase the session, or all the user's sessions, from every file."""

    async def astats(self, scope: Scope) -> Stats:
        """Counts of one scope."""

    def aexport(self, namespace: Namespace, level: Level) -> AsyncIterator[tuple[str, Message]]:
        """(session, message) of everything stored, in order."""

    async def amessages(self, namespace: Namespace) -> Messages:
        """Every message of the session, in order."""

    async def aaround(
        self, namespace: Namespace, ids: Sequence[str], before: int, after: int
    ) -> list[Messages]:
        """The session's messages of these ids with so many before and after each, in order.

        Windows that overlap or touch are one. An id that is not stored here has none.
        """

    async def anamespaces(self) -> list[Namespace]:
        """Every session of every tenant: for the owner of the store only."""

    async def ahealth(self) -> dict[str, object]:
        """Facts about the store for `doctor`; "problems" is a list, empty when all is well."""

    async def atidy(self) -> bool:
        """Finish an erase that had to wait; True when none waits."""

    async def aclose(self) -> None:
        """Release the file or the connections."""


@dataclass(frozen=True)
class StoredItem:
    """A value by its key: `message.id` is the key and `message.metadata` the value.

    `path` is where it stands: labels joined by `/`, as the session of an item is called.
    """

    seq: int
    path: str
    message: Message
    created: datetime
    updated: datetime
    stays: bool = True
    """False for one that expires unless it is read or written again."""


@dataclass(frozen=True)
class ItemChange:
    """What is to be at a path under a key: a message of that id, or with None nothing.

    With `stay` it expires that long after it was last read or written.
    """

    path: str
    key: str
    message: Message | None = None
    stay: timedelta | None = None


class ItemStore(Protocol):
    """Values by path and key, beside what was said: in the log's files, searched by its index.

    A scope's `items` must be set. An item that has expired by `now` is never returned.
    """

    async def aread(
        self, scope: Scope, places: Sequence[tuple[str, str]], now: datetime
    ) -> list[StoredItem | None]:
        """The item at each (path, key), None where there is none. Nothing is made by asking."""

    async def apick(self, scope: Scope, hits: Sequence[Hit], now: datetime) -> list[StoredItem]:
        """The items that a search found, as far as they are still there, in order."""

    async def alist(
        self,
        scope: Scope,
        under: str,
        where: Filter | None,
        limit: int,
        offset: int,
        now: datetime,
    ) -> list[StoredItem]:
        """Items that match, at `under` and below it ("": all), last written first."""

    async def apaths(self, scope: Scope, under: str = "") -> list[str]:
        """Paths at `under` and below it that hold an item, in no order. Reads no item."""

    async def achange(self, scope: Scope, changes: Sequence[ItemChange], now: datetime) -> int:
        """Make all changes or none, durably; return how many items were erased or replaced.

        What is replaced keeps `created`. A value that is stored already is only touched. The last
        change of a (path, key) counts.
        """

    async def arefresh(self, scope: Scope, seqs: Sequence[int], now: datetime) -> None:
        """Let items stay as long again as when they were written."""

    async def aexpire(self, now: datetime, scope: Scope | None = None) -> int:
        """Erase what has expired, of one scope or of all; return how many."""

    async def aerase(self, scope: Scope, under: str = "") -> EraseReceipt:
        """Erase the items at a path and below it, from every file."""


class VectorIndex(Protocol):
    """The search index, derived from the log: it can be dropped and rebuilt."""

    async def asearch(self, namespace: Namespace, query: Query) -> Found:
        """The best messages of the namespace's user, or of its session alone.

        Without vectors only the keyword lane runs.
        """

    async def acalibrate(self, scope: Scope, calibration: str) -> None:
        """Keep a scope's calibration of this index; a scope that holds nothing keeps none."""

    async def apending(self, scope: Scope, limit: int) -> list[Pending]:
        """Up to `limit` messages of the scope that have no vector, oldest first."""

    async def alease(self, limit: int, seconds: float) -> list[Pending]:
        """Take up to `limit` messages of any scope to embed, scopes in turn, for `seconds`."""

    async def astore(self, pending: Sequence[Pending], encoded: Sequence[Encoded]) -> int:
        """Write vectors of messages that still exist and settle them; return how many."""

    async def arelease(self, pending: Sequence[Pending], seconds: float) -> None:
        """Give messages back, to be taken again after `seconds`."""

    async def abacklog(self) -> int:
        """Messages of all scopes that wait for a vector."""

    @property
    def ready(self) -> bool:
        """Whether there is a dense lane; False for keywords alone."""

    async def arebuild(self, scope: Scope | None = None) -> int:
        """Drop what is derived and queue every message again; return how many."""

    async def amirror(self) -> int:
        """Bring a vector store outside up to date by one batch; return what that was, 0 for nothing.

        Raises `StoreError` when the store does not answer.
        """

    async def aclean(self) -> str:
        """Remove from stores outside what was erased; why something must wait, "" if nothing."""
