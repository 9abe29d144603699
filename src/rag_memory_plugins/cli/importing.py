"""Loading a file into a memory, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.cli.formats import Format, Record, detect, read, stream_of
from rag_memory_plugins.errors import InvalidFile, InvalidMessage, InvalidNamespace
from rag_memory_plugins.namespace import Namespace

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.memory.memory import Memory

__all__ = ["Imported", "Target", "batches", "import_file", "records"]

BATCH: Final = 200
_BATCH_CHARACTERS: Final = 2_000_000  # 200 messages of a megabyte must not be held at once


@dataclass(frozen=True)
class Target:
    """Where a file goes. `user` and `session` stand for what the file leaves out.

    LoCoMo: each sample is a user of its own, unless `user` is given; then all go to that one.
    """

    tenant: str
    user: str | None = None
    session: str | None = None

    def namespace(self, record: Record) -> Namespace:
        """The record's namespace. Raises `InvalidNamespace` for what neither side names."""
        user = self.user if self.user is not None else record.user
        session = record.session if record.session is not None else self.session
        return Namespace(self.tenant, user, session)  # type: ignore[arg-type]  # it refuses None


@dataclass(frozen=True)
class Imported:
    """What an import did: messages in the file, those that were new, users and sessions."""

    format: Format
    messages: int
    new: int
    users: int
    sessions: int


def records(path: Path, kind: Format | None = None) -> Iterator[tuple[Record, int]]:
    """(record, bytes read so far) of a file, of `kind` or what its content says."""
    kind = kind or detect(path)
    with stream_of(path) as stream:
        for record in read(path, stream, kind):
            yield record, stream.tell()


def batches(
    found: Iterable[tuple[Record, int]], place_of: Callable[[Record], Namespace]
) -> Iterator[tuple[Namespace, list[Record], int]]:
    """(namespace, its next records, bytes read so far): what is stored all or none."""
    batch: list[Record] = []
    namespace, size, position = None, 0, 0
    for record, read_so_far in found:
        own = place_of(record)
        # A result stays in the batch of its call.
        full = record.message.role != "tool" and (len(batch) >= BATCH or size >= _BATCH_CHARACTERS)
        if namespace is not None and batch and (own != namespace or full):
            yield namespace, batch, position
            batch, size = [], 0
        namespace, position = own, read_so_far
        batch.append(record)
        size += len(record.message.content)
    if namespace is not None and batch:
        yield namespace, batch, position


def import_file(
    memory: Memory,
    path: Path,
    target: Target,
    kind: Format | None = None,
    progress: Callable[[int, int], None] = lambda _bytes, _messages: None,
) -> Imported:
    """Store every message of the file; `progress` gets bytes read and messages stored so far.

    Raises `InvalidFile` for the first thing that cannot be stored: nothing of its batch was, and
    the message says how many messages before it are. Importing again stores nothing twice.
    """
    kind = kind or detect(path)
    stored, before = 0, {}
    sessions: set[str] = set()

    def place_of(record: Record) -> Namespace:
        try:
            return target.namespace(record)
        except InvalidNamespace as error:
            remedy = (
                f"name it with --{error.field}, or in the file"
                if error.got is None
                else error.remedy
            )
            raise InvalidFile(
                f"{path}, {record.place}, {error.field}", error.got, remedy
            ) from error

    try:
        for namespace, batch, position in batches(records(path, kind), place_of):
            conversation = memory.conversation(namespace)
            if namespace.scope.key not in before:
                before[namespace.scope.key] = (conversation, conversation.stats().messages)
            _store(path, conversation, batch)
            stored += len(batch)
            sessions.add(namespace.key)
            progress(position, stored)
    except InvalidFile as error:
        held = f"{stored} messages before it are stored; importing again stores none twice"
        raise InvalidFile(error.field, error.got, f"{error.remedy}; {held}") from error
    if not stored:
        raise InvalidFile(str(path), "no message", "pass a file with at least one message")
    new = sum(conversation.stats().messages - count for conversation, count in before.values())
    return Imported(kind, stored, new, len(before), len(sessions))


def _store(path: Path, conversation: Conversation, batch: list[Record]) -> None:
    try:
        conversation.add([record.message for record in batch])
    except InvalidMessage as error:
        where = " to ".join(dict.fromkeys(chain([batch[0].place], [batch[-1].place])))
        raise InvalidFile(f"{path}, {where}, {error.field}", error.got, error.remedy) from error
