"""A meeting of three hours, ingested with its facts and without a model: how long that takes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.opening import open_memory

if TYPE_CHECKING:
    from benchmarks.report import Report

__all__ = ["measure", "meeting"]

FIRST: Final = ("Ann", "Bob", "Carla", "Dev", "Eve", "Farid")
LAST: Final = ("Lee", "Kim", "Novak", "Okafor", "Silva")
STARS: Final = (
    "Atlas Borealis Cygnus Dorado Eridanus Fornax Gemini Hydra Indus Lyra Mensa Norma Orion Pavo "
    "Pyxis Sagitta Taurus Vela Virgo Volans Altair Castor Deneb Electra Maia Mira Nashira Rigel "
    "Spica Vega"
).split()
STATES: Final = ("in review", "shipped", "blocked", "on hold", "delayed", "in testing", "done")
CITIES: Final = ("Lisbon", "Porto", "Oslo", "Rome", "Lima", "Cairo")
TALK: Final = (
    "I think we should look at the numbers again before Thursday, because the sprint was short.",
    "Right, that makes sense to me.",
    "Could you share the document after the call? I did not find it in the folder.",
    "Let me check the dashboard, one second, it takes a while to load.",
    "So the queue filled up, and nobody noticed until the alerts fired at the weekend.",
)
SECONDS: Final = 4.32
"""From one turn to the next: 2,500 in three hours."""


def meeting(turns: int, seed: int) -> str:
    """A WebVTT file of 30 people who speak of 30 projects, among much else."""
    random = Random(seed)
    people = [f"{first} {last}" for first in FIRST for last in LAST]
    lines = ["WEBVTT", "", "NOTE Date: 2026-05-08 14:30", ""]
    for number in range(turns):
        begin, end = (_stamp(number * SECONDS + after) for after in (0.0, 3.5))
        lines += [f"{begin} --> {end}", f"<v {random.choice(people)}>{_said(random)}</v>", ""]
    return "\n".join(lines)


def _said(random: Random) -> str:
    project = f"Project {random.choice(STARS)}"
    kind = random.random()
    if kind < 0.12:
        return f"{project} is now {random.choice(STATES)}."
    if kind < 0.18:
        return f"I live in {random.choice(CITIES)}."
    if kind < 0.24:
        return f"The deadline for {project} is June {random.randint(1, 28)}."
    if kind < 0.28:
        return f"Actually, I prefer {random.choice(('tea', 'coffee', 'water'))}."
    return random.choice(TALK)


def _stamp(seconds: float) -> str:
    whole = round(seconds * 1_000)
    hours, rest = divmod(whole, 3_600_000)
    return f"{hours:02}:{rest // 60_000:02}:{rest // 1_000 % 60:02}.{rest % 1_000:03}"


def measure(report: Report, folder: Path, turns: int, seed: int) -> None:
    """Ingest, read facts, ingest again; without an embedder, as the goal is beyond embedding."""
    path = folder / "meeting.vtt"
    path.write_text(meeting(turns, seed), encoding="utf-8")
    options = {"embedder": None, "facts": "rules", "background": False}
    with open_memory(folder / "meeting.db", **options) as memory:  # type: ignore[arg-type]
        started = perf_counter()
        done = memory.ingest(path, "benchmark", "team")
        stored = perf_counter()
        count = memory.read_facts()
        read = perf_counter()
        again = memory.ingest(path, "benchmark", "team")
        entities = memory.conversation("benchmark", "team", done.session).entities.all()
    report.put("talk_turns", done.turns)
    report.put("talk_facts", count)
    report.put("talk_entities", len(entities))
    report.put("talk_stored_seconds", stored - started)
    report.put("talk_seconds", read - started)
    report.put("talk_new_again", again.new)
