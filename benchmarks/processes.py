"""Memory and processor time of processes with all that they started; from /proc, so on Linux alone.

Only the standard library: processes that have another environment run this too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["MEASURES", "cpu_seconds", "resident_mb", "tree"]

MEASURES: Final = sys.platform == "linux"
"""Whether this system tells."""


def tree(pids: Iterable[int]) -> set[int]:
    """These processes with all their descendants."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        for task in Path(f"/proc/{pid}/task").glob("*"):
            waiting += map(int, _read(task / "children").split())
    return found


def resident_mb(pids: Iterable[int]) -> float:
    """Megabytes in memory; a page that several processes share is divided among them."""
    total = 0
    for pid in tree(pids):
        for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time, in steps of a hundredth of a second."""
    ticks = 0
    for pid in tree(pids):
        # The name before the last parenthesis may hold anything.
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    """A file of /proc; empty when its process has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
