"""The words of the scenarios, read from the text files beside this module, and how they are said.

A file has sections, `[name]` on a line of its own, with one entry a line. In prose `[this|that]`
is one of several, nested if need be, and `@field` is filled in. `[slot NAME KIND]` opens what can
be decided about a subject; its lines begin with `+` (the user says it), `&` (said in passing), `~`
(the assistant proposes it), `#` (a line of code, configuration or log that holds it) or `?` (a
question about it). Blocks of code have no `[this|that]`, and `@@` is a plain `@` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["SCENARIOS", "Slot", "Vocabulary", "blocks", "filled", "said", "vocabulary"]

SCENARIOS: Final = ("ui", "code", "support")
HEADER: Final = re.compile(r"\[([a-z ]+)\]")
CHOICE: Final = re.compile(r"\[([^\[\]|]*(?:\|[^\[\]|]*)+)\]")
NAMES: Final = (
    "s v noun nouns noun1 nouns1 noun2 nouns2 Noun1 Noun2 adj adj1 adj2 verb verb1 verb2 Verb "
    "person city num digit big hash day camel Camel kebab snake UPPER name"
).split()
FIELD: Final = re.compile(rf"@(@|{'|'.join(sorted(NAMES, key=len, reverse=True))})")
MARKS: Final = {"+": "told", "&": "passing", "~": "proposed", "#": "code", "?": "asked"}


@dataclass(frozen=True)
class Slot:
    """Something that can be decided about a subject, and every way to speak of it."""

    name: str
    kind: str
    told: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Vocabulary:
    """One scenario's subjects (each by three names), slots, and sections of sentences."""

    name: str
    subjects: list[tuple[str, ...]]
    slots: list[Slot]
    sections: Mapping[str, list[str]]


@cache
def vocabulary(name: str) -> Vocabulary:
    """The words of a scenario, those that all share among its sections."""
    sections = {**_sections("common"), **_sections(name)}
    subjects = [tuple(line.split(" | ")) for line in sections.pop("subjects")]
    slots = [
        _slot(title, sections.pop(title)) for title in list(sections) if title.startswith("slot ")
    ]
    return Vocabulary(name, subjects, slots, sections)


def _slot(title: str, lines: list[str]) -> Slot:
    _, name, kind = title.split()
    slot = Slot(name, kind)
    for line in lines:
        getattr(slot, MARKS[line[0]]).append(line[2:])
    return slot


def _sections(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _lines(name):
        header = HEADER.fullmatch(line)
        if header:
            lines = found[header[1]] = []
        elif line:
            lines.append(line)
    return found


@cache
def blocks() -> Mapping[str, list[str]]:
    """Blocks of code and the like by kind; an indented line after a blank one goes on with it."""
    found: dict[str, list[str]] = {}
    some: list[str] = []
    blank = True
    for line in _lines("blocks"):
        header = HEADER.fullmatch(line)
        if header:
            some = found[header[1]] = []
            blank = True
        elif not line:
            blank = True
        elif blank and not line.startswith(" "):
            some.append(line)
            blank = False
        else:
            some[-1] += f"\n\n{line}" if blank else f"\n{line}"
            blank = False
    return found


def _lines(name: str) -> list[str]:
    return (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def said(random: Random, text: str, fields: Mapping[str, str]) -> str:
    """A sentence with its choices made and its fields filled in."""
    while (choice := CHOICE.search(text)) is not None:
        picked = random.choice(choice[1].split("|"))
        text = text[: choice.start()] + picked + text[choice.end() :]
    return filled(text, fields)


def filled(text: str, fields: Mapping[str, str]) -> str:
    """`text` with every `@field` filled in."""
    return FIELD.sub(lambda match: fields[match[1]], text)
