"""The sources of an evidence as a framework shows them: id, text and metadata of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from rag_memory_plugins.memory.evidence_text import is_past
from rag_memory_plugins.memory.placing import placed_id, placed_metadata
from rag_memory_plugins.namespace import Scope
from rag_memory_plugins.ports import Fact, Said
from rag_memory_plugins.retrieval.tenancy import TENANT

if TYPE_CHECKING:
    from datetime import datetime

    from rag_memory_plugins.memory.evidence import Evidence

__all__ = ["CITATION", "HIDDEN", "Sourced", "sourced"]

CITATION: Final = "citation"
"""Metadata key of the mark that stands for a source in an answer."""
HIDDEN: Final = (TENANT, "session", "id", "sources", "kind")
"""What no model needs to be shown of a source."""


class Sourced(NamedTuple):
    """One source.

    `score` is 1 for the first, 1/2 for the second and so on: the scores of turns and of facts have
    no common measure, and their order has.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    score: float


def sourced(evidence: Evidence, scope: Scope, now: datetime) -> list[Sourced]:
    """What stands behind each mark of the evidence's text, in its order.

    Metadata of all: citation, tenant, kind ("memory" or "fact"), id. Of a memory also those of a
    retrieved one; of a fact subject, predicate, object, state ("holds" or "past"), valid_from and
    valid_to (ISO 8601), confidence, by, conflict, and sources as "session/id".
    """
    hits = {Said(hit.session, hit.message.id): hit for hit in evidence.memories}
    found = []
    for rank, (mark, source) in enumerate(evidence.citations.items(), 1):
        if isinstance(source, Fact):
            key = f"{scope.of_facts.scope.key}/{quote(source.id, safe='')}"
            text, metadata = source.text, _of_fact(source, evidence.as_of or now)
        else:
            key = placed_id(scope, source.session, source.id)
            message = hits[source].message
            text = message.content
            metadata = {"kind": "memory", **placed_metadata(message, scope, source.session)}
        metadata |= {CITATION: mark, TENANT: scope.tenant}
        found.append(Sourced(key, text, metadata, 1 / rank))
    return found


def _of_fact(fact: Fact, moment: datetime) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "kind": "fact",
        "id": fact.id,
        "subject": fact.subject,
        "predicate": fact.predicate,
        "object": fact.object,
        "state": "past" if is_past(fact, moment) else "holds",
        "valid_from": fact.valid_from.isoformat(),
        "confidence": fact.confidence,
        "by": fact.by,
        "conflict": fact.conflict,
        "sources": [f"{said.session}/{said.id}" for said in fact.sources],
    }
    if fact.valid_to is not None:
        metadata["valid_to"] = fact.valid_to.isoformat()
    return metadata
