"""LangGraph's namespaces as paths, and back: any label goes in, and none can reach out of its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, unquote

from langgraph.store.base import InvalidNamespaceError, MatchCondition

from rag_memory_plugins.errors import InvalidInput, InvalidNamespace

__all__ = ["InvalidStoreNamespace", "labels_of", "listed", "path_of", "shared_path"]

MAX_PATH_LENGTH: Final = 256
# A path's own signs, and what no name may hold.
_ESCAPED: Final = re.compile("[%/\x00-\x1f\x7f-\x9f]")


class InvalidStoreNamespace(InvalidNamespace, InvalidNamespaceError):
    """A namespace that cannot hold items; an error of LangGraph's store too."""


def path_of(name: str, labels: object, *, least: int = 0) -> str:
    """The path of a namespace; "" for (). Raises `InvalidStoreNamespace`, naming `name`.

    >>> path_of("namespace", ("users", "ann@acme.com", "50%/day"))
    'users/ann@acme.com/50%25%2Fday'
    >>> labels_of('users/ann@acme.com/50%25%2Fday')
    ('users', 'ann@acme.com', '50%/day')
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) < least:
        raise InvalidStoreNamespace(
            name, labels, 'pass a tuple of labels, such as ("users", "ann")'
        )
    path = "/".join(_escaped(name, label) for label in labels)
    if len(path) > MAX_PATH_LENGTH:
        remedy = f"its labels have {len(path)} characters together; {MAX_PATH_LENGTH} is the limit"
        raise InvalidStoreNamespace(name, labels, remedy)
    return path


def _escaped(name: str, label: object) -> str:
    if not isinstance(label, str) or not label:
        raise InvalidStoreNamespace(name, label, "a label is a str that is not empty")
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise InvalidStoreNamespace(name, label, "remove the lone surrogate") from error
    return _ESCAPED.sub(lambda found: quote(found.group(), safe=""), label)


def labels_of(path: str) -> tuple[str, ...]:
    """The namespace that a path is of."""
    return tuple(map(unquote, path.split("/")))


def listed(
    paths: Iterable[str],
    conditions: Sequence[MatchCondition],
    max_depth: int | None,
) -> list[tuple[str, ...]]:
    """Namespaces that meet all conditions, cut to a depth, each once and sorted."""
    found = (labels_of(path) for path in paths)
    met = (labels for labels in found if all(_meets(labels, item) for item in conditions))
    return sorted({labels[:max_depth] for labels in met})


def shared_path(conditions: Sequence[MatchCondition]) -> str:
    """The longest path that all which meets the conditions is under."""
    best = ""
    for condition in conditions:
        if condition.match_type == "prefix":
            plain = list(condition.path)
            if "*" in plain:
                plain = plain[: plain.index("*")]
            best = max(best, path_of("prefix", plain), key=len)
    return best


def _meets(labels: tuple[str, ...], condition: MatchCondition) -> bool:
    path = condition.path
    if len(path) > len(labels):
        return False
    if condition.match_type not in ("prefix", "suffix"):
        raise InvalidInput("match_type", condition.match_type, "pass 'prefix' or 'suffix'")
    some = labels[: len(path)] if condition.match_type == "prefix" else labels[-len(path) :]
    return not path or all(want in ("*", label) for want, label in zip(path, some, strict=True))
