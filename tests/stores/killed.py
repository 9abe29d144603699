"""A writer in a process of its own that is killed at some moment, with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

WRITER = """
import sys, time
from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.testing.fakes import WordEmbedder
log, folder, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("begun", flush=True)
store = None
if folder:
    from rag_memory_plugins.stores.edge import EdgeStore
    store = EdgeStore(folder, exact_up_to=100)
memory = open_memory(log, embedder=WordEmbedder(), index=store, busy_timeout=2)
print("open", flush=True)
ann = memory.conversation("acme", "ann", "monday")
while True:
    size = 1 + number % 3
    batch = range(number, number + size)
    while True:
        try:
            ann.add([Message("user", f"turn {n} of the piano {n % 7}", id=f"m{n}") for n in batch])
            break
        except StoreError:  # as a client would: again, with the same ids
            time.sleep(0.02)
    number += size
    print(number, flush=True)
    try:
        if folder:
            memory.settle(5)
    except StoreError:
        pass
"""
"""Writes m0, m1, ... and says how many are acknowledged; begins by sending the last batch that may
have been in flight again, as a client would. Its arguments: the log, a folder for qdrant-edge or
"", and the number to begin with."""


def write_until_killed(log, folder, start, since, delay, meanwhile=None):
    """How many messages were acknowledged before SIGKILL.

    It comes `delay` seconds after the writer said `since`; `meanwhile` runs just before it.
    """
    command = [sys.executable, "-c", WRITER, str(log), str(folder), str(start)]
    acknowledged, timer = start, None

    def kill():
        if meanwhile is not None:
            meanwhile()
        with suppress(ProcessLookupError):  # it ended by itself: the server was not there to open
            os.killpg(process.pid, signal.SIGKILL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in process.stdout:
            if timer is None and line.strip() == since:
                timer = threading.Timer(delay, kill)
                timer.start()
            if line.endswith("\n") and line.strip().isdigit():
                acknowledged = int(line)
    assert timer is not None, "the writer ended before it was killed"
    timer.join()
    return acknowledged
