"""What happened: one `Event` a step, handed to hooks. Nothing in the package reads them back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Event", "Hook", "emit"]

_log = logging.getLogger("rag_memory_plugins")


@dataclass(frozen=True)
class Event:
    """One step that happened.

    `name` is `room.step` ("log.append", "search", "outbox.failed"), `scope` a scope's key or "",
    `seconds` the wall time of the step, `data` plain values. Message texts are never in it.

    >>> Event("search", "acme/ann", 0.002, {"hits": 3})
    Event(name='search', scope='acme/ann', seconds=0.002, data={'hits': 3})
    """

    name: str
    scope: str = ""
    seconds: float = 0.0
    data: Mapping[str, object] = field(default_factory=dict)


Hook = Callable[[Event], None]


def emit(hooks: tuple[Hook, ...], event: Event) -> None:
    """Hand `event` to every hook; a hook that raises is logged and costs nobody their turn."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:  # a user's hook may raise anything; losing a metric must not lose a turn
            _log.exception("the event hook %r failed on %s", hook, event.name)
