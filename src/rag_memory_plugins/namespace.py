"""Who remembers: `Scope(tenant, user)` and `Namespace(tenant, user, session)`.

Ids are kept exactly as given: no stripping, no case folding, no Unicode normalisation, because
each of those merges two tenants into one. A key is the percent-encoded parts joined by `/`, which
percent-encoding never yields inside a part: so no two namespaces share a key and every key can be
read back.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote

from rag_memory_plugins.errors import InvalidNamespace

__all__ = ["SHARED", "Namespace", "Scope", "SharedUser"]

MAX_ID_LENGTH: Final = 256
_SHARED_KEY: Final = "*"  # percent-encoding turns a user called "*" into "%2A"
_ITEMS_KEY: Final = "@"  # behind a user; no encoded part holds it either
_FACTS_KEY: Final = "@facts"


class SharedUser(Enum):
    """The type of `SHARED`, so that no string can stand for tenant-wide memory."""

    SHARED = "shared"

    def __repr__(self) -> str:
        return "SHARED"


SHARED: Final = SharedUser.SHARED
"""In the place of a user: memory of the whole tenant, read only when it is asked for."""


_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]+")  # what `quote` leaves as it is


def _check(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidNamespace(name, value, "pass a str of 1 to 256 characters")
    if not value:
        raise InvalidNamespace(name, value, "it must not be empty; there is no default")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidNamespace(name, value, f"it has {len(value)} characters; 256 is the limit")
    if value.isascii() and value.isprintable():
        return value
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise InvalidNamespace(
                name, value, f"remove the control character or lone surrogate {character!r}"
            )
    return value


def _encode(part: str | SharedUser) -> str:
    if isinstance(part, SharedUser):
        return _SHARED_KEY
    return part if _PLAIN.fullmatch(part) else quote(part, safe="")


def _decode(part: str) -> str | SharedUser:
    return SHARED if part == _SHARED_KEY else unquote(part, errors="strict")


@dataclass(frozen=True)
class Scope:
    """Who remembers: a tenant, and a user inside it.

    Recall, statistics and caches belong to a scope, across all its sessions. `items` stand beside
    what was said, as values by key: a scope of their own, which no conversation has. So do `facts`,
    which are items too.

    >>> Scope("acme", "ann").key
    'acme/ann'
    >>> Scope("a/b", "c").key, Scope("a", "b/c").key
    ('a%2Fb/c', 'a/b%2Fc')
    >>> Scope("acme", "ann", items=True).key, Scope("acme", "ann@").key
    ('acme/ann@', 'acme/ann%40')
    >>> Scope("acme", "ann", facts=True).key
    'acme/ann@facts'
    """

    tenant: str
    user: str | SharedUser
    items: bool = field(default=False, repr=False, kw_only=True)
    facts: bool = field(default=False, repr=False, kw_only=True)
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check("tenant", self.tenant)
        if not isinstance(self.user, SharedUser):
            _check("user", self.user)
        own = _FACTS_KEY if self.facts else _ITEMS_KEY if self.items else ""
        object.__setattr__(self, "items", self.items or self.facts)
        object.__setattr__(self, "key", f"{_encode(self.tenant)}/{_encode(self.user)}{own}")

    @cached_property
    def of_facts(self) -> Namespace:
        """Where the facts of this user stand: the one session of a scope beside what was said."""
        return Namespace(self.tenant, self.user, "facts", facts=True)

    @classmethod
    def from_key(cls, key: str) -> Scope:
        """The scope whose `key` this is; raises `InvalidNamespace` for anything else."""
        (tenant, user), own = _split(key, 2)
        return cls(str(tenant), user, items=bool(own), facts=own == _FACTS_KEY)


@dataclass(frozen=True)
class Namespace:
    """One conversation's place: tenant, user and session. Every part is required.

    Raises `InvalidNamespace`, naming the part, for a value that is not a str, is empty, is longer
    than 256 characters, or holds control characters, NUL or lone surrogates.

    >>> Namespace("acme", "ann", "monday").key
    'acme/ann/monday'
    >>> Namespace.from_key("acme/ann/monday")
    Namespace(tenant='acme', user='ann', session='monday')
    """

    tenant: str
    user: str | SharedUser
    session: str
    items: bool = field(default=False, repr=False, kw_only=True)
    facts: bool = field(default=False, repr=False, kw_only=True)
    scope: Scope = field(init=False, repr=False, compare=False)
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scope = Scope(self.tenant, self.user, items=self.items, facts=self.facts)
        _check("session", self.session)
        object.__setattr__(self, "items", scope.items)
        object.__setattr__(self, "scope", scope)
        object.__setattr__(self, "key", f"{scope.key}/{_encode(self.session)}")

    @classmethod
    def from_key(cls, key: str) -> Namespace:
        """The namespace whose `key` this is; raises `InvalidNamespace` for anything else."""
        (tenant, user, session), own = _split(key, 3)
        return cls(str(tenant), user, str(session), items=bool(own), facts=own == _FACTS_KEY)


def _split(key: str, count: int) -> tuple[list[str | SharedUser], str]:
    """(the decoded parts, what marks a scope that no conversation has)."""
    parts = key.split("/")
    user = parts[1] if len(parts) > 1 else ""
    own = next((mark for mark in (_FACTS_KEY, _ITEMS_KEY) if user.endswith(mark)), "")
    if own:
        parts[1] = user.removesuffix(own)
    try:
        decoded = [_decode(part) for part in parts]
    except UnicodeDecodeError as error:
        raise InvalidNamespace("key", key, "it is not percent-encoded UTF-8") from error
    shared = [part for part in (decoded[0], *decoded[2:]) if isinstance(part, SharedUser)]
    canonical = [_encode(part) for part in decoded] == parts
    if len(parts) != count or shared or not canonical:
        raise InvalidNamespace("key", key, f"pass a key of {count} parts made by this package")
    return decoded, own
