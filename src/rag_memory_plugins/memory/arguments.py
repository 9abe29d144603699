"""The arguments of a conversation's methods, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.config import Recall
from rag_memory_plugins.errors import InvalidInput, InvalidMessage, InvalidQuery, nearest
from rag_memory_plugins.types import LEVELS, Message, Messages

if TYPE_CHECKING:
    from rag_memory_plugins.memory.conversation import Conversation

__all__ = [
    "MAX_HITS",
    "Said",
    "check_limit",
    "check_window",
    "checked_conversation",
    "checked_ids",
    "checked_level",
    "checked_recall",
    "checked_relevance",
    "messages_of",
]

MAX_HITS: Final = 1_000
MAX_WINDOW: Final = 20

Said = Message | str | Mapping[str, Any]


def messages_of(message: Said | Sequence[Said], given: dict[str, Any]) -> Messages:
    """What `add` stores: a str with the fields given, or messages as they are."""
    if isinstance(message, str):
        return Messages([_from_text(message, given)])
    if given:
        names = ", ".join(given)
        raise InvalidMessage(names, given, "pass these with a str, or set them in the message")
    if isinstance(message, (Message, Mapping)):
        return Messages([_one(message)])
    if not isinstance(message, Sequence) or not message:
        raise InvalidMessage("message", message, "pass a Message, a str, a mapping or a list")
    return Messages(_one(item) for item in message)


def _from_text(text: str, given: dict[str, Any]) -> Message:
    return Message.from_dict({"role": "user", "content": text, **given})


def _one(item: object) -> Message:
    if isinstance(item, Message):
        return item
    if isinstance(item, str):
        return Message("user", item)
    if isinstance(item, Mapping):
        return Message.from_dict(item)
    raise InvalidMessage("message", item, "pass a Message, a str or a mapping")


def checked_conversation(conversation: object) -> Conversation:
    """A conversation. Raises `InvalidInput`."""
    from rag_memory_plugins.memory.conversation import Conversation  # which imports this

    if not isinstance(conversation, Conversation):
        remedy = "pass memory.conversation(tenant, user, session)"
        raise InvalidInput("conversation", conversation, remedy)
    return conversation


def checked_ids(ids: object) -> list[str] | None:
    """Message ids as a list; None for none stated."""
    if ids is None:
        return None
    given = [ids] if isinstance(ids, str) else ids
    # A mapping is a collection too: of a filter's plain values it would erase by their names.
    if not isinstance(given, Collection) or isinstance(given, Mapping):
        given = [None]
    wanted = [item for item in given if isinstance(item, str)]
    if len(wanted) != len(given):
        raise InvalidMessage("ids", ids, "pass message ids, as str, or where= with a Filter")
    try:
        "".join(wanted).encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage("ids", ids, "no id that is stored holds a lone surrogate") from error
    return wanted


def check_limit(limit: object) -> None:
    """Raise `InvalidQuery` for a limit that no answer can keep."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_HITS:
        raise InvalidQuery("limit", limit, f"pass an int from 1 to {MAX_HITS}")


def check_window(window: object, name: str = "window") -> None:
    """Raise `InvalidQuery` for a window that is no small number of messages."""
    if not isinstance(window, int) or isinstance(window, bool) or not 0 <= window <= MAX_WINDOW:
        raise InvalidQuery(name, window, f"pass an int from 0 to {MAX_WINDOW}")


def checked_recall(recall: object) -> Recall | None:
    """The weights of a search. Raises `InvalidQuery`."""
    if recall is not None and not isinstance(recall, Recall):
        raise InvalidQuery("recall", recall, "pass a rag_memory_plugins.Recall")
    return recall


def checked_relevance(relevance: object) -> float:
    """A probability. Raises `InvalidQuery`."""
    number = isinstance(relevance, (int, float)) and not isinstance(relevance, bool)
    # Compared as it is: an int may be too large for a float.
    if not number or not 0 <= relevance <= 1:  # type: ignore[operator]
        raise InvalidQuery("min_relevance", relevance, "pass a number from 0 to 1")
    return float(relevance)  # type: ignore[arg-type]


def checked_level(level: str) -> Any:
    """The level. Raises `InvalidQuery`."""
    if level not in LEVELS:
        raise InvalidQuery("level", level, nearest(str(level), LEVELS))
    return level
