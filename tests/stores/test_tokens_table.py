"""Token vectors on disk: stored, erased, made again; and a database that knows none of them."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import StoreError
from rag_memory_plugins.ports import Encoded
from rag_memory_plugins.retrieval.lexical import ANALYZER
from rag_memory_plugins.stores import cache
from rag_memory_plugins.stores.schema import MIGRATIONS
from rag_memory_plugins.testing.fakes import WordEmbedder

SAID = [
    "My sister Clara moved to Lisbon in March 2022.",
    "I adopted a grey cat and named him Pepper.",
    "Our landlord raised the rent last week.",
    "The dentist told me to come back on Thursday.",
]
QUESTION = "Where did my sister move?"


class TokenWords(WordEmbedder):
    """Words as an embedder with token vectors: one for every word of a text, 16 numbers each."""

    async def aencode_query(self, text):
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            spans.append((at, at + len(word)))
        vector = await self.aembed_query(text)
        return Encoded(vector[None, :], tokens_of(text), tuple(spans))

    async def aencode_documents(self, texts):
        vectors = await self.aembed_documents(texts)
        return [Encoded(v, tokens_of(text)) for v, text in zip(vectors, texts, strict=True)]


def tokens_of(text):
    words = [word.strip(".?!,").lower() for word in text.split()]
    seeds = [int.from_bytes(word.encode()[:8].ljust(8), "little") for word in words]
    rows = [np.random.default_rng(seed).integers(-127, 128, 16) for seed in seeds]
    return np.array(rows, np.int8).reshape(-1, 16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
def memory(opened):
    return opened(embedder=TokenWords())


def fill(memory, user="ann", said=SAID):
    place = memory.conversation("acme", user, "monday")
    place.add([Message("user", text, id=f"m{n}") for n, text in enumerate(said)])
    memory.settle()
    return place


def table(path, columns="seq, width, data"):
    file = sqlite3.connect(path)
    rows = file.execute(f"SELECT {columns} FROM tokens ORDER BY seq").fetchall()
    file.close()
    return rows


def scores(place, **given):
    found = place.search(QUESTION, 20, **given)
    return [(hit.message.id, hit.score, dict(hit.parts)) for hit in found]


def stored_bytes(path):
    return b"".join(p.read_bytes() for p in sorted(path.parent.glob(path.name + "*")))


def left_of(data, path):
    """Pieces of token vectors that are still in a file: a torn copy counts as found."""
    held = stored_bytes(path)
    return [at for at in range(0, len(data) - 24, 24) if data[at : at + 24] in held]


# ---- Stored ---------------------------------------------------------------------------------


def test_every_message_with_a_text_has_token_vectors_as_the_local_model_made_them(opened, path):
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    place = fill(opened(embedder="default"))
    place.add([Message("system", "Speak plainly"), Message("user", " ")])
    place.memory.settle()
    made = place.memory.portal.call(place.memory.embedder.aencode_documents(SAID))
    rows = table(path)
    assert [row[:2] for row in rows] == [(n, 64) for n in range(1, len(SAID) + 1)]
    assert [row[2] for row in rows] == [item.tokens.tobytes() for item in made]
    hits = place.search(QUESTION, 4)
    assert hits[0].message.id == "m0"
    assert hits[0].parts["late"] > 0
    before = scores(place)
    place.memory.rebuild()
    assert table(path) == []
    place.memory.settle()
    assert table(path) == rows
    assert scores(place) == before


def test_an_embedder_without_token_vectors_stores_none_and_says_so(opened, path):
    place = fill(opened())
    assert table(path) == []
    assert place.search(QUESTION).lanes["late"] == "off: the embedder gives no token vectors"


def test_late_interaction_counts_what_is_stored(memory):
    place = fill(memory)
    found = place.search(QUESTION, 4)
    assert "late" not in found.lanes
    assert any(hit.parts["late"] for hit in found)


def test_a_message_that_waits_for_its_vectors_is_neither_for_nor_against(memory):
    place = fill(memory)
    place.add([f"My sister said {n}" for n in range(12)])
    found = place.search(QUESTION, 20)
    assert found.lanes["dense"] == "ok, 12 pending"
    assert {hit.parts["late"] for hit in found if hit.message.content[:14] == "My sister said"} == {
        0.0
    }


def test_made_again_they_are_the_same_to_the_last_bit(memory, path):
    place = fill(memory)
    fill(memory, "bob")
    rows, before = table(path), scores(place)
    assert len(rows) == 2 * len(SAID)
    memory.rebuild()
    assert table(path) == []
    memory.settle()
    assert table(path) == rows
    assert scores(place) == before


def test_each_embedder_has_its_own(opened, memory, path):
    place = fill(memory)
    before = scores(place)
    other = opened(embedder=TokenWords(32, "other"))
    other.settle()
    assert table(path, "index_id, seq") == [(i, n) for n in range(1, 5) for i in (1, 2)]
    assert scores(place) == before


# ---- Erased ---------------------------------------------------------------------------------


def test_what_is_forgotten_leaves_no_token_vector_in_any_file(memory, path):
    place = fill(memory)
    gone, kept = table(path, "data")[0][0], table(path)[1:]
    assert len(left_of(gone, path)) > 3
    assert place.forget("m0").complete
    assert left_of(gone, path) == []
    assert table(path) == kept


@pytest.mark.parametrize("level", ["session", "user"])
def test_what_is_erased_leaves_none_and_others_keep_theirs(opened, memory, path, level):
    place = fill(memory)
    other = fill(memory, "bob", [" ".join(reversed(text.split())) for text in SAID])
    fill(opened(embedder=TokenWords(32, "other")))  # a second index holds them too
    rows = table(path, "seq, index_id, data")
    mine = [row for row in rows if row[0] <= len(SAID)]
    assert len(mine) == 2 * len(SAID)
    kept = [row for row in rows if row not in mine]
    # Three words each: one alone has the same vector whoever says it.
    pieces = {row[2][at : at + 48] for row in mine for at in range(0, len(row[2]) - 48, 16)}
    pieces = {piece for piece in pieces if not any(piece in row[2] for row in kept)}
    held = stored_bytes(path)
    assert len(pieces) > 3
    assert [piece for piece in pieces if piece not in held] == []
    before = scores(other)
    assert place.erase(level=level).complete
    assert table(path, "seq, index_id, data") == kept
    held = stored_bytes(path)
    assert [piece for piece in pieces if piece in held] == []
    assert scores(other) == before


def test_a_message_erased_while_it_is_embedded_gets_no_token_vectors(memory, path):
    place = memory.conversation("acme", "ann", "monday")
    place.add([Message("user", text, id=f"m{n}") for n, text in enumerate(SAID)])
    index = memory.index

    async def late_store():
        pending = await index.apending(place.namespace.scope, 10)
        encoded = await memory.embedder.aencode_documents([item.text for item in pending])
        await place.aforget(["m1", "m2"])
        return await index.astore(pending, encoded)

    assert memory.portal.call(late_store()) == 2
    assert [row[0] for row in table(path)] == [1, 4]


def test_another_users_erase_and_rebuild_touch_no_token_vector(memory, path):
    fill(memory)
    rows = table(path)
    bob = fill(memory, "bob")
    bob.erase(level="user")
    assert table(path) == rows
    bob = fill(memory, "bob")
    memory.portal.call(memory.index.arebuild(bob.namespace.scope))
    assert table(path) == rows


# ---- In memory ------------------------------------------------------------------------------


def test_a_cache_that_is_too_small_for_one_search_changes_no_score(opened, memory, monkeypatch):
    before = scores(fill(memory))
    monkeypatch.setattr(cache, "ROW_BYTES", 100)
    small = opened(embedder=TokenWords()).conversation("acme", "ann", "monday")
    for _ in range(3):
        assert scores(small) == before


def test_what_is_in_memory_already_is_not_read_again(memory, path):
    place = fill(memory)
    before = scores(place)
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("UPDATE tokens SET data = zeroblob(length(data))")
    file.close()
    assert scores(place) == before


def test_the_token_vectors_that_a_scope_keeps_in_memory_are_bounded(monkeypatch):
    monkeypatch.setattr(cache, "ROW_BYTES", 1_000)
    kept = cache.RowCache()
    for row in range(100):
        kept[row] = np.ones((5, 16), np.int8)
        assert kept.nbytes == sum(tokens.nbytes for tokens in kept.values())
        assert kept.nbytes <= 1_000 + 80
        assert row in kept


def test_what_a_scope_keeps_in_memory_counts_its_token_vectors(memory):
    place = fill(memory)
    scores(place)
    [loaded] = memory.index._cache._scopes.values()
    assert loaded.tokens.nbytes == sum(tokens_of(text).nbytes for text in SAID)
    assert loaded.counted == loaded.nbytes >= loaded.tokens.nbytes


# ---- A database of the first schema ---------------------------------------------------------

FIRST = (
    "ALTER TABLE keywords DROP COLUMN names",
    "ALTER TABLE keywords DROP COLUMN days",
    "DROP TABLE tokens",
    "DROP TABLE calibrations",
    "DELETE FROM schema_migrations WHERE version > 1",
    "UPDATE meta SET value = 'snowball-english+bigrams/1' WHERE key = 'analyzer'",
    "UPDATE keywords SET flags = flags & 3",
)
"""What takes a new file back to the tables and rows that the first schema had."""


def first_schema(path, embedder):
    with open_memory(path, embedder=embedder, background=False) as memory:
        place = memory.conversation("acme", "ann", "monday")
        for n, text in enumerate(SAID):
            place.add(Message("user", text, id=f"m{n}", name="Ann" if n % 2 else "Bob"))
        memory.conversation("acme", "bob", "monday").add("The cat sleeps", id="b0")
        memory.settle()
    file = sqlite3.connect(path, isolation_level=None)
    for statement in FIRST:
        file.execute(statement)
    file.close()


def columns_of(path, name):
    file = sqlite3.connect(path)
    found = {row[1] for row in file.execute(f"PRAGMA table_info({name})")}
    file.close()
    return found


@pytest.mark.parametrize("embedder", [WordEmbedder(), None])
def test_a_database_of_the_first_schema_searches_as_a_new_one(opened, path, tmp_path, embedder):
    first_schema(path, embedder)
    assert columns_of(path, "keywords") == {"seq", "scope_id", "session_id", "flags", "terms"}
    old = opened(embedder=embedder)
    assert columns_of(path, "keywords") >= {"names", "days"}
    old.settle()
    question = "When did Bob's sister move, in March 2022 or last week?"
    found = old.conversation("acme", "ann", "monday").search(question, 4)
    assert {"speaker", "date", "when"} <= set(found[0].parts)
    folder = tmp_path / "new"
    folder.mkdir()
    said = list(old.conversation("acme", "ann", "monday").messages())
    with open_memory(folder / "memory.db", embedder=embedder, background=False) as fresh:
        place = fresh.conversation("acme", "ann", "monday")
        place.add(said)
        fresh.settle()
        expected = place.search(question, 4)
        assert [(h.message.id, h.score) for h in found] == [
            (h.message.id, h.score) for h in expected
        ]


def test_a_migrated_database_says_which_schema_and_analyzer_it_has(opened, path):
    first_schema(path, None)
    opened(embedder=None)
    file = sqlite3.connect(path)
    versions = file.execute("SELECT version FROM schema_migrations").fetchall()
    assert versions == [(number,) for number in range(1, len(MIGRATIONS) + 1)]
    assert file.execute("SELECT value FROM meta WHERE key = 'analyzer'").fetchall() == [(ANALYZER,)]
    assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()


def test_a_migrated_database_has_a_dense_lane_and_takes_new_messages(opened, path):
    first_schema(path, WordEmbedder())
    memory = opened()
    place = memory.conversation("acme", "ann", "monday")
    place.add("The parrot sang", id="m9")
    found = place.search("parrot")
    assert (found[0].message.id, found.lanes["dense"]) == ("m9", "ok")
    assert memory.conversation("acme", "bob", "monday").search("cat")[0].message.id == "b0"


def test_a_migrated_database_gets_token_vectors_of_what_it_held(opened, path):
    first_schema(path, TokenWords())
    memory = opened(embedder=TokenWords())
    memory.settle()
    found = memory.conversation("acme", "ann", "monday").search(QUESTION, 4)
    assert any(hit.parts["late"] for hit in found)


def test_a_database_of_the_first_schema_opened_to_read_is_a_typed_error(path):
    first_schema(path, None)
    url = f"sqlite:////{str(path).lstrip('/')}?mode=ro"
    with open_memory(url, embedder=None) as memory, pytest.raises(StoreError):
        memory.conversation("acme", "ann", "monday").search("cat")


def test_a_row_written_beside_by_the_version_before_stops_no_search(opened, path):
    memory = opened(embedder=None)
    place = memory.conversation("acme", "ann", "monday")
    place.add([Message("user", text, id=f"m{n}") for n, text in enumerate(SAID)])
    # A process of the first version, still running after the file was migrated, knows no days.
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("UPDATE keywords SET names = x'', days = x'' WHERE seq = 1")
    file.close()
    fresh = opened(embedder=None).conversation("acme", "ann", "monday")
    assert fresh.search("sister Lisbon in May 2020")[0].message.id == "m0"
