"""Where passages stand is kept with their vectors, and found again where it was not kept."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from rag_memory_plugins import Message, TokenBudget, open_memory
from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.retrieval.sentences import passages
from rag_memory_plugins.testing.fakes import WordEmbedder

ROOMS = ("hall", "attic", "cellar", "kitchen", "garden", "study", "porch", "stable")
LONG = [
    " ".join(
        f"The {room} has {n * 7 + at} old lamps of copper and a clock of dark oak."
        for at, room in enumerate(ROOMS)
    )
    for n in range(12)
]
BUDGET = TokenBudget(700, recent=60, summary=0, facts=0, anchors=0)


class PassageEmbedder(WordEmbedder):
    """Gives each passage of a text a short vector."""

    async def aencode_query(self, text):
        return Encoded((await self.aembed_query(text))[None, :], None, (), self.short([text]))

    async def aencode_documents(self, texts, before=()):
        return [
            Encoded(vectors, None, (), self.short([text[a:b] for a, b in passages(text)]))
            for vectors, text in zip(await self.aembed_documents(texts), texts, strict=True)
        ]

    def short(self, texts):
        rows = [np.rint(self._vector(text) * 200) for text in texts]
        return np.array(rows, np.int8).reshape(-1, self.dimension)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def opened(path):
    return open_memory(path, embedder=PassageEmbedder(), background=False)


def told(path, name=None):
    with opened(path) as memory:
        talk = memory.conversation("acme", "ann", "monday")
        talk.add([Message("user", text, id=f"m{n}", name=name) for n, text in enumerate(LONG)])
        talk.add([Message("user", f"Fine, {n}", id=f"s{n}") for n in range(20)])
        memory.settle()


def asked(path):
    with opened(path) as memory:
        talk = memory.conversation("acme", "ann", "monday")
        return talk.context("How many lamps of copper has the cellar?", BUDGET)


def rows(path, statement):
    file = sqlite3.connect(path)
    found = file.execute(statement).fetchall()
    file.close()
    return found


def as_schema_3(path):
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("ALTER TABLE vectors DROP COLUMN spans")
    file.execute("DELETE FROM schema_migrations WHERE version > 3")
    file.close()


SPANS = "SELECT seq, spans FROM vectors ORDER BY seq"


def test_a_long_message_is_stored_with_where_its_passages_stand(path):
    told(path)
    held = [np.frombuffer(blob, "<i4").reshape(-1, 2) for _, blob in rows(path, SPANS)[:12]]
    assert [list(map(tuple, spans.tolist())) for spans in held] == [
        list(passages(text)) for text in LONG
    ]
    assert {blob for _, blob in rows(path, SPANS)[12:]} == {None}  # a short one is one passage


@pytest.mark.parametrize("name", [None, "Ann"])
def test_a_file_of_the_schema_before_gives_the_same_context(path, name):
    told(path, name)
    expected = asked(path)
    as_schema_3(path)
    found = asked(path)
    assert rows(path, "SELECT count(*) FROM vectors WHERE spans IS NOT NULL") == [(0,)]
    assert "passages" in " ".join(piece.reason for piece in expected.pieces)
    assert found.text == expected.text
    assert found.pieces == expected.pieces


def test_a_migrated_file_keeps_spans_of_what_is_said_from_then_on(path):
    told(path)
    as_schema_3(path)
    with opened(path) as memory:
        memory.conversation("acme", "ann", "monday").add(LONG[0], id="again")
        memory.settle()
    kept = [seq for seq, blob in rows(path, SPANS) if blob]
    assert kept == [33]


def test_what_is_shown_of_a_message_are_whole_passages_of_it(path):
    told(path, "Ann")
    shown = [p.message for p in asked(path).pieces if p.included and " of 8 passages" in p.reason]
    assert shown
    for message in shown:
        whole = LONG[int(message.id[1:])]
        parts = message.content.replace("\u2026", "").split("  ")
        assert all(part.strip() in whole for part in parts)
        assert message.content.removeprefix("\u2026 ").startswith("The ")
