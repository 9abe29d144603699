"""Whose a document is, in a store that many tenants share: free of any framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from rag_memory_plugins.errors import InvalidFilter, InvalidInput, InvalidNamespace
from rag_memory_plugins.namespace import SHARED, Scope

__all__ = [
    "TENANT",
    "Tenant",
    "Untagged",
    "check_guard",
    "check_keywords",
    "guarded",
    "tenant_now",
]

TENANT: Final = "tenant"
"""Metadata key of the tenant that a node or document belongs to."""
Tenant: TypeAlias = str | Callable[[], str]
Untagged: TypeAlias = Literal["drop", "keep"]

_REPLACES: Final = re.compile(
    r"(^|_)(filters?|where|expr|namespace|collection)(_|$)|custom_query", re.IGNORECASE
)
"""Arguments by which stores take a filter of their own, or look elsewhere: Qdrant's
`qdrant_filters`, Chroma's and LanceDB's `where`, Milvus' `string_expr`, Elasticsearch's `es_filter`
and `custom_query`, Azure's `odata_filters`, Pinecone's `namespace`."""


def tenant_now(tenant: Tenant) -> str:
    """The tenant, asked for if it is a function. Raises `InvalidNamespace`, also if that fails."""
    given: object = tenant
    if callable(tenant):
        try:
            given = tenant()
        except InvalidNamespace:
            raise
        except Exception as error:  # the user's function: it may fail in any way, never open
            raise InvalidNamespace("tenant", tenant, f"it failed ({error!r})") from error
    return Scope(given, SHARED).tenant  # type: ignore[arg-type]  # it checks what it is given


def check_keywords(
    method: str, given: Mapping[str, object], remedy: str, *, but: Sequence[str] = ()
) -> None:
    """Raise `InvalidFilter` for an argument that would take the place of the tenant's filter."""
    for name, value in given.items():
        if name not in but and _REPLACES.search(name):
            raise InvalidFilter(
                f"{method}({name}=)", value, f"it can replace the tenant's filter; {remedy}"
            )


def check_guard(tenant: str, key: object, untagged: object) -> None:
    """Raise for what a guard cannot compare by: `InvalidNamespace`, `InvalidInput`."""
    Scope(tenant, "any")  # a tenant that cannot name a memory would let nothing through
    if not isinstance(key, str) or not key:
        raise InvalidInput("key", key, "pass the metadata key that holds the tenant")
    if untagged not in {"drop", "keep"}:
        raise InvalidInput("untagged", untagged, "pass 'drop' or 'keep'")


def guarded(
    named: Sequence[object], tenant: str, key: str, untagged: Untagged, kind: str
) -> tuple[list[bool], list[str]]:
    """(which of these tenants is `tenant`, what was dropped and why, without any text).

    One that is None is nobody's: dropped too, unless `untagged` is "keep". `kind` is what they are
    called: "node", "document".
    """
    own = [isinstance(value, str) and value == tenant for value in named]
    none = [value is None for value in named]
    reasons = []
    if count := len(named) - sum(own) - sum(none):
        reasons.append(_dropped(count, kind, tenant, "of another tenant"))
    if untagged == "keep":
        own = [ours or nobody for ours, nobody in zip(own, none, strict=True)]
    elif any(none):
        reasons.append(_dropped(sum(none), kind, tenant, f"without {key!r} in the metadata"))
    return own, reasons


def _dropped(count: int, kind: str, tenant: str, what: str) -> str:
    return f"dropped for tenant {tenant!r}: {count} {kind}{'' if count == 1 else 's'} {what}"
