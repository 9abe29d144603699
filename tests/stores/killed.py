"""Writers of one conversation that are killed at some moment, with all that they started."""

from __future__ import annotations

from tests.stores.forks import Writers

WRITER = """
log, folder, number = arguments
print("begun", flush=True)
store = EdgeStore(folder, exact_up_to=100) if folder else None
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
    if folder:
        with suppress(StoreError):
            memory.settle(5)
"""
"""Writes m0, m1, ... and says how many are acknowledged; begins by sending the last batch that may
have been in flight again, as a client would. Its arguments: the log, a folder for qdrant-edge or
"", and the number to begin with."""

IMPORTS = """
import time
from contextlib import suppress
from rag_memory_plugins.errors import StoreError
"""
IMPORTS_OF_ENGINES = """
import psycopg, sqlalchemy.dialects.postgresql.psycopg
import rag_memory_plugins.stores.postgres
from rag_memory_plugins.stores.edge import EdgeStore
"""


def killed_writers(engines: bool = False) -> Writers:
    """What forks writers: `acknowledged_until_killed(log, folder, start, since=, delay=)`."""
    return Writers(WRITER, IMPORTS + (IMPORTS_OF_ENGINES if engines else ""))
