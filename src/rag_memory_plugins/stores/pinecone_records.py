"""What a Pinecone index keeps of a message, and how that is cut into requests: pure functions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np

from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.stores.points import named, point_id

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, Vectors

__all__ = ["Place", "Request", "condition", "in_parts", "requests_of", "sparse_of", "values_of"]

T = TypeVar("T")
_Held: TypeAlias = "tuple[Point, dict[str, Any]]"

SEQ: Final = "rag_memory_seq"
MOST_RECORDS: Final = 1_000
MOST_BYTES: Final = 2_000_000
"""Of one upsert, with room for what stands around its records: the limit is 2 MB."""
MOST_TERMS: Final = 1_000
_UINT32: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Place:
    """Where a log's vectors stand: `log` and `fingerprint` as `VectorStore.aopen` is given them."""

    log: str
    fingerprint: str

    def namespace(self, tenant: str) -> str:
        """The tenant's own namespace: a hash, so no tenant gets the empty one or another's.

        >>> place = Place("log", "words/1/64")
        >>> len(place.namespace("acme")), place.namespace("acme") == place.namespace("Acme")
        (51, False)
        """
        parts = [part.encode() for part in (self.log, self.fingerprint, tenant)]
        # Each behind its length: no two triples are the same bytes.
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return f"rag-memory-{hashlib.blake2b(text, digest_size=20).hexdigest()}"


@dataclass(frozen=True)
class Request:
    """One upsert: so many records of one namespace, known again by `digest`.

    `probe` is a condition that one of them alone meets, the one of `probe_values`.
    """

    namespace: str
    records: list[dict[str, Any]]
    digest: bytes
    probe: dict[str, Any]
    probe_values: list[float]


def condition(
    log: str, scope: Scope, session: str | None = None, seq: int | None = None
) -> dict[str, Any]:
    """The filter of a user's records, or of fewer: equalities that must all hold."""
    wanted: dict[str, object] = {**named(log, scope, session)}
    if seq is not None:
        wanted[SEQ] = seq
    return {"$and": [{key: {"$eq": value}} for key, value in wanted.items()]}


def values_of(vector: Vectors) -> list[float] | None:
    """The vector at length 1, so that every metric orders alike; None for one without direction.

    Pinecone refuses a vector of zeros, and keeps 32 bits of a number: seven digits are all of it.
    """
    wide = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(wide))
    if not 0.0 < length < np.inf:
        return None
    numbers: list[float] = np.round(wide / length, 7).tolist()
    return numbers


def sparse_of(text: str) -> dict[str, list[Any]] | None:
    """How often each term stands in `text`, at length 1; None without terms.

    Nothing is weighed by other texts: how rare a term is would be told across tenants.

    >>> sparse_of("red, red rose")["values"]
    [0.8944272, 0.4472136]
    """
    counts = Counter(term & _UINT32 for term in terms_of(text)).most_common(MOST_TERMS)
    if not counts:
        return None
    length = float(np.linalg.norm([count for _, count in counts]))
    return {
        "indices": [term for term, _ in counts],
        "values": [round(count / length, 7) for _, count in counts],
    }


def requests_of(place: Place, points: Sequence[Point], *, hybrid: bool) -> list[Request]:
    """The upserts that put `points`, each within Pinecone's limits.

    Vectors without direction are left out: nothing is near to them.
    """
    records: defaultdict[str, dict[str, _Held]] = defaultdict(dict)
    for point in points:
        sparse = sparse_of(point.text) if hybrid else None
        metadata = {**named(place.log, point.scope, point.session), SEQ: point.seq}
        for piece, vector in enumerate(point.vectors):
            values = values_of(vector)
            if values is None:
                continue
            name = point_id(place.log, point.scope, point.seq, piece)
            record = {"id": name, "values": values, "metadata": metadata}
            if sparse is not None:
                record["sparse_values"] = sparse
            # By id: a request that names one twice means the last.
            records[place.namespace(point.scope.tenant)][name] = point, record
    return [
        request for name, some in records.items() for request in _packed(place, name, some.values())
    ]


def in_parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """`items` in parts of at most `most`."""
    return (items[start : start + most] for start in range(0, len(items), most))


def _packed(place: Place, namespace: str, records: Iterable[_Held]) -> Iterator[Request]:
    part: list[_Held] = []
    texts: list[bytes] = []
    size = 0
    for point, record in records:
        text = json.dumps(record, separators=(",", ":")).encode()
        if part and (len(part) == MOST_RECORDS or size + len(text) >= MOST_BYTES):
            yield _request(place, namespace, part, texts)
            part, texts, size = [], [], 0
        part.append((point, record))
        texts.append(text)
        size += len(text) + 1
    if part:
        yield _request(place, namespace, part, texts)


def _request(place: Place, namespace: str, part: list[_Held], texts: list[bytes]) -> Request:
    last, record = part[-1]
    digest = hashlib.blake2b(b"\n".join([namespace.encode(), *texts]), digest_size=16).digest()
    probe = condition(place.log, last.scope, last.session, last.seq)
    return Request(namespace, [each for _, each in part], digest, probe, record["values"])
