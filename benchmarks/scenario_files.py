"""Conversations with questions written by others: the file of `tokens --data`.

`docs/tokens-data.md` has the fields and an example.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.report import BadData
from benchmarks.scenarios import Dialogue, Outdated, Probe
from benchmarks.scenarios.dialogue import holds, plain, shared_stems
from rag_memory_plugins import Message
from rag_memory_plugins.errors import RagMemoryError

__all__ = ["read"]

START: Final = datetime(2026, 1, 5, 9, tzinfo=timezone.utc)
APART: Final = timedelta(minutes=2)
"""Time between messages that have none."""
ROLES: Final = ("user", "assistant")


def read(path: str) -> list[Dialogue]:
    """The conversations of a file. Raises `BadData`, naming the place and what is wrong there."""
    try:
        items = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"--data: {path} cannot be read: {error}") from error
    except ValueError as error:
        raise BadData(f"--data: {path} is not JSON: {error}") from error
    place = _Place(path)
    found = [
        _dialogue(item, place.at(f"conversations[{at}]"))
        for at, item in enumerate(place.listed(items, "conversations"))
    ]
    names = [talk.name for talk in found]
    for name in names:
        if names.count(name) > 1:
            place.bad(f"two conversations are called {name!r}")
    return found


class _Place:
    """Where in the file something stands, to say so when it is wrong."""

    def __init__(self, path: str, where: str = "") -> None:
        self._path = path
        self._where = where

    def at(self, more: str) -> _Place:
        return _Place(self._path, f"{self._where}.{more}".strip("."))

    def bad(self, reason: str) -> BadData:
        """Raises; the type is for the reader of `raise place.bad(...)`."""
        raise BadData(f"--data: {self._path}: {self._where or 'the file'}: {reason}")

    def text(self, item: object, name: str, default: str | None = None) -> str:
        """A field that is text and not blank."""
        got = self._field(item, name, default)
        if not isinstance(got, str) or not (got.strip() or got == default):
            raise self.bad(f"{name!r} must be text that is not blank, got {got!r}")
        return got

    def listed(self, item: object, name: str, default: list[Any] | None = None) -> list[Any]:
        """A field that is a list; without a default it must hold something."""
        got = self._field(item, name, default)
        if not isinstance(got, list) or not (got or default is not None):
            raise self.bad(f"{name!r} must be a list that is not empty")
        return got

    def _field(self, item: object, name: str, default: object) -> object:
        if not isinstance(item, Mapping):
            raise self.bad("must be an object")
        if name not in item and default is None:
            raise self.bad(f"no field {name!r}")
        return item.get(name, default)

    def only(self, item: Mapping[str, object], *names: str) -> None:
        """Refuse a field of another name: a misspelt one would be left out in silence."""
        if unknown := sorted(set(item) - set(names)):
            raise self.bad(f"unknown field {unknown[0]!r}; known are {', '.join(names)}")


def _dialogue(item: Any, place: _Place) -> Dialogue:
    name = place.text(item, "name")
    place.only(item, "name", "scenario", "messages", "probes")
    messages: list[Message] = []
    for at, one in enumerate(place.listed(item, "messages")):
        here = place.at(f"messages[{at}]")
        messages.append(_message(one, at, here))
        if [message.id for message in messages].count(messages[-1].id) > 1:
            raise here.bad(f"the id {messages[-1].id!r} is taken")
    if not any(message.role == "user" for message in messages):
        raise place.bad("no message of the user: there is no turn")
    texts = {message.id: message.content for message in messages}
    probes = [
        _probe(one, texts, place.at(f"probes[{at}]"))
        for at, one in enumerate(place.listed(item, "probes", []))
    ]
    return Dialogue(name, place.text(item, "scenario", "other"), messages, probes)


def _message(item: Any, at: int, place: _Place) -> Message:
    role = place.text(item, "role")
    if role not in ROLES:
        raise place.bad(f"'role' must be one of {', '.join(ROLES)}, got {role!r}")
    place.only(item, "id", "role", "content", "time", "name")
    given = place.text(item, "time", "")
    try:
        time = datetime.fromisoformat(given.replace("Z", "+00:00")) if given else START + at * APART
        return Message(
            role,  # type: ignore[arg-type]  # one of ROLES
            place.text(item, "content"),
            id=place.text(item, "id"),
            name=place.text(item, "name", "") or None,
            time=time,
        )
    except (ValueError, RagMemoryError) as error:
        raise place.bad(str(error)) from error


def _probe(item: Any, texts: Mapping[str, str], place: _Place) -> Probe:
    question, answer = place.text(item, "question"), place.text(item, "answer")
    place.only(item, "question", "answer", "evidence", "outdated", "support", "kind")
    evidence = _ids(place.listed(item, "evidence"), "evidence", answer, texts, place)
    outdated = []
    for at, one in enumerate(place.listed(item, "outdated", [])):
        here = place.at(f"outdated[{at}]")
        old = here.text(one, "answer")
        here.only(one, "answer", "evidence")
        ids = _ids(here.listed(one, "evidence"), "evidence", old, texts, here)
        outdated.append(Outdated(old, ids))
    support = _ids(place.listed(item, "support", []), "support", "", texts, place)
    return Probe(
        question,
        answer,
        evidence,
        tuple(outdated),
        support,
        lexical=shared_stems(question, [texts[key] for key in evidence]) > 0,
        kind=place.text(item, "kind", ""),
    )


def _ids(
    given: list[Any], name: str, answer: str, texts: Mapping[str, str], place: _Place
) -> frozenset[str]:
    """Ids of messages, each of which holds the answer."""
    for key in given:
        if key not in texts:
            raise place.bad(f"{name!r} names {key!r}, which is no message's id")
        if answer and not holds(plain(texts[key]), answer):
            raise place.bad(f"the answer {answer!r} does not stand in message {key!r}")
    return frozenset(given)
