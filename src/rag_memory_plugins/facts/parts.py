"""A claim in the making: words as they were found, before they are trimmed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A subject, predicate and object as a clause has them, and the family of rules that read them.

    The subject "" is the speaker, "'s dog" the speaker's dog. `timed`: a time in `source` (or in the
    object) says since when it holds; elsewhere a time is the value itself.
    """

    subject: str
    predicate: str
    object: str
    family: str
    negated: bool = False
    timed: bool = False
    ahead: bool = False
    source: str = ""
