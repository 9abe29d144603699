"""What a `PineconeServer` does with a request that it carries out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final, TypeAlias

from rag_memory_plugins.testing.pinecone_data import Records, Refused, Space, matches, scored

__all__ = ["Body", "Page", "PineconeIndex"]

Body: TypeAlias = dict[str, Any]
Page: TypeAlias = tuple[int, Body, Mapping[str, str]]
"""Status, body, headers."""

MOST_RECORDS: Final = 1_000
MOST_FOUND: Final = 10_000
MOST_LISTED: Final = 100
MOST_TERMS: Final = 2_048
MOST_METADATA: Final = 40 * 2**10
DEFAULT: Final = "__default__"


class PineconeIndex:
    """An index in memory, exact; see `PineconeServer`, which takes the same arguments.

    Its methods take the JSON of a request and raise `Refused`; `lock` is held around each.

    >>> index = PineconeIndex(2)
    >>> index.upsert({"vectors": [{"id": "a", "values": [1, 0]}], "namespace": "acme"})
    (200, {'upsertedCount': 1}, {'x-pinecone-request-lsn': '1'})
    """

    def __init__(
        self,
        dimension: int,
        metric: str = "cosine",
        *,
        lag: int | None = 0,
        fetch_lag: int | None = 0,
        lsn: bool = True,
    ) -> None:
        self.dimension = dimension
        self.metric = metric
        self.lag = lag
        self.fetch_lag = fetch_lag
        self.lsn = lsn
        self.lock = Lock()
        self._spaces: dict[str, Space] = {}

    def records(self) -> dict[str, Records]:
        """What all writes amount to, seen or not: by namespace, by id."""
        with self.lock:
            held = {name: space.records() for name, space in self._spaces.items()}
        return {name: records for name, records in held.items() if records}

    def catch_up(self) -> None:
        """Let every read see all that was written so far."""
        with self.lock:
            for space in self._spaces.values():
                space.catch_up()

    def _space(self, body: Body) -> tuple[str, Space]:
        """The namespace that a request means; none is the default one."""
        name = str(body.get("namespace") or DEFAULT)
        return name, self._spaces.get(name) or Space()

    def _written(self, body: Body, write: Callable[[Records], None], answer: Body) -> Page:
        name, space = self._space(body)
        lsn = space.write(write)
        self._spaces[name] = space
        return 200, answer, {"x-pinecone-request-lsn": str(lsn)} if self.lsn else {}

    def upsert(self, body: Body) -> Page:
        """Put records; those of the same id are replaced."""
        records = body.get("vectors", [])
        if not 0 < len(records) <= MOST_RECORDS:
            raise Refused(400, 3, f"{len(records)} vectors; 1 to {MOST_RECORDS} are taken")
        for record in records:
            self._check(record)
        new = {record["id"]: record for record in records}
        return self._written(body, lambda held: held.update(new), {"upsertedCount": len(records)})

    def _check(self, record: Body) -> None:
        values, metadata = record.get("values", []), record.get("metadata") or {}
        if not 0 < len(record["id"]) <= 512 or not record["id"].isascii():
            raise Refused(400, 3, "an id has 1 to 512 ASCII characters")
        self._check_values(values)
        if len(json.dumps(metadata).encode()) > MOST_METADATA:
            raise Refused(400, 3, "metadata size exceeds 40960 bytes per vector")
        if any(value is None or isinstance(value, dict) for value in metadata.values()):
            raise Refused(400, 3, "metadata are strings, numbers, booleans or lists of strings")
        if len((record.get("sparseValues") or {}).get("indices", ())) > MOST_TERMS:
            raise Refused(400, 3, f"sparse vectors have at most {MOST_TERMS} values")

    def _check_values(self, values: list[float]) -> None:
        if len(values) != self.dimension:
            text = f"Vector dimension {len(values)} does not match the dimension of the index"
            raise Refused(400, 3, f"{text} {self.dimension}")
        if not any(values):
            raise Refused(400, 3, "Dense vectors must contain at least one non-zero value")

    def update(self, body: Body) -> Page:
        """Change a record's values or metadata."""
        new: Body = {key: body[key] for key in ("values", "sparseValues") if key in body}
        if "values" in new:
            self._check_values(new["values"])

        def write(held: Records) -> None:
            if record := held.get(body["id"]):
                metadata = {**(record.get("metadata") or {}), **body.get("setMetadata", {})}
                held[body["id"]] = {**record, **new, "metadata": metadata}

        return self._written(body, write, {})

    def delete(self, body: Body) -> Page:
        """Delete by ids, by a filter, or all of a namespace."""
        name, space = self._space(body)
        if name not in self._spaces and name != DEFAULT:
            raise Refused(404, 5, "Namespace not found")
        ids, where = body.get("ids", []), body.get("filter")
        if len(ids) > MOST_RECORDS:
            raise Refused(400, 3, f"{len(ids)} ids; up to {MOST_RECORDS} are taken")
        if where is not None:
            held = space.records().values()
            ids = [each["id"] for each in held if matches(each.get("metadata") or {}, where)]

        def write(held: Records) -> None:
            for each in list(held) if body.get("deleteAll") else ids:
                held.pop(each, None)

        return self._written(body, write, {})

    def query(self, body: Body) -> Page:
        """The best records of a namespace, by a vector, terms or a record's id."""
        name, space = self._space(body)
        held = space.read("query", self.lag)
        vector, sparse = body.get("vector"), body.get("sparseVector")
        if not 1 <= body["topK"] <= MOST_FOUND:
            raise Refused(400, 3, f"topK is 1 to {MOST_FOUND}")
        if sparse is not None and self.metric != "dotproduct":
            raise Refused(400, 3, "Index configuration does not support sparse values")
        if "id" in body:
            vector = held[body["id"]]["values"] if body["id"] in held else None
        elif vector is not None:
            self._check_values(vector)
        where = body.get("filter") or {}
        mine = [each for each in held.values() if matches(each.get("metadata") or {}, where)]
        found = scored(mine, self.metric, vector, sparse)[: body["topK"]]
        shown = ["id"]
        shown += ["values", "sparseValues"] if body.get("includeValues") else []
        shown += ["metadata"] if body.get("includeMetadata") else []
        ranked = [
            {"score": score, **{key: each[key] for key in shown if each.get(key) is not None}}
            for score, each in found
        ]
        indexed = self.lsn and name in self._spaces
        headers = {"x-pinecone-max-indexed-lsn": str(space.indexed)} if indexed else {}
        return 200, {"matches": ranked, "namespace": name, "usage": {"readUnits": 1}}, headers

    def fetch(self, body: Body) -> Page:
        """Records by id."""
        name, space = self._space(body)
        ids = body.get("ids", [])
        if not 0 < len(ids) <= MOST_RECORDS:
            raise Refused(400, 3, f"{len(ids)} ids; 1 to {MOST_RECORDS} are taken")
        held = space.read("fetch", self.fetch_lag)
        found = {each: held[each] for each in ids if each in held}
        return 200, {"vectors": found, "namespace": name, "usage": {"readUnits": 1}}, {}

    def page(self, body: Body) -> Page:
        """Ids of a namespace in order, a page at a time."""
        name, space = self._space(body)
        after, prefix = body.get("paginationToken", ""), body.get("prefix", "")
        limit = int(body.get("limit", MOST_LISTED))
        if not 1 <= limit <= MOST_LISTED:
            raise Refused(400, 3, f"limit is 1 to {MOST_LISTED}")
        held = sorted(space.read("fetch", self.fetch_lag))
        left = [each for each in held if each.startswith(prefix) and each > after]
        page: Body = {"vectors": [{"id": each} for each in left[:limit]], "namespace": name}
        if len(left) > limit:
            page["pagination"] = {"next": left[limit - 1]}
        return 200, page, {}

    def stats(self, body: Body) -> Page:
        """Dimension, metric, and how many records stand in each namespace."""
        counts = {
            name: len(space.read("fetch", self.fetch_lag)) for name, space in self._spaces.items()
        }
        page = {
            "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
            "dimension": self.dimension,
            "metric": self.metric,
            "vectorType": "dense",
            "indexFullness": 0.0,
            "totalVectorCount": sum(counts.values()),
        }
        return 200, page, {}

    def namespaces(self, body: Body) -> Page:
        """All namespaces."""
        shown = [_shown(name, space) for name, space in sorted(self._spaces.items())]
        return 200, {"namespaces": shown, "total_count": len(shown)}, {}

    def namespace(self, body: Body) -> Page:
        """One namespace."""
        if body["name"] not in self._spaces:
            raise Refused(404, 5, "Namespace not found")
        return 200, _shown(body["name"], self._spaces[body["name"]]), {}

    def drop(self, body: Body) -> Page:
        """Delete a namespace."""
        if self._spaces.pop(body["name"], None) is None:
            raise Refused(404, 5, "Namespace not found")
        return 202, {}, {}


def _shown(name: str, space: Space) -> Body:
    return {"name": name, "record_count": str(len(space.records()))}
