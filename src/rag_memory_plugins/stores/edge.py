"""`EdgeStore`: qdrant-edge beside the log, Qdrant's engine on a folder of this machine.

The data's way: `aput` -> one thread of the store -> a pipe -> the process that owns the shard
(`edge_process.py`) -> `update` and `flush` -> acknowledged -> graphs, when they are due. Searches
have a thread of their own and the same pipe: several at once would be no quicker. A shard holds
one embedder's vectors of all tenants; a point is an id (`stores.points.point_id`), a vector, and
hashes of its owner and its session. No text and no name gets into the folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import secrets
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from rag_memory_plugins.errors import (
    ForkedProcess,
    InvalidInput,
    MissingExtra,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from rag_memory_plugins.portal import Portal, Threads, blocking, get_portal, strict
from rag_memory_plugins.stores import edge_process
from rag_memory_plugins.stores.mirroring import MARK
from rag_memory_plugins.stores.points import owner_key, point_id, seqs_of

if TYPE_CHECKING:
    from rag_memory_plugins.namespace import Scope
    from rag_memory_plugins.ports import Point, RemovedPoint, Vectors

__all__ = ["EdgeStore"]

CLOSE_SECONDS: Final = 10.0
"""How long a process may take to close its shard; a graph that is built is then given up."""
SEARCH_SECONDS: Final = 1.0
"""How long a search waits for a graph that is built, or a segment that is rewritten."""
CHANGE_SECONDS: Final = 600.0


class EdgeStore:
    """A `ports.VectorStore` on a folder: the `index=` of `open_memory`.

    For users with more messages than numpy compares in time. A user with up to `exact_up_to` vectors
    is searched exactly; one with more by a graph of their own, of `m` edges a node, built with
    `ef_construct` candidates and searched with `ef_search`: more of each finds more, and costs more
    time (`python -m benchmarks edge_settings`).

    One process at a time has the folder, from the first use on; another's use raises `StoreLocked`
    after `lock_seconds`, so its searches go on by keywords and say so. So do searches while a graph
    is built (`build_s` of the benchmark): when a quarter as many vectors were added, at least
    `exact_up_to`. The engine runs in a process of its own, which ends with this one.

    What `aput` and `aremove` did is on the disk when they return. The engine keeps no log of writes
    (it would hold what was erased) and flushes every batch instead: some tens of milliseconds.
    After `aremove` the bytes of what was removed are in no file of the folder, because each segment
    that held some is written anew, once a call, however many it removes (`remove_s`).

    `name` tells it from other stores when a memory is opened again: a store under a new name gets
    all vectors again, and so does one whose folder was deleted.

    Raises `MissingExtra` without qdrant-edge-py, `InvalidInput` for settings out of range; its
    methods `StoreLocked`, `StoreClosed`, `StoreFull`, `StoreReadOnly`, `StoreCorrupt` or another
    `StoreError`, and `ForkedProcess` in a fork of the process that used it.

    >>> import tempfile
    >>> from rag_memory_plugins import open_memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = EdgeStore(f"{folder.name}/vectors")
    >>> with open_memory(f"{folder.name}/memory.db", index=store) as memory:
    ...     _ = memory.conversation("acme", "ann", "monday").add("Lisbon, in May")
    ...     memory.settle()
    0
    >>> store.close()
    >>> folder.cleanup()
    """

    @strict
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        m: int = 16,
        ef_construct: int = 128,
        ef_search: int = 256,
        exact_up_to: int = 20_000,
        lock_seconds: float = 2.0,
        name: str = "qdrant-edge",
    ) -> None:
        if importlib.util.find_spec("qdrant_edge") is None:
            raise MissingExtra("qdrant-edge", "EdgeStore")
        if not isinstance(name, str) or not name or MARK in name:
            raise InvalidInput("name", name, f"pass a name, a str without {MARK!r}")
        for field, number, least, most in (
            ("m", m, 4, 128),
            ("ef_construct", ef_construct, 4, 4096),
            ("ef_search", ef_search, 1, 65_536),
            ("exact_up_to", exact_up_to, 1, 10**9),
        ):
            if not isinstance(number, int) or not least <= number <= most:
                raise InvalidInput(field, number, f"pass a whole number from {least} to {most}")
        self._name, self._mark = name, ""
        self.path = Path(path).expanduser().absolute()
        self._settings = {
            "m": m,
            "ef_construct": ef_construct,
            "ef_search": ef_search,
            "exact_up_to": exact_up_to,
            "lock_seconds": float(lock_seconds),
        }
        self._log = ""
        self._folder = ""
        self._closed = False
        self._one = threading.Lock()
        self._side: _Side | None = None
        self._changing: Threads | None = None
        self._searching: Threads | None = None

    def __repr__(self) -> str:
        return f"EdgeStore({str(self.path)!r}{', closed' if self._closed else ''})"

    @property
    def name(self) -> str:
        """What it is called, and behind "#" the mark its folder was made with."""
        return f"{self._name}{MARK if self._mark else ''}{self._mark}"

    @property
    def portal(self) -> Portal:
        """Where the sync `close` waits."""
        return get_portal()

    async def aopen(self, log: str, fingerprint: str, dimension: int) -> None:
        """Begin to serve a log; the folder is opened on first use.

        Raises `InvalidInput` when it serves another log.
        """
        self._check()
        if self._log not in ("", log):
            remedy = "it serves a memory already; make an EdgeStore with a folder of its own"
            raise InvalidInput("index", self.name, remedy)
        self._log = log
        self._settings["dimension"] = dimension
        # The name is for people, the hash keeps apart what differs in case or form alone.
        word = re.sub(r"[^a-z0-9]+", "-", fingerprint.lower())[:40].strip("-")
        folder = self.path / f"{word}-{_short(fingerprint)}"
        self._folder = str(folder)
        self._mark = await self.portal.acompute(lambda: _mark_of(folder))

    async def aput(self, points: Sequence[Point]) -> None:
        """Keep points, on the disk; a point put again takes its own place."""
        rows = []
        for point in points:
            owner, session = self._owner(point.scope), self._session(point.scope, point.session)
            for piece, vector in enumerate(point.vectors):
                name = point_id(self._log, point.scope, point.seq, piece)
                rows.append((name, owner, session, vector.astype("<f4").tobytes()))
        await self._ask("put", rows)

    async def anearest(
        self, scope: Scope, text: str, vector: Vectors, limit: int, session: str | None = None
    ) -> list[int]:
        """Seqs of about `limit` points of the scope, or of one session, best first, each once."""
        wanted = None if session is None else self._session(scope, session)
        data = vector.astype("<f4").tobytes()
        found = await self._ask("nearest", self._owner(scope), wanted, data, limit)
        seqs, foreign = seqs_of(found, self._log, scope)
        if foreign:
            raise StoreCorrupt(
                f"{self.name}: {foreign} of {len(found)} points that {self._folder} gave for a user "
                "are not theirs, so none is used; delete the folder and rebuild the memory"
            )
        return seqs

    async def aremove(self, points: Sequence[RemovedPoint]) -> None:
        """Let go of points: their bytes are off the disk; those it does not hold are no error."""
        names = [
            point_id(self._log, point.scope, point.seq, piece)
            for point in points
            for piece in range(point.pieces)
        ]
        if names:
            await self._ask("remove", names)

    async def aclose(self) -> None:
        """Free the folder. May be called twice."""
        self._check_process()
        self._closed = True
        changing, searching = self._changing, self._searching
        self._changing = self._searching = None
        if searching is not None:
            searching.close()
        if changing is not None:
            try:
                await changing.run(self._end)
            finally:
                changing.close()

    close = blocking(aclose)

    def _owner(self, scope: Scope) -> str:
        return _short(owner_key(self._log, scope))

    def _session(self, scope: Scope, session: str) -> str:
        # A scope's key ends at its first line break, which no name may hold.
        return _short(f"{owner_key(self._log, scope)}\n{session}")

    def _check_process(self) -> None:
        if self._side is not None and self._side.pid != os.getpid():
            raise ForkedProcess(
                f"{self!r} was used in process {self._side.pid} and is now used in its fork "
                f"{os.getpid()}, which may not have the folder too; use the store in one process"
            )

    def _check(self) -> None:
        self._check_process()
        if self._closed:
            raise StoreClosed(f"{self!r} was closed; make a new EdgeStore")

    async def _ask(self, what: str, *arguments: object) -> Any:
        """What the shard's process answers. Raises `StoreError`, `ForkedProcess`."""
        self._check()
        if not self._folder:
            raise StoreError(f"{self!r} serves no memory yet: pass it to open_memory as index=")
        if self._changing is None or self._searching is None:
            self._changing = Threads(1, "rag-memory-edge")
            self._searching = Threads(1, "rag-memory-edge-search")
        thread = self._searching if what == "nearest" else self._changing
        return await thread.run(lambda: self._asked(what, arguments))

    def _asked(self, what: str, arguments: tuple[object, ...]) -> Any:
        """Ask the shard's process, once it is free; in one of the threads."""
        end = time.monotonic() + (SEARCH_SECONDS if what == "nearest" else CHANGE_SECONDS)
        while (left := end - time.monotonic()) > 0 and self._one.acquire(timeout=left):
            try:
                side = self._started()
                if side.free:
                    return side.ask(what, arguments)
            finally:
                self._one.release()
            time.sleep(0.01)  # without the lock, so that a search is not kept by a change
        raise StoreLocked(
            f"{self.name}: {self._folder} is busy with graphs or with an erase; searches go on by "
            "keywords until that is done"
        )

    def _started(self) -> _Side:
        """The shard's process, started when there is none, or none any more."""
        if self._closed:
            raise StoreClosed(f"{self!r} was closed; make a new EdgeStore")
        if self._side is None or not self._side.alive:
            side = _Side(self.name, self._folder)
            try:
                side.ask("open", (self._folder, self._settings))
            except BaseException:
                side.end()
                raise
            self._side = side
        return self._side

    def _end(self) -> None:
        with self._one:
            side, self._side = self._side, None
            if side is not None:
                side.end()


class _Side:
    """The process that has the folder, as its parent sees it."""

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder
        self.pid = os.getpid()
        command = [sys.executable, str(Path(edge_process.__file__))]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, a file of ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise StoreError(f"{name}: its process could not be started ({error})") from error
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._replies = cast("IO[bytes]", self._process.stdout)
        # Dropped without being closed, and at exit: the process ends when its pipe does.
        self._finalizer = weakref.finalize(self, _ended, self._process)
        self._building = False
        self._send([item for item in sys.path if item])

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def free(self) -> bool:
        """Whether a question is answered at once: no graph is being built."""
        if self._building and (os.name != "posix" or select.select([self._replies], [], [], 0)[0]):
            self._receive()
        return not self._building

    def ask(self, what: str, arguments: tuple[object, ...]) -> Any:
        """One request and its answer. Raises `StoreError`."""
        self._send((what, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            state, result, text = edge_process.receive(self._replies)  # type: ignore[arg-type]
        except (EOFError, OSError) as error:
            raise self._gone() from error
        self._building = state == edge_process.BUILDING
        if state == edge_process.FAILED:
            raise _mapped(self.name, self.folder, result, text)
        return result

    def end(self) -> None:
        """Let the process close the shard and end; what it was asked before is done first."""
        self._finalizer()

    def _send(self, value: object) -> None:
        try:
            edge_process.send(self._requests, value)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _gone(self) -> StoreError:
        self.end()
        return StoreError(
            f"{self.name}: the process of {self.folder} ended with code {self._process.poll()}; "
            "the next call starts it again"
        )


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Close a process's pipes and wait for it."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # it went first: what was buffered has nobody to read it
                continue
    try:
        process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _mapped(name: str, folder: str, kind: str, text: str) -> StoreError:
    """A failure of the shard's process as an error of ours.

    The engine's errors have no classes: all are `Exception`, told apart by their text.
    """
    text = text[:300]
    if kind == "Locked":
        return StoreLocked(
            f"{name}: {folder} is open in {text}; one process at a time can have it: close the "
            "other, give this one a folder of its own, or use a Qdrant server for several"
        )
    low = text.lower()
    if "no space left" in low or "quota" in low:
        return StoreFull(f"{name}: no room for {folder} ({text}); free some and try again")
    if kind == "PermissionError" or "permission denied" in low or "read-only" in low:
        return StoreReadOnly(f"{name}: {folder} cannot be written ({text}); change its owner")
    if any(word in low for word in ("incompatible", "corrupt", "failed to load", "deserialize")):
        return StoreCorrupt(
            f"{name}: {folder} cannot be read ({text}); delete the folder and call "
            "memory.rebuild(): all of it is in the log"
        )
    return StoreError(f"{name}: {folder}: {kind}: {text}")


def _mark_of(folder: Path) -> str:
    """The mark a folder was made with; another one when it is not there, or not any more.

    The log then knows that this is no store that it has filled, and puts everything again.
    """
    place = folder.with_name(f"{folder.name}.mark")
    if folder.is_dir() and place.is_file():
        return place.read_text(encoding="utf-8")
    mark = secrets.token_hex(8)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(mark, encoding="utf-8")
    except OSError:
        return ""  # its first use tells what is wrong with the folder
    return mark


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
