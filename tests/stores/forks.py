"""Processes by the dozen, each forked from one that has imported everything and opened nothing.

A start of Python with its imports costs ten times what such a process does, and is not what is
tested. What a process opens, threads and connections and locks, is its own and ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from typing_extensions import Self

# Forks one writer a line of standard input, and says "ended" once it is gone.
STARTER = """
import json, os, sys, traceback
{imports}

def write(*arguments):
{writer}

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.setsid()
        print("pid", os.getpid(), flush=True)
        try:
            write(*json.loads(line))
        except BaseException:
            traceback.print_exc()
        os._exit(1)  # never on to the starter's own loop
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""

# What opening a memory and the first write import.
IMPORTS = """
import sqlite3
from pathlib import Path
import numpy, sqlalchemy.dialects.sqlite.pysqlite
import rag_memory_plugins.memory.folding, rag_memory_plugins.memory.memory
import rag_memory_plugins.stores.flat, rag_memory_plugins.stores.mirrored
import rag_memory_plugins.stores.rows, rag_memory_plugins.stores.sqlite
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.testing.fakes import WordEmbedder
"""


# Each child goes on after the loop with its own number; the first process waits for all.
SPREAD = """
import os, sys
{imports}
number = next((number for number in range({count}) if not os.fork()), None)
if number is None:
    ended = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range({count})]
    print(ended, file=sys.stderr)
    sys.exit(any(ended))
os.dup2(os.open(os.path.join(sys.argv[1], str(number)), os.O_WRONLY | os.O_CREAT), 1)
{program}
"""


def said_by(
    count: int, program: str, *arguments: str, imports: str, folder: Path, seconds: float = 120
) -> list[str]:
    """What each of `count` processes prints that run `program` at once; all must end well.

    A program has its `number`, and `arguments` from `sys.argv[2]` on; `folder` is an empty one.
    """
    code = SPREAD.format(imports=imports, count=count, program=program)
    command = [sys.executable, "-c", code, str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    return [(folder / str(number)).read_text(encoding="utf-8") for number in range(count)]


class Writers:
    """`writer` is the body of a function of `arguments` that says every number it acknowledged."""

    def __init__(self, writer: str, imports: str = "") -> None:
        body = "".join(f"    {line}\n" for line in writer.strip().splitlines())
        code = STARTER.format(imports=IMPORTS + imports, writer=body)
        self._starter = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._starter.kill()  # a writer that is left ends with its first line into the pipe
        with self._starter:
            self._starter.stdin.close()
        assert kind is not None or self._starter.returncode == 0

    def acknowledged_until_killed(
        self,
        *arguments: object,
        since: str,
        delay: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> int | None:
        """The last number said before SIGKILL took the writer and all it had started.

        It comes `delay` seconds after the writer said `since`; `meanwhile` runs just before it.
        """

        def kill() -> None:
            meanwhile()
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(pid, signal.SIGKILL)

        self._starter.stdin.write(json.dumps(arguments) + "\n")
        self._starter.stdin.flush()
        number = pid = timer = None
        while not (line := self._starter.stdout.readline()).endswith("ended\n"):  # "12ended", too
            assert line, "the process that forks the writers is gone"
            said = line.strip()
            if said.startswith("pid "):
                pid = int(said[4:])
            if said == since and timer is None:
                timer = threading.Timer(delay, kill)
                timer.start()
            if said.isdigit():
                number = int(said)
        assert timer is not None, f"a writer ended before it said {since!r}"
        timer.join()
        return number
