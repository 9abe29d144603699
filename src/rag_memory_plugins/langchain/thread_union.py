"""The messages of a LangGraph thread: of all its checkpoints, each once. And ids for those without.

A state holds what its reducers left of a chat. What was said is the union of all states: the form
a message has in the newest state that holds it, at the place and time of the oldest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final

from langchain_core.messages import BaseMessage, RemoveMessage, convert_to_messages
from langgraph.checkpoint.base import CheckpointTuple

from rag_memory_plugins.errors import InvalidInput, nearest, shorten
from rag_memory_plugins.langchain.convert import injected, to_message
from rag_memory_plugins.types import Message

__all__ = ["ThreadUnion", "identified"]

_SOURCE: Final = "lc_source"  # what SummarizationMiddleware marks its summaries with


def identified(messages: Iterable[BaseMessage]) -> Iterator[tuple[str, BaseMessage]]:
    """(id, message) without what a memory put in.

    A message without an id gets one by what it says and how often that was said before, so that it
    is the same whenever the list is read, also when more has been said since.
    """
    said: Counter[str] = Counter()
    for message in messages:
        if injected(message):
            continue
        if message.id:
            yield message.id, message
            continue
        digest = to_message(message).digest
        said[digest] += 1
        name = hashlib.blake2b(f"{digest} {said[digest]}".encode(), digest_size=16).hexdigest()
        yield name, message


@dataclass
class _Seen:
    """A message of a thread: its newest form, and where it stood first."""

    message: BaseMessage
    newest: str
    first: tuple[str, int]
    time: str


class ThreadUnion:
    """Collects checkpoints of any threads, in any order.

    LangGraph keeps a channel whole in every checkpoint, or (`DeltaChannel`) what was written to it
    and the whole now and then. Writes are read only of the latter: of the former they are stored
    before their messages have ids.
    """

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._channels: set[str] = set()
        self._whole: dict[str, dict[str, _Seen]] = {}
        self._changes: dict[str, dict[str, _Seen]] = {}

    def take(self, item: CheckpointTuple) -> None:
        """Add a checkpoint; one of a subgraph is left out."""
        place = item.config.get("configurable", {})
        if place.get("checkpoint_ns"):
            return
        thread = str(place.get("thread_id"))
        values = item.checkpoint["channel_values"]
        self._channels |= values.keys() | item.checkpoint["channel_versions"].keys()
        value = values.get(self._channel)
        if isinstance(value, list):
            _note(self._whole.setdefault(thread, {}), item, self._messages(value))
            return
        # The whole of a DeltaChannel stands in a wrapper of LangGraph's own.
        writes = [write[2] for write in item.pending_writes or () if write[1] == self._channel]
        parts = [self._messages(getattr(part, "value", part)) for part in (value, *writes)]
        _note(self._changes.setdefault(thread, {}), item, chain.from_iterable(parts))

    def threads(self) -> dict[str, list[Message]]:
        """Every thread's messages, in the order they came. Raises `InvalidInput`."""
        if self._channels and self._channel not in self._channels:
            names = {name for name in self._channels if not name.startswith(("__", "branch:"))}
            raise InvalidInput("channel", self._channel, nearest(self._channel, names))
        found = {**self._changes, **self._whole}
        return {thread: _ordered(seen) for thread, seen in sorted(found.items())}

    def _messages(self, value: Any) -> list[BaseMessage]:
        if value is None:
            return []
        try:
            said = convert_to_messages(value if isinstance(value, list) else [value])
        except (ValueError, NotImplementedError, TypeError) as error:
            remedy = f"it holds no messages but {shorten(value)}"
            raise InvalidInput("channel", self._channel, remedy) from error
        return [message for message in said if not isinstance(message, RemoveMessage)]


def _note(thread: dict[str, _Seen], item: CheckpointTuple, messages: Iterable[BaseMessage]) -> None:
    made, time = str(item.checkpoint["id"]), item.checkpoint["ts"]  # ids grow with time
    for at, (name, message) in enumerate(identified(messages)):
        seen = thread.get(name)
        if seen is None:
            thread[name] = _Seen(message, made, (made, at), time)
            continue
        if made >= seen.newest:
            seen.message, seen.newest = message, made
        if (made, at) < seen.first:
            seen.first, seen.time = (made, at), time


def _ordered(seen: dict[str, _Seen]) -> list[Message]:
    oldest = min((item.first[0] for item in seen.values()), default="")
    messages = []
    for name, item in sorted(seen.items(), key=lambda pair: pair[1].first):
        summary = item.message.additional_kwargs.get(_SOURCE) == "summarization"
        # In the oldest state there is, a summary is all that is left of what it sums up.
        if summary and item.first[0] != oldest:
            continue
        said = to_message(item.message)
        time = datetime.fromisoformat(item.time.replace("Z", "+00:00"))  # Python 3.10 knows no Z
        messages.append(replace(said, id=name, time=time))
    return messages
