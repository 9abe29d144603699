"""Collections of a Qdrant server as its REST API words them, over qdrant-edge: its real filters and search."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rag_memory_plugins.errors import MissingExtra

__all__ = ["Collections", "Refused"]


class Refused(Exception):
    """What the server answers in place of a result.

    >>> Refused(404, "no such collection").status
    404
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class _Collection:
    shard: Any
    place: Path
    body: Mapping[str, Any]
    indexes: dict[str, Any] = field(default_factory=dict)


class Collections:
    """What a server holds, in `folder`. What is not spoken here is refused, with status 400 or 404.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> collections = Collections(Path(folder.name))
    >>> vectors = {"dense": {"size": 2, "distance": "Cosine"}}
    >>> body = {"vectors": vectors, "hnsw_config": {"m": 0, "payload_m": 16, "ef_construct": 100}}
    >>> collections.answer("PUT", "notes", "", body), collections.names()
    (True, ['notes'])
    >>> collections.close(), folder.cleanup()
    (None, None)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._held: dict[str, _Collection] = {}
        self._one = threading.Lock()

    def names(self) -> list[str]:
        """The collections that there are."""
        with self._one:
            return sorted(self._held)

    def created(self, name: str) -> Mapping[str, Any]:
        """What a collection was created with."""
        with self._one:
            return self._of(name).body

    def close(self) -> None:
        """Close every shard."""
        with self._one:
            for collection in self._held.values():
                collection.shard.close()
            self._held.clear()

    def answer(self, method: str, name: str, what: str, body: Mapping[str, Any]) -> Any:
        """The result of `METHOD /collections/NAME/WHAT`. Raises `Refused`."""
        calls: dict[tuple[str, str], Callable[[], Any]] = {
            ("GET", ""): lambda: self._info(self._of(name)),
            ("PUT", ""): lambda: self._create(name, body),
            ("DELETE", ""): lambda: self._drop(name),
            ("PUT", "index"): lambda: self._index(self._of(name), body),
            ("PUT", "points"): lambda: self._upsert(self._of(name), body),
            ("POST", "points/query"): lambda: self._query(self._of(name), body),
            ("POST", "points/delete"): lambda: self._delete(self._of(name), body),
            ("POST", "points/count"): lambda: self._count(self._of(name), body),
        }
        call = calls.get((method, what))
        if call is None:
            raise Refused(404, f"{method} {what} is not spoken here")
        with self._one:
            try:
                return call()
            except (Refused, MissingExtra):
                raise
            except Exception as error:  # of the shard's own, which has no kinds
                raise Refused(400, f"Wrong input: {error}") from error

    def _of(self, name: str) -> _Collection:
        if name not in self._held:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._held[name]

    def _create(self, name: str, body: Mapping[str, Any]) -> bool:
        edge = _edge()
        if name in self._held:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        dense = {
            key: edge.EdgeVectorParams(each["size"], getattr(edge.Distance, each["distance"]))
            for key, each in body["vectors"].items()
        }
        words = {key: edge.EdgeSparseVectorParams() for key in body.get("sparse_vectors") or ()}
        if any((body.get("sparse_vectors") or {}).values()):
            raise Refused(400, "settings of sparse vectors are not spoken here")
        graph = edge.HnswIndexConfig(full_scan_threshold=10_000, **body["hnsw_config"])
        config = edge.EdgeConfig(
            vectors=dense,
            sparse_vectors=words,
            hnsw_config=graph,
            max_search_threads=1,
            wal_enabled=False,  # nobody opens it again
        )
        # A number, because a collection of the same name may be made again.
        place = self._folder / str(next(self._numbers))
        self._held[name] = _Collection(edge.EdgeShard.create(str(place), config), place, body)
        return True

    def _drop(self, name: str) -> bool:
        dropped = self._held.pop(name, None)
        if dropped is not None:
            dropped.shard.close()
            shutil.rmtree(dropped.place)
        return dropped is not None

    def _info(self, held: _Collection) -> dict[str, Any]:
        params = {key: held.body.get(key) for key in ("vectors", "sparse_vectors")}
        schema = {
            name: {"data_type": "keyword", "params": each, "points": 0}
            for name, each in held.indexes.items()
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": params,
                "hnsw_config": {"full_scan_threshold": 10_000, **held.body["hnsw_config"]},
                "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5},
                "metadata": held.body.get("metadata"),
            },
            "payload_schema": schema,
        }

    def _index(self, held: _Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        edge = _edge()
        schema = dict(body["field_schema"])
        if schema.pop("type") != "keyword":
            raise Refused(400, "only keyword indexes are spoken here")
        params = edge.KeywordIndexParams(**schema)
        held.shard.update(edge.UpdateOperation.create_field_index(body["field_name"], params))
        held.indexes[body["field_name"]] = body["field_schema"]
        return _COMPLETED

    def _upsert(self, held: _Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        edge = _edge()
        points = [
            edge.Point(
                point["id"],
                {key: _vector(each) for key, each in point["vector"].items()},
                point["payload"],
            )
            for point in body["points"]
        ]
        held.shard.update(edge.UpdateOperation.upsert_points(points))
        return _COMPLETED

    def _delete(self, held: _Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        edge = _edge()
        where = _filter(body["filter"])
        held.shard.update(edge.UpdateOperation.delete_points_by_filter(where))
        return _COMPLETED

    def _count(self, held: _Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        edge = _edge()
        where = _filter(body["filter"]) if body.get("filter") else None
        return {"count": held.shard.count(edge.CountRequest(exact=True, filter=where))}

    def _query(self, held: _Collection, body: Mapping[str, Any]) -> dict[str, Any]:
        edge = _edge()
        lanes = [edge.Prefetch(**_lane(each)) for each in body.get("prefetch") or ()]
        request = edge.QueryRequest(prefetches=lanes or None, **_lane(body))
        return {
            "points": [
                {"id": str(point.id), "version": 0, "score": point.score}
                for point in held.shard.query(request)
            ]
        }


def _edge() -> Any:
    try:
        import qdrant_edge  # noqa: TID251  # the server's own filters and search, for a test double
    except ImportError as error:
        raise MissingExtra("qdrant-edge", "QdrantServer") from error
    return qdrant_edge


_COMPLETED: Final = {"operation_id": 0, "status": "completed"}


def _lane(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a query and its prefetches have in common."""
    edge = _edge()
    asked = body["query"]
    if asked == {"fusion": "rrf"}:
        query = edge.Fusion.Rrf(2)
    else:
        nearest = asked.get("nearest", asked) if isinstance(asked, Mapping) else asked
        query = edge.Query.Nearest(_vector(nearest), using=body["using"])
    params = body.get("params") or {}
    return {
        "limit": body["limit"],
        "query": query,
        "filter": _filter(body["filter"]) if body.get("filter") else None,
        "params": edge.SearchParams(hnsw_ef=params.get("hnsw_ef")),
    }


def _vector(value: Any) -> Any:
    edge = _edge()
    if isinstance(value, Mapping):
        return edge.SparseVector(value["indices"], value["values"])
    return value


def _filter(body: Mapping[str, Any]) -> Any:
    """A filter of `must` alone, over ids and exact values."""
    edge = _edge()
    if {key for key, value in body.items() if value} - {"must"}:
        raise Refused(400, "only filters with must are spoken here")
    conditions: list[Any] = []
    for each in body["must"]:
        if "has_id" in each:
            conditions.append(edge.HasIdCondition(set(each["has_id"])))
        else:
            match = edge.MatchValue(each["match"]["value"])
            conditions.append(edge.FieldCondition(key=each["key"], match=match))
    return edge.Filter(must=conditions)
