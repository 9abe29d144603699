"""Talks that hypothesis makes up, and writers of each kind of transcript."""

from __future__ import annotations

import html
import json

from hypothesis import strategies as st

NAMES = ["Ann", "BOB LEE", "Dr. Kim", "\u00c9lodie", "\u674e\u96f7", "Speaker 1", "Jan van Dam"]
# Nothing that a format has its own meaning for; VTT and SRT write the rest as entities.
words = st.text(
    st.characters(categories=["L", "N"], include_characters="&<>'!?,;"), min_size=1, max_size=12
).filter(lambda word: word[0].isalpha())
texts = st.lists(words, min_size=1, max_size=30).map(" ".join)


def _talk(items):
    """(speaker, text, seconds): never the same speaker twice, whose turns captions would join."""
    talk, at = [], 0
    for name, text, pause in items:
        if not talk or talk[-1][0] != name:
            talk.append((name, text, at / 1000))
        at += pause
    return talk


talks = st.lists(
    st.tuples(st.sampled_from(NAMES), texts, st.integers(1, 600_000)), min_size=1, max_size=12
).map(_talk)


def clock(seconds, dot="."):
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{dot}{thousandths:03}"


def as_text(talk):
    return "".join(f"[{clock(at)}] {name}: {text}\n" for name, text, at in talk)


def as_vtt(talk):
    return "WEBVTT\n\n" + "".join(
        f"{number}\n{clock(at)} --> {clock(at + 1)}\n<v {name}>{html.escape(text)}</v>\n\n"
        for number, (name, text, at) in enumerate(talk)
    )


def as_srt(talk):
    return "".join(
        f"{number}\n{clock(at, ',')} --> {clock(at + 1, ',')}\n{name}: {html.escape(text)}\n\n"
        for number, (name, text, at) in enumerate(talk, 1)
    )


def as_jsonl(talk):
    return "".join(
        json.dumps({"speaker": name, "text": text, "start": at}) + "\n" for name, text, at in talk
    )


WRITERS = {"text": as_text, "vtt": as_vtt, "srt": as_srt, "jsonl": as_jsonl}
