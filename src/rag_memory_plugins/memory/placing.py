"""A remembered message outside of the memory: its id there, its metadata, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from rag_memory_plugins.errors import InvalidNamespace
from rag_memory_plugins.memory.rendering import render_line
from rag_memory_plugins.namespace import Namespace, Scope
from rag_memory_plugins.retrieval.tenancy import TENANT
from rag_memory_plugins.types import Message

__all__ = ["FIELDS", "Place", "place_of", "placed_id", "placed_metadata", "time_of"]

Place = tuple[str, str]
"""A session, and the id of a message said in it."""
FIELDS: Final = ("time", "role", "name", TENANT, "session", "id", "beside")
"""What the metadata of a remembered message may hold."""


def placed_id(scope: Scope, session: str, key: str) -> str:
    """An id that no message of another tenant, user or session has."""
    said_in = Namespace(scope.tenant, scope.user, session)
    return f"{said_in.key}/{quote(key, safe='')}"


def placed_metadata(
    message: Message, scope: Scope, session: str, beside: Sequence[Message] = ()
) -> dict[str, str]:
    """Its `FIELDS`, those that have a value.

    `beside` is what was said around it: a dated line a message, in the order they were said.
    """
    values = (
        message.time.isoformat(),
        message.role,
        message.name,
        scope.tenant,
        session,
        message.id,
        "\n".join(map(_line, beside)) or None,
    )
    fields = zip(FIELDS, values, strict=True)
    return {field: value for field, value in fields if value is not None}


def place_of(key: str | None, metadata: Mapping[str, Any], scope: Scope) -> Place | None:
    """Where it was said, of something with this id and metadata made of a message of `scope`."""
    session, message = metadata.get("session"), metadata.get("id")
    if not isinstance(session, str) or not isinstance(message, str):
        return None
    try:
        ours = key == placed_id(scope, session, message)
    except (InvalidNamespace, UnicodeEncodeError):  # no session and no id that we would have stored
        return None
    return (session, message) if ours and metadata.get(TENANT) == scope.tenant else None


def time_of(metadata: Mapping[str, Any]) -> datetime | None:
    """When it was said, if the metadata tells."""
    value = metadata.get("time")
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _line(message: Message) -> str:
    return f"{message.time.isoformat(timespec='seconds')} {render_line(message)}"
