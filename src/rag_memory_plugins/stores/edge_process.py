"""The process that owns a qdrant-edge shard, run as a program; `stores/edge.py` talks to it.

qdrant-edge holds Python's global lock in every call, seconds long while it builds a graph: in the
process of a chat no other thread would run. This one reads requests from a pipe, one at a time, and
ends when the pipe or its parent does. It imports nothing of the package, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import shutil
import socket
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Final

HEAD: Final = struct.Struct("<Q")
DONE, BUILDING, FAILED = "done", "building", "failed"
"""How an answer begins; after BUILDING another comes, when graphs are built."""
OWNER: Final = "owner"
SESSION: Final = "session"
_PARENT_SECONDS: Final = 1.0
_AT_ONCE: Final = 1_000


class Locked(Exception):
    """Another process has the folder."""


def send(pipe: BinaryIO, value: object) -> None:
    """Write one value to a pipe."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    left = memoryview(HEAD.pack(len(data)) + data)
    while left:
        left = left[pipe.write(left) :]


def receive(pipe: BinaryIO) -> Any:
    """Read one value from a pipe. Raises `EOFError` where it ended."""
    (size,) = HEAD.unpack(_exactly(pipe, HEAD.size))
    return pickle.loads(_exactly(pipe, size))  # noqa: S301  # of our own process, by our own pipe


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        some = pipe.read(size - len(data))
        if not some:
            raise EOFError("the pipe ended")
        data += some
    return bytes(data)


class Shard:
    """One folder of points; every change is on the disk when its method returns."""

    def __init__(self, folder: str, settings: dict[str, Any]) -> None:
        import qdrant_edge

        self._edge = qdrant_edge
        self._ef = int(settings["ef_search"])
        self._grow = int(settings["exact_up_to"])
        self._optimized_at = 0
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(place.with_name(f"{place.name}.lock"), settings["lock_seconds"])
        # Half-built segments of a process that was killed: the engine leaves them, with vectors.
        shutil.rmtree(place / "temp_segments", ignore_errors=True)
        # Never `create`: it refuses a folder that a process was killed in, for good.
        self._shard = qdrant_edge.EdgeShard.load(folder, _config(qdrant_edge, settings))
        schema = self._shard.info().payload_schema
        for key, tenant in ((OWNER, True), (SESSION, False)):
            if key not in schema:
                params = qdrant_edge.KeywordIndexParams(is_tenant=tenant, enable_hnsw=tenant)
                self._shard.update(qdrant_edge.UpdateOperation.create_field_index(key, params))

    def put(self, rows: list[tuple[str, str, str, bytes]]) -> None:
        """Keep (id, owner, session, float32s) rows."""
        points = [
            self._edge.Point(name, _floats(data), {OWNER: owner, SESSION: session})
            for name, owner, session, data in rows
        ]
        for start in range(0, len(points), _AT_ONCE):
            some = points[start : start + _AT_ONCE]
            self._shard.update(self._edge.UpdateOperation.upsert_points(some))
        self._shard.flush()

    def nearest(self, owner: str, session: str | None, vector: bytes, limit: int) -> list[str]:
        """Ids of an owner's nearest points, best first."""
        edge = self._edge
        must = [edge.FieldCondition(OWNER, match=edge.MatchValue(owner))]
        if session is not None:
            must.append(edge.FieldCondition(SESSION, match=edge.MatchValue(session)))
        found = self._shard.query(
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(_floats(vector)),
                filter=edge.Filter(must=must),
                params=edge.SearchParams(hnsw_ef=max(self._ef, limit)),
            )
        )
        return [str(point.id) for point in found]

    def remove(self, names: list[Any]) -> None:
        """Let go of points, and rewrite the segments that hold their bytes."""
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            self._shard.update(self._edge.UpdateOperation.delete_points(some))
        self._optimize()
        self._shard.flush()

    def count(self) -> int:
        """How many points there are."""
        return int(self._shard.info().points_count)

    @property
    def due(self) -> bool:
        """Whether so many points were added that graphs should be built."""
        return self.count() - self._optimized_at >= max(self._grow, self._optimized_at // 4)

    def build(self) -> None:
        """Build the graphs of owners who have enough points."""
        self._optimize()
        self._shard.flush()

    def close(self) -> None:
        """Free the folder."""
        self._shard.close()
        os.close(self._lock)

    def _optimize(self) -> None:
        self._shard.optimize()
        self._optimized_at = self.count()


def _config(edge: Any, settings: dict[str, Any]) -> Any:
    dimension = int(settings["dimension"])
    # The engine counts in kilobytes of vectors.
    exact = max(1, int(settings["exact_up_to"]) * dimension * 4 // 1024)
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Dot),
        # Graphs of an owner's points alone: nobody searches them all.
        hnsw_config=edge.HnswIndexConfig(
            m=0,
            payload_m=int(settings["m"]),
            ef_construct=int(settings["ef_construct"]),
            full_scan_threshold=exact,
        ),
        # Whatever was deleted makes its segment one to be rewritten, however little it is.
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=1e-12, vacuum_min_vector_number=1, indexing_threshold=exact
        ),
        # A log of writes would keep what was erased; `flush` makes a batch durable without one.
        wal_enabled=False,
    )


def _floats(data: bytes) -> list[float]:
    numbers = array("f")
    numbers.frombytes(data)
    return numbers.tolist()


def _lock(path: Path, seconds: float) -> int:
    """Take the folder, waiting for a process that is about to end. Raises `Locked`."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + seconds
    while not _taken(held):
        if time.monotonic() > end:
            who = os.read(held, 200).decode(errors="replace")
            os.close(held)
            raise Locked(who or "another process")
        time.sleep(0.02)
    os.ftruncate(held, 0)
    who = json.dumps({"pid": os.getppid(), "host": socket.gethostname()})
    os.write(held, who.encode())
    return held


def _taken(held: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            os.lseek(held, 1 << 20, os.SEEK_SET)  # a byte that nobody reads
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        finally:
            os.lseek(held, 0, os.SEEK_SET)
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parent_lives(pipe: BinaryIO, parent: int) -> bool:
    """Wait for a request; False when the parent is gone, whoever else holds the pipe's end."""
    if os.name != "posix":
        return True
    while not select.select([pipe], [], [], _PARENT_SECONDS)[0]:
        if os.getppid() != parent:
            return False
    return os.getppid() == parent


def _answer(shard: Shard | None, request: tuple[str, tuple[Any, ...]]) -> tuple[Shard | None, Any]:
    """(the shard from now on, what the request came to)."""
    name, arguments = request
    if name == "open":
        return Shard(*arguments), None
    if shard is None:
        raise RuntimeError("the shard is not open")
    result = getattr(shard, name)(*arguments)
    return (None if name == "close" else shard), result


def main() -> None:
    """Answer requests until the pipe ends."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not get among the replies
    parent, shard = os.getppid(), None
    with contextlib.suppress(EOFError, BrokenPipeError):
        sys.path[:] = receive(requests)
        while _parent_lives(requests, parent):
            request = receive(requests)
            try:
                shard, result = _answer(shard, request)
            except BaseException as error:  # a panic of the engine's is no Exception
                send(replies, (FAILED, type(error).__name__, str(error)))
                if not isinstance(error, Exception):
                    raise
            else:
                building = request[0] == "put" and shard is not None and shard.due
                send(replies, (BUILDING if building else DONE, result, ""))
                if building and shard is not None:
                    shard.build()
                    send(replies, (DONE, None, ""))
    if shard is not None:
        shard.close()


if __name__ == "__main__":
    main()
