"""Readers of the files that `rag-memory import` takes: JSONL of messages, LoCoMo, ChatGPT.

Each yields one `Record` a message and holds one line or one conversation at a time, so memory does
not grow with the file. Ids depend on the file alone: importing it again stores nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeAlias, get_args

import ijson

from rag_memory_plugins.cli.chatgpt import conversation_messages
from rag_memory_plugins.errors import InvalidFile, InvalidInput
from rag_memory_plugins.types import Message

__all__ = ["FORMATS", "Format", "Record", "detect", "read", "stream_of"]

Format: TypeAlias = Literal["jsonl", "locomo", "chatgpt"]
FORMATS: Final = get_args(Format)
MAX_LINE: Final = 32 * 2**20  # a line longer than this is no message, and would fill the memory
_BOM: Final = b"\xef\xbb\xbf"
_KEYS: Final[Mapping[str, Format]] = {"mapping": "chatgpt", "conversation": "locomo"}


@dataclass(frozen=True)
class Record:
    """A message of a file. `place` says where in the file; `user`, `session` as the file has it."""

    message: Message
    session: str | None
    user: str | None
    place: str


def read(path: Path, stream: BinaryIO, kind: Format) -> Iterator[Record]:
    """Every message of the file, in its order. Raises `InvalidFile`, naming the place."""
    if stream.read(3) != _BOM:
        stream.seek(0)
    return _READERS[kind](path, stream)


def detect(path: Path) -> Format:
    """The format of a file, by its content. Raises `InvalidFile` when it is none of ours."""
    with stream_of(path) as stream:
        head = stream.read(4096)
        text = head.removeprefix(_BOM).lstrip()
        if head.startswith(b"PK\x03\x04"):
            raise InvalidFile(str(path), "a zip archive", "unpack it and pass conversations.json")
        if not text:
            raise InvalidFile(str(path), "an empty file", _REMEDY)
        if text.startswith(b"{"):
            return "jsonl"
        if not text.startswith(b"["):
            raise InvalidFile(str(path), head[:40], _REMEDY)
        stream.seek(3 if head.startswith(_BOM) else 0)
        return _detect_list(path, stream)


def stream_of(path: Path) -> BinaryIO:
    """The open file. Raises `InvalidFile` when it cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        remedy = "pass the path of a file that you may read"
        raise InvalidFile(str(path), error.strerror or str(error), remedy) from error


_REMEDY: Final = (
    "pass JSON Lines of messages, a LoCoMo list of samples, or ChatGPT's conversations.json"
)


def _detect_list(path: Path, stream: BinaryIO) -> Format:
    try:
        for prefix, event, value in ijson.parse(stream):
            if (prefix, event) == ("item", "map_key") and value in _KEYS:
                return _KEYS[value]
            if (prefix, event) == ("", "end_array") or (
                prefix == "item" and event not in ("start_map", "map_key")
            ):
                break
    except ijson.JSONError as error:
        raise InvalidFile(str(path), _one_line(error), "it is not JSON; save it again") from error
    got = "a JSON list whose first item is no LoCoMo sample and no ChatGPT conversation"
    raise InvalidFile(str(path), got, "write one message a line (JSON Lines), or pass --format")


def _read_jsonl(path: Path, stream: BinaryIO) -> Iterator[Record]:
    chain = b""
    for number, raw in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), 1):
        place = f"line {number}"
        if not raw.strip():
            continue
        data = _line(path, place, raw)
        if "session" in data and not isinstance(data["session"], str):
            raise InvalidFile(f"{path}, {place}", data["session"], "session must be a string")
        session = data.pop("session", None)
        if not data.get("id"):
            # Of all such lines so far: a line that is said again is another message, and a file that
            # has grown keeps the ids of what was imported before.
            chain = hashlib.blake2b(chain + raw.strip(), digest_size=16).digest()
            data["id"] = f"line-{chain.hex()}"
        yield Record(_message(path, place, data), session, None, place)


def _line(path: Path, place: str, raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_LINE:
        got = f"a line over {MAX_LINE // 2**20} MB"
        raise InvalidFile(f"{path}, {place}", got, "write one message a line")
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        remedy = f"write one JSON object a line, in UTF-8 ({_one_line(error)})"
        raise InvalidFile(
            f"{path}, {place}", raw[:80].decode("utf-8", "replace"), remedy
        ) from error
    if not isinstance(data, dict):
        raise InvalidFile(f"{path}, {place}", data, "a line is an object with role and content")
    return data


def _message(path: Path, place: str, data: Mapping[str, Any]) -> Message:
    try:
        return Message.from_dict(data)
    except InvalidInput as error:
        raise InvalidFile(f"{path}, {place}, {error.field}", error.got, error.remedy) from error


def _items(path: Path, stream: BinaryIO, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of every item of a JSON list, one in memory at a time."""
    number = 0
    try:
        for number, item in enumerate(ijson.items(stream, "item", use_float=True), 1):
            if not isinstance(item, dict):
                raise InvalidFile(f"{path}, {what} {number}", item, f"a {what} is a JSON object")
            yield f"{what} {number}", item
    except ijson.JSONError as error:
        remedy = "the JSON is broken or cut off here; export it again"
        raise InvalidFile(f"{path}, {what} {number + 1}", _one_line(error), remedy) from error


def _read_locomo(path: Path, stream: BinaryIO) -> Iterator[Record]:
    for place, item in _items(path, stream, "sample"):
        sample, conversation = item.get("sample_id"), item.get("conversation")
        if not isinstance(sample, str) or not isinstance(conversation, dict):
            got = f"keys {', '.join(item)}"
            remedy = "a sample has a string sample_id and an object conversation"
            raise InvalidFile(f"{path}, {place}", got, remedy)
        for number in sorted(_session_numbers(conversation)):
            yield from _locomo_session(path, f"{place} ({sample})", sample, conversation, number)


def _session_numbers(conversation: Mapping[str, Any]) -> list[int]:
    found = [re.fullmatch(r"session_(\d+)", key) for key in conversation]
    return [int(match[1]) for match in found if match]


def _locomo_session(
    path: Path, place: str, sample: str, conversation: Mapping[str, Any], number: int
) -> Iterator[Record]:
    session = f"session_{number}"
    turns, date = conversation[session], conversation.get(f"{session}_date_time")
    time = _locomo_time(path, f"{place}, {session}_date_time", date)
    if not isinstance(turns, list):
        raise InvalidFile(f"{path}, {place}, {session}", turns, "a session is a list of turns")
    for index, turn in enumerate(turns, 1):
        where = f"{place}, {session}, turn {index}"
        missing = [
            key
            for key in ("speaker", "dia_id", "text")
            if not isinstance(turn, dict) or not isinstance(turn.get(key), str)
        ]
        if missing:
            raise InvalidFile(f"{path}, {where}", turn, f"{', '.join(missing)}: must be a string")
        caption = turn.get("blip_caption")
        data = {
            "id": f"{sample}/{turn['dia_id']}",
            "role": "user" if turn["speaker"] == conversation.get("speaker_a") else "assistant",
            "name": turn["speaker"],
            "content": turn["text"] + (f" [image: {caption}]" if caption else ""),
            "time": time,
        }
        yield Record(_message(path, where, data), f"{sample}/{session}", sample, where)


def _locomo_time(path: Path, place: str, value: object) -> datetime:
    try:
        parsed = datetime.strptime(str(value), "%I:%M %p on %d %B, %Y")  # noqa: DTZ007  # the file has no zone
    except ValueError as error:
        remedy = "write it as '1:56 pm on 8 May, 2023'"
        raise InvalidFile(f"{path}, {place}", value, remedy) from error
    return parsed.replace(tzinfo=timezone.utc)


def _read_chatgpt(path: Path, stream: BinaryIO) -> Iterator[Record]:
    for place, item in _items(path, stream, "conversation"):
        session = item.get("conversation_id") or item.get("id") or item.get("title") or place
        where = f"{place} ({item.get('title') or session})"
        for node, data in conversation_messages(f"{path}, {where}", item):
            inside = f"{where}, node {node}"
            yield Record(_message(path, inside, data), str(session), None, inside)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_READERS: Final[Mapping[Format, Callable[[Path, BinaryIO], Iterator[Record]]]] = {
    "jsonl": _read_jsonl,
    "locomo": _read_locomo,
    "chatgpt": _read_chatgpt,
}
