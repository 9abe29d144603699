"""What a Qdrant server is asked, in the client's own values: pure functions of points and questions.

Every filter here is `must = [owner, log, ...]` and every lane of a search has it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.stores import sparse
from rag_memory_plugins.stores.points import OWNER, SESSION, named, owner_key, point_id

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, Vectors

__all__ = ["LOG", "Requests", "mark_of", "problem_with"]

LOG: Final = "rag_memory_log"
META: Final = "rag_memory"
DENSE: Final = "dense"
SPARSE: Final = "sparse"
MOST_POINTS: Final = 256
MOST_BYTES: Final = 8 * 2**20
"""Of one request, about; a server refuses more than 32 MB."""
OURS: Final = {"hnsw_config", "metadata", "sparse_vectors_config", "vectors_config"}
"""What of a new collection is not for `collection_options` to say."""
NUMBER_BYTES: Final = 22
"""A float in JSON, at most."""


@dataclass(frozen=True)
class Requests:
    """How a store asks: its settings, and the log that it serves.

    `models` are the client's, which `stores/qdrant.py` alone imports.

    >>> from qdrant_client import models
    >>> from rag_memory_plugins.namespace import Scope
    >>> requests = Requests(models, 16, 100, 128, hybrid=False, options={}, log="log")
    >>> [(each.key, each.match.value) for each in requests.wall(Scope("acme", "ann")).must]
    [('rag_memory_owner', 'log/acme/ann'), ('rag_memory_log', 'log')]
    """

    models: Any
    m: int
    ef_construct: int
    ef_search: int | None
    hybrid: bool
    options: Mapping[str, Any]
    log: str = ""
    indexed: tuple[str, ...] = field(default=(OWNER, SESSION, LOG), init=False)
    """Fields that filters are about."""

    def __post_init__(self) -> None:
        for name in ("m", "ef_construct", "ef_search"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (name, value) != ("ef_search", None):
                raise InvalidInput(name, value, "pass a whole number of at least 1")
        for name in OURS & {*self.options}:
            raise InvalidInput("collection_options", name, f"leave {name} to the store")

    def collection(self, fingerprint: str, dimension: int) -> dict[str, Any]:
        """A new collection, with a mark that no other one has.

        In one request with its mark, so there is never one without.
        """
        models = self.models
        vectors = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        # No graph over all users, which nobody searches, and one for each of them.
        graph = models.HnswConfigDiff(m=0, payload_m=self.m, ef_construct=self.ef_construct)
        return {
            **self.options,
            "vectors_config": {DENSE: vectors},
            "sparse_vectors_config": {SPARSE: models.SparseVectorParams()} if self.hybrid else None,
            "hnsw_config": graph,
            "metadata": {META: {"mark": secrets.token_hex(8), "fingerprint": fingerprint}},
        }

    def index(self, name: str) -> Any:
        """The index of one of the `indexed` fields."""
        models = self.models
        kind = models.KeywordIndexType.KEYWORD
        return models.KeywordIndexParams(type=kind, is_tenant=True if name == OWNER else None)

    def wall(
        self, scope: Scope, session: str | None = None, ids: Sequence[str] | None = None
    ) -> Any:
        """Conditions that all hold: whose, of which log, and no wider than asked."""
        models = self.models
        wanted = {OWNER: owner_key(self.log, scope), LOG: self.log}
        if session is not None:
            wanted[SESSION] = session
        must: list[Any] = [
            models.FieldCondition(key=key, match=models.MatchValue(value=value))
            for key, value in wanted.items()
        ]
        if ids is not None:
            must.append(models.HasIdCondition(has_id=list(ids)))
        return models.Filter(must=must)

    def question(self, text: str, vector: Vectors, limit: int, wall: Any) -> dict[str, Any]:
        """A search by vector, or by vector and words."""
        models = self.models
        params = models.SearchParams(hnsw_ef=self.ef_search) if self.ef_search else None
        whole = {"query_filter": wall, "limit": limit, "with_payload": False}
        nearest = {"query": vector.tolist(), "using": DENSE}
        indices, values = sparse.asked(text) if self.hybrid else ([], [])
        if not indices:
            return {**whole, **nearest, "search_params": params}
        words = models.SparseVector(indices=indices, values=values)
        # A lane without the filter would let others' points push the user's own out.
        lanes = [
            models.Prefetch(**nearest, filter=wall, params=params, limit=limit),
            models.Prefetch(query=words, using=SPARSE, filter=wall, limit=limit),
        ]
        return {**whole, "prefetch": lanes, "query": models.FusionQuery(fusion=models.Fusion.RRF)}

    def batches(self, points: Iterable[Point]) -> Iterator[list[Any]]:
        """Points as they are put, in requests of bounded size."""
        batch: list[Any] = []
        size = 0
        for point in points:
            for made, weight in self._structs(point):
                if batch and (len(batch) == MOST_POINTS or size + weight > MOST_BYTES):
                    yield batch
                    batch, size = [], 0
                batch.append(made)
                size += weight
        if batch:
            yield batch

    def _structs(self, point: Point) -> Iterator[tuple[Any, int]]:
        """(one vector of a message, its bytes on the wire, about)."""
        models = self.models
        payload = {**named(self.log, point.scope, point.session), LOG: self.log}
        fixed = 200 + sum(len(value.encode()) for value in payload.values())
        for piece, vector in enumerate(point.vectors):
            vectors: dict[str, Any] = {DENSE: vector.tolist()}
            # The words of a message count once, however many pieces it has.
            indices, values = sparse.said(point.text) if self.hybrid and not piece else ([], [])
            if indices:
                vectors[SPARSE] = models.SparseVector(indices=indices, values=values)
            key = point_id(self.log, point.scope, point.seq, piece)
            size = fixed + NUMBER_BYTES * (len(vector) + 2 * len(indices))
            yield models.PointStruct(id=key, vector=vectors, payload=payload), size


def mark_of(info: Any) -> str:
    """What a collection was marked with when it was made."""
    return str((info.config.metadata or {})[META]["mark"])


def problem_with(info: Any, fingerprint: str, dimension: int) -> str:
    """Why a collection cannot hold an embedder's vectors; "" when it can."""
    held: Any = info.config.params.vectors
    dense = held.get(DENSE) if isinstance(held, Mapping) else held
    got = f"{dense.size} {dense.distance.value}" if dense is not None else "none"
    wanted = f"{dimension} Cosine"
    if got != wanted:
        return f"holds vectors of {got} and this embedder's are {wanted} (dimension, distance)"
    mark = (info.config.metadata or {}).get(META)
    if not isinstance(held, Mapping) or not isinstance(mark, Mapping) or "mark" not in mark:
        return "has no mark of ours: it is somebody else's, or the server is older than 1.16"
    if mark.get("fingerprint") != fingerprint:
        return f"is of embedder {mark.get('fingerprint')!r} and this one is {fingerprint!r}"
    return ""
