"""The tenant's filter in the form that a vector store understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from rag_memory_plugins.errors import InvalidFilter, InvalidInput
from rag_memory_plugins.retrieval.tenancy import TENANT

__all__ = ["Form", "Stated", "form_of", "kind_of"]

Form: TypeAlias = Callable[[str, Any], Any]
"""(tenant, what the caller stated or None) -> a filter by which both hold."""
Stated: TypeAlias = Literal["function", "operators"] | Form | None


def by_function(tenant: str, stated: Any) -> Callable[[Document], bool]:
    """A function of a document; the caller's is never shown a document of another tenant."""
    if stated is not None and not callable(stated):
        raise InvalidFilter("filter", stated, "this store takes a function of a document")

    def mine(document: Document) -> bool:
        own = document.metadata.get(TENANT) == tenant
        return own and (stated is None or bool(stated(document)))

    return mine


def by_operators(tenant: str, stated: Any) -> dict[str, Any]:
    """A dict with `$and` and `$eq`. Raises `InvalidFilter` for one that names the tenant itself."""
    if stated is not None and not isinstance(stated, Mapping):
        raise InvalidFilter("filter", stated, "this store takes a dict of fields and operators")
    own = {TENANT: {"$eq": tenant}}
    if not stated:
        return own
    if (named := _tenant_in(stated)) is not None:
        remedy = "leave it out: the store asks for its own tenant, always and for no other"
        raise InvalidFilter(f"filter[{TENANT!r}]", named[0], remedy)
    return {"$and": [own, *({field: value} for field, value in stated.items())]}


_FORMS: Final[Mapping[str, Form]] = {"function": by_function, "operators": by_operators}
_KNOWN: Final[Mapping[str, str]] = {
    "InMemoryVectorStore": "function",
    "Chroma": "operators",
    "PGVector": "operators",
    "PineconeVectorStore": "operators",
}
"""By class name, so that none of their packages is imported."""


def kind_of(store: VectorStore, stated: Any) -> Any:
    """How `store` is asked: "function", "operators", the caller's function; None: nobody knows.

    Raises `InvalidInput`.
    """
    if stated is None:
        names = (kind.__name__ for kind in type(store).__mro__)
        return next((_KNOWN[name] for name in names if name in _KNOWN), None)
    if callable(stated) or (isinstance(stated, str) and stated in _FORMS):
        return stated
    remedy = "pass 'function', 'operators', or a function that makes the store's filter"
    raise InvalidInput("filter", stated, remedy)


def form_of(store: VectorStore, stated: Stated) -> Form | None:
    """How to ask `store` for a tenant's; None if nobody knows. Raises `InvalidInput`."""
    kind = kind_of(store, stated)
    form: Form | None = _FORMS[kind] if isinstance(kind, str) else kind
    return form


def _tenant_in(stated: object) -> tuple[object] | None:
    """What a filter says of the tenant, anywhere inside it."""
    if isinstance(stated, Mapping):
        if TENANT in stated:
            return (stated[TENANT],)
        return next((found for part in stated.values() if (found := _tenant_in(part))), None)
    if isinstance(stated, Sequence) and not isinstance(stated, (str, bytes)):
        return next((found for part in stated if (found := _tenant_in(part))), None)
    return None
