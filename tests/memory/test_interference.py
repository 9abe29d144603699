"""Other tenants change no bit of a search: the local model, and every step there is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from rag_memory_plugins import Message, Recall
from rag_memory_plugins.memory import conversation

pytest.importorskip("onnxruntime", reason="needs the extra `local`")

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
EVERY_STEP = Recall(session=0.5, topic=0.5, recency=1.0, diversity=0.4, candidates=6)
SAID = [
    ("Ann", "Where did you plant the plum tree?"),
    ("Bob", "Behind the shed, on 8 May 2023. It is called Opal."),
    ("Ann", "We painted the fence last week."),
    ("Bob", "Which colour did you take?"),
    ("Ann", "A dark green from the shop in Graz."),
    ("Bob", "The kettle broke yesterday."),
    ("Cleo", "I am learning the cello with Mr Novak."),
    ("Ann", "Thanks, Bob! See you on Sunday."),
    ("Bob", "The plums were ripe in August."),
]
QUESTIONS = [
    "When did Bob plant the plum tree in May 2023?",
    "Who teaches Cleo the cello?",
    "Which colour did Ann take for the fence?",
    "Wo steht der Baum?",
]


class Noon(datetime):
    """Asked at the same time always: "last week" and ages must not depend on when tests run."""

    @classmethod
    def now(cls, tz=None):
        return NOW.astimezone(tz)


def seen(place):
    """Everything a search shows of itself, to the last bit."""
    return [
        (
            found.relevance,
            dict(found.lanes),
            [
                (
                    hit.message.id,
                    hit.session,
                    hit.score,
                    dict(hit.parts),
                    [m.id for m in hit.neighbours],
                )
                for hit in found
            ],
        )
        for question in QUESTIONS
        for given in (
            {"window": 2},
            {"min_relevance": 0.2},
            {"level": "session"},
            {"since": NOW - timedelta(5)},
        )
        for found in [place.search(question, 9, recall=EVERY_STEP, **given)]
    ]


def chat(sessions, prefix=""):
    for n, (name, text) in enumerate(SAID):
        moment = NOW - timedelta(days=9 - n)
        message = Message("user", f"{prefix}{text}", id=f"m{n}", name=name, time=moment)
        sessions[n % len(sessions)].add(message)


def test_fifty_tenants_change_no_bit_of_a_search_with_every_step_on(opened, monkeypatch):
    monkeypatch.setattr(conversation, "datetime", Noon)
    events = []
    memory = opened(embedder="default", hooks=[events.append])
    sessions = [memory.conversation("acme", "ann", name) for name in ("monday", "tuesday")]
    chat(sessions)
    memory.settle()
    alone = seen(sessions[0])
    assert {part for _, _, hits in alone for hit in hits for part in hit[3]} >= {
        "dense_turn", "dense_window", "keywords", "late", "speaker", "inherit", "question", "date",
        "when", "name", "session", "topic", "recency", "diversity",
    }  # fmt: skip
    assert {"search.late", "search.diversity"} <= {event.name for event in events}
    assert {len(hits) for _, _, hits in alone} > {0}
    for number in range(50):
        other = memory.conversation(f"tenant{number}", "ann", "monday")
        # The same words in all, of the same people and days; one tenant says them all.
        texts = SAID if number == 0 else [SAID[number % len(SAID)]]
        other.add(
            [
                Message("user", f"{text} {'and so on ' * (number % 7)}", name=name, time=NOW)
                for name, text in texts
            ]
        )
        if number % 10 == 0:
            other.search(QUESTIONS[0], recall=EVERY_STEP)
    memory.rebuild()  # everything is embedded anew, in batches shared by all tenants
    assert memory.settle() == 0
    assert seen(sessions[0]) == alone
    memory.conversation("tenant0", "ann", "monday").erase(level="user")
    assert seen(sessions[0]) == alone
    again = opened(embedder="default").conversation("acme", "ann", "monday")
    assert seen(again) == alone
