"""Messages and summary lines as statements: sentence by sentence, in one line each.

Pure functions, none of which reads a message twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rag_memory_plugins.memory import cues, rendering
from rag_memory_plugins.memory.statement import GENERIC, MARK, Statement, is_greeting, worth_of
from rag_memory_plugins.retrieval.lexical import terms_of
from rag_memory_plugins.retrieval.sentences import sentences
from rag_memory_plugins.types import Message

if TYPE_CHECKING:
    from rag_memory_plugins.ports import TokenCounter
    from rag_memory_plugins.results import SummaryLine

__all__ = ["clipped", "of_lines", "of_messages", "sayable", "united"]

SENTENCE_TOKENS: Final = 40
READ: Final = 20_000
"""Characters read of one message, two thirds from its beginning; the log has the rest."""
PER_MESSAGE, PER_TOOL = 48, 3
"""Statements of one message, and of one tool result."""
MOST_IDS: Final = 8
"""Ids of one line: the first and the newest, so that what is said daily does not grow."""

_FENCED: Final = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_WRAPPED: Final = re.compile(r"(?<=[a-z,;]) *\n *(?=[a-z])")
_BULLET: Final = re.compile(r"^\s*(?:[-*\u2022>#]+|\d{1,2}[.)])\s+")
_SPEAKER: Final = re.compile(r"^([^:\n]{1,60}): (?=\S)")
_NOTE: Final = re.compile(r" \[(was|[^\[\]:]{1,60}): ([^\[\]]*)\]$")


def sayable(message: Message) -> bool:
    """Whether somebody said it: not a system message, nor what we put into a prompt."""
    return message.role != "system" and rendering.MARK not in message.metadata


def of_lines(lines: Sequence[SummaryLine], assistants: frozenset[str]) -> list[Statement]:
    """Lines of an earlier summary; `assistants` are names that assistants go by."""
    return [_of_line(line, assistants) for line in lines]


def _of_line(line: SummaryLine, assistants: frozenset[str]) -> Statement:
    text = " ".join(line.text.split())
    found = _SPEAKER.match(text)
    speaker = found[1] if found else ""
    by = (
        "assistant" if speaker in assistants else "tool" if f"{speaker} "[:5] == "tool " else "user"
    )
    said = text[found.end() :] if found else text
    noted = _NOTE.search(said)
    note = (noted[1], noted[2]) if noted else ("", "")
    body = said[: noted.start()] if noted else said
    made = Statement(text, line.time, line.ids, by, 0.0, True, speaker, body, note)
    return replace(made, worth=worth_of(made))


def of_messages(messages: Sequence[Message], counter: TokenCounter) -> list[Statement]:
    """What was said, sentence by sentence; greetings and thanks are left out.

    A proposal of the assistant that the user takes up stands with the user's words beside it; one
    that is turned down is left out.
    """
    found: list[Statement] = []
    proposals: list[int] = []
    for message in messages:
        if not sayable(message):
            continue
        said = _said(message, counter)
        if message.role == "user" and proposals:
            found, taken = _answered(found, proposals, message, counter)
            said = [] if taken else said
        if message.role != "tool":
            proposals = []
        if message.role == "assistant":
            asked = (cues.PROPOSAL.search(item.folded) for item in said)
            proposals = [len(found) + at for at, proposed in enumerate(asked) if proposed]
        found += said
    return found


def _answered(
    found: list[Statement], proposals: Sequence[int], answer: Message, counter: TokenCounter
) -> tuple[list[Statement], bool]:
    """(statements after the answer to the last proposal, whether the answer is told with it)."""
    words = " ".join(answer.content.split())
    folded = words.casefold()
    if cues.REJECT.match(folded):
        return [item for at, item in enumerate(found) if at not in proposals], False
    at = proposals[-1]
    own = frozenset(terms_of(words)) - GENERIC - found[at].terms
    if not cues.ACCEPT.match(folded) or len(words.split()) > 12 or len(own) > 1:
        return found, False  # "OK. The cake must be lemon." takes nothing up
    note = (answer.speaker[:60], clipped(words, 12, counter).translate(_PLAIN))
    item = replace(found[at], note=note, text=f"{found[at].text} [{note[0]}: {note[1]}]")
    item = replace(item, ids=united(item.ids, (answer.id,)), time=max(item.time, answer.time))
    return [*found[:at], replace(item, worth=worth_of(item)), *found[at + 1 :]], True


_PLAIN: Final = str.maketrans("[]", "()")


def _said(message: Message, counter: TokenCounter) -> list[Statement]:
    speaker = " ".join(message.speaker.split())
    if message.role == "tool":
        speaker = f"tool {speaker}" if message.name else "tool"
    by = "tool" if message.role == "tool" else message.role
    made = []
    for sentence in _sentences(message):
        body = clipped(sentence, SENTENCE_TOKENS, counter, around=_telling(sentence))
        text = f"{speaker}: {body}"
        item = Statement(text, message.time, (message.id,), by, 0.0, False, speaker, body)
        if not is_greeting(item):
            made.append(replace(item, worth=worth_of(item)))
    most = PER_TOOL if by == "tool" else PER_MESSAGE
    best = set(sorted(range(len(made)), key=lambda at: -made[at].worth)[:most])
    return [item for at, item in enumerate(made) if at in best]


def _sentences(message: Message) -> Iterator[str]:
    """Sentences of a message in one line each: a list's with the line above it, code as one."""
    text = message.content
    if len(text) > READ:
        text = f"{text[: READ * 2 // 3]}\n{text[-READ // 3 :]}"
    lead = waiting = ""
    for line in _WRAPPED.sub(" ", _FENCED.sub(_code_line, text)).splitlines():
        bullet = _BULLET.match(line)
        plain = line[bullet.end() :] if bullet else line
        if not plain.strip():
            continue
        if not bullet:
            if waiting:
                yield waiting
            lead = waiting = " ".join(plain.split()) if _leads(plain) else ""
            if lead:
                continue
        waiting = ""
        for start, end in sentences(plain):
            if sentence := " ".join(plain[start:end].split()):
                yield f"{lead} {sentence}" if lead and start == 0 else sentence
    if waiting:
        yield waiting
    for call in message.tool_calls:
        yield " ".join(f"[called {call.name} {call.arguments}]".split())


def _leads(line: str) -> bool:
    """Whether a line introduces a list: "We decided:"."""
    return line.rstrip().endswith((":", "\uff1a")) and len(line.split()) <= 10


def _code_line(block: re.Match[str]) -> str:
    lines = [line for line in block[1].splitlines() if line.strip()]
    if not lines:
        return "\n"
    first = lines[0].strip()[:60].replace("`", "")
    return f"\n`{first}` {MARK} code, {len(lines)} lines\n"


def _telling(sentence: str) -> int:
    """Where a long sentence says what matters, 0 for its beginning."""
    folded = sentence.casefold()
    if len(folded) != len(sentence) or not cues.speaks_english(folded):
        return 0
    found = (
        cues.CORRECTION.search(folded) or cues.DECISION.search(folded) or cues.RULE.search(folded)
    )
    return found.start() if found else 0


def clipped(text: str, limit: int, counter: TokenCounter, around: int = 0) -> str:
    """`text` in at most about `limit` tokens, a mark where it was cut; `around` stays in."""
    total = counter.count(text)
    if total <= limit:
        return text
    room = max(1, len(text) * limit // total - len(MARK) - 1)
    start = 0
    if around > room * 3 // 5:
        start = max(0, text.rfind(" ", 0, max(1, around - room // 3)) + 1)
    part = text[start : start + room]
    if start + room < len(text):
        part = part[: part.rfind(" ")] if " " in part[room // 2 :] else part
        part = f"{part.rstrip()}{MARK}"
    return f"{MARK}{part}" if start else part


def united(*groups: Sequence[str]) -> tuple[str, ...]:
    """Ids of all groups, each once: the first, and the last of them when they are too many."""
    ids = tuple(dict.fromkeys(item for group in groups for item in group))
    return ids if len(ids) <= MOST_IDS else (ids[0], *ids[-MOST_IDS + 1 :])
