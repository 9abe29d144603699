"""When two values of a fact are the same."""

from __future__ import annotations

__all__ = ["normal", "predicate_key", "same_value", "subject_key"]


def normal(text: str) -> str:
    """Without case and doubled spaces."""
    return " ".join(text.casefold().split())


def same_value(a: str, b: str) -> bool:
    """Whether two values are one."""
    return normal(a) == normal(b)


def predicate_key(text: str) -> str:
    """What a predicate is known by."""
    return normal(text)


def subject_key(text: str) -> str:
    """What a subject is known by."""
    return normal(text)
