"""Long conversations with questions and their evidence, read from a file of LoCoMo's shape.

A list of `{"sample_id", "conversation", "qa"}`. A conversation holds `speaker_a`, `speaker_b`, and
for every N a list `session_N` of turns `{"speaker", "dia_id", "text", "blip_caption"?}` beside its
`session_N_date_time` ("1:56 pm on 8 May, 2023"). A question holds `question`, `category`,
`evidence` (ids of turns, sometimes several in one string) and, if audited, `bad_citation`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.report import BadData
from rag_memory_plugins import Message

__all__ = ["Question", "Talk", "read"]

TURN_ID: Final = re.compile(r"D\d+:\d+")
SESSION: Final = re.compile(r"session_\d+")
DATE: Final = "%I:%M %p on %d %B, %Y"


@dataclass(frozen=True)
class Question:
    """A question, its category, and the ids of the turns that answer it; at least one."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True)
class Talk:
    """One conversation: its sessions' messages in order, and what is asked about them."""

    name: str
    sessions: Mapping[str, list[Message]]
    questions: list[Question]

    @property
    def turns(self) -> dict[str, Message]:
        """Every message by its id."""
        return {m.id: m for messages in self.sessions.values() for m in messages}

    @property
    def session_of(self) -> dict[str, str]:
        """The session of every message, by the message's id."""
        return {m.id: name for name, messages in self.sessions.items() for m in messages}


def read(path: str) -> list[Talk]:
    """The conversations of a file. Raises `BadData`, naming the file and what is wrong."""
    try:
        items = json.loads(Path(path).read_text(encoding="utf-8"))
        return [_talk(item) for item in items]
    except OSError as error:
        raise BadData(f"--data: {path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise BadData(f"--data: {path} is not of LoCoMo's shape: no field {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadData(f"--data: {path} is not of LoCoMo's shape: {error}") from error


def _talk(item: Mapping[str, Any]) -> Talk:
    conversation = item["conversation"]
    names = [key for key in conversation if SESSION.fullmatch(key)]
    sessions = {
        name: _session(conversation, name)
        for name in sorted(names, key=lambda name: int(name.partition("_")[2]))
    }
    known = {message.id for messages in sessions.values() for message in messages}
    asked = (_question(qa, known) for qa in item["qa"] if not qa.get("bad_citation"))
    return Talk(item["sample_id"], sessions, [question for question in asked if question.evidence])


def _session(conversation: Mapping[str, Any], name: str) -> list[Message]:
    date = datetime.strptime(f"{conversation[f'{name}_date_time']} +0000", f"{DATE} %z")
    return [
        Message(
            "user" if turn["speaker"] == conversation["speaker_a"] else "assistant",
            _content(turn),
            id=turn["dia_id"],
            name=turn["speaker"],
            time=date,
        )
        for turn in conversation[name]
    ]


def _content(turn: Mapping[str, Any]) -> str:
    caption = turn.get("blip_caption")
    return f"{turn['text']} [image: {caption}]" if caption else str(turn["text"])


def _question(qa: Mapping[str, Any], known: set[str]) -> Question:
    cited = (turn for text in qa["evidence"] for turn in TURN_ID.findall(text))
    # A citation of no turn cannot be found by anybody and would only lower every figure alike.
    return Question(qa["question"], int(qa["category"]), frozenset(cited) & known)
