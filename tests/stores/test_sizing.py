"""What sessions hold in tokens: kept with every write, in every process, and never counted again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_memory_plugins import Message, ToolCall, open_memory
from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.stores.schema import MIGRATIONS
from rag_memory_plugins.tokens import CharEstimate

TEXTS = ["", "yes", "The piano stands in the hall. " * 9, "钢琴在大厅里", "😀" * 7]


class Counted(CharEstimate):
    """Counts characters, and notes which messages it was asked about."""

    def __init__(self):
        super().__init__()
        self.asked: list[str] = []

    def count_messages(self, messages):
        self.asked += [message.id for message in messages]
        return super().count_messages(messages)


@pytest.fixture
def counter():
    return Counted()


@pytest.fixture
def memory(opened, counter):
    return opened(counter=counter, embedder=None, summarizer=None)


@pytest.fixture
def talk(memory):
    return memory.conversation("acme", "ann", "monday")


def recount(talk):
    """Tokens of every message of the session, counted now, by a counter that knows none of them."""
    fresh = CharEstimate()
    return sum(fresh.count_messages([message]) - 3 for message in talk.messages())


def held(talk):
    """What is kept; the recommendation and a context must say the same."""
    sizes = {talk.recommended_config().tokens, talk.context("").history_tokens}
    assert len(sizes) == 1
    return sizes.pop()


def rows(path, query):
    file = sqlite3.connect(path)
    found = file.execute(query).fetchall()
    file.close()
    return found


def sizes_of(path):
    """(tokens, said, peak) of every session, after its messages' sizes were seen to add up."""
    columns = "SELECT session_id, tokens, said, peak FROM session_sizes ORDER BY session_id"
    found = rows(path, columns)
    sums = "SELECT session_id, SUM(tokens) FROM message_sizes GROUP BY session_id"
    added = dict(rows(path, sums))
    assert {key: tokens for key, tokens, *_ in found if tokens} == added
    assert rows(path, "SELECT seq FROM message_sizes ORDER BY seq") == rows(
        path, "SELECT seq FROM messages ORDER BY seq"
    )
    return [row[1:] for row in found]


# ---- Kept with every write -------------------------------------------------------------------


def test_a_session_is_as_large_as_its_messages(talk):
    assert held(talk) == 0
    for text in TEXTS:
        talk.add(text)
        assert held(talk) == recount(talk)
    talk.add([{"role": "assistant", "content": text, "name": "Bo"} for text in TEXTS])
    assert held(talk) == recount(talk) > 150


def test_tool_calls_count_with_what_they_are_called_with(talk):
    calls = (ToolCall("c1", "look_up", '{"what": "piano"}'),)
    talk.add([Message("assistant", "", tool_calls=calls), Message("tool", "a", tool_call_id="c1")])
    assert held(talk) == recount(talk) == 4 + 3 + 2 + 5 + 5


@pytest.mark.parametrize("again", ["alone", "in a batch", "twice in a batch"])
def test_a_retry_counts_once(talk, again):
    first = Message("user", TEXTS[2], id="m1")
    talk.add(first)
    before = held(talk)
    talk.add({"alone": first, "in a batch": [first], "twice in a batch": [first, first]}[again])
    assert held(talk) == before == recount(talk)


def test_of_a_batch_that_is_half_a_retry_the_new_half_counts(talk):
    talk.add(Message("user", TEXTS[2], id="m1"))
    talk.add([Message("user", TEXTS[2], id="m1"), Message("user", TEXTS[3], id="m2")])
    assert held(talk) == recount(talk)


def test_a_batch_that_is_refused_counts_nothing(talk):
    talk.add(Message("user", "yes", id="m1"))
    before = held(talk)
    with pytest.raises(MessageConflict):
        talk.add([Message("user", TEXTS[2], id="m2"), Message("user", "no", id="m1")])
    assert held(talk) == before == recount(talk)


def test_what_is_forgotten_no_longer_counts(talk, tmp_path):
    talk.add([Message("user", text, id=f"m{n}") for n, text in enumerate(TEXTS)])
    whole = held(talk)
    talk.forget(["m2", "m4", "nobody"])
    assert held(talk) == recount(talk) < whole
    talk.forget(["m2"])  # gone already
    assert held(talk) == recount(talk)
    [(tokens, said, _)] = sizes_of(tmp_path / "memory.db")
    assert (tokens, said) == (held(talk), whole)  # what was said stays said


def test_forgetting_of_all_sessions_counts_for_each(memory, talk):
    other = memory.conversation("acme", "ann", "tuesday")
    for place in (talk, other):
        place.add([Message("user", text, id=f"m{n}") for n, text in enumerate(TEXTS)])
    talk.forget(["m1", "m2"], level="user")
    assert (held(talk), held(other)) == (recount(talk), recount(other))
    assert held(talk) == held(other)


@pytest.mark.parametrize("level", ["session", "user"])
def test_an_erase_leaves_no_sizes_of_the_erased_and_all_of_the_others(
    memory, talk, tmp_path, level
):
    places = {
        "mine": talk,
        "my other": memory.conversation("acme", "ann", "tuesday"),
        "bob's": memory.conversation("acme", "bob", "monday"),
        "theirs": memory.conversation("evil", "ann", "monday"),
    }
    for place in places.values():
        place.add([*TEXTS])
    before = held(talk)
    talk.erase(level)
    left = ["bob's", "theirs", *(["my other"] if level == "session" else [])]
    assert {name: held(place) for name, place in places.items()} == {
        name: before if name in left else 0 for name in places
    }
    assert sizes_of(tmp_path / "memory.db") == [(before, before, before)] * len(left)
    talk.add("yes")
    assert held(talk) == recount(talk)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.lists(
        st.tuples(st.sampled_from("aab"), st.sampled_from(range(6)), st.sampled_from(TEXTS))
        | st.tuples(st.just("forget"), st.sampled_from(range(6)), st.none())
        | st.tuples(st.just("erase"), st.none(), st.none()),
        max_size=25,
    )
)
def test_whatever_is_written_in_whatever_order_the_sizes_are_those_of_a_recount(memory, steps):
    talks = {name: memory.conversation("acme", "ann", name) for name in "ab"}
    for what, number, text in steps:
        if what == "forget":
            talks["a"].forget([f"m{number}"])
        elif what == "erase":
            talks["a"].erase()
        else:
            try:
                talks[what].add(text, id=f"m{number}")
            except MessageConflict:
                continue
    assert {name: held(place) for name, place in talks.items()} == {
        name: recount(place) for name, place in talks.items()
    }
    memory.conversation("acme", "ann", "a").erase("user")


# ---- In every process ------------------------------------------------------------------------

OTHER = """
import sys
from rag_memory_plugins import open_memory
with open_memory(sys.argv[1], counter="characters", embedder=None, summarizer=None) as memory:
    talk = memory.conversation("acme", "ann", "monday")
    talk.add(["from another process " * 5] * 3)
    talk.add("retry me", id="m1")
    talk.forget(["m2"])
    print(talk.recommended_config().tokens)
"""


def test_another_process_goes_on_from_the_same_sizes(talk, tmp_path):
    talk.add([Message("user", "retry me", id="m1"), Message("user", TEXTS[2], id="m2")])
    path = tmp_path / "memory.db"
    run = subprocess.run(
        [sys.executable, "-c", OTHER, str(path)], check=True, capture_output=True, text=True
    )
    assert int(run.stdout) == held(talk) == recount(talk)
    talk.add("and back")
    assert held(talk) == recount(talk)
    sizes_of(path)


def test_a_file_that_is_opened_again_has_its_sizes(memory, talk, opened):
    talk.add([*TEXTS])
    before = held(talk)
    memory.close()
    again = opened(embedder=None).conversation("acme", "ann", "monday")
    assert held(again) == before


# ---- Never counted again ---------------------------------------------------------------------


def test_a_message_is_counted_when_it_is_added_and_its_history_is_not(talk, counter):
    talk.add([Message("user", TEXTS[2], id=f"m{n}") for n in range(50)])
    counter.asked.clear()
    talk.add("one more", id="new")
    assert counter.asked == ["new"]


def test_sizes_are_told_without_counting(talk, counter):
    talk.add([Message("user", TEXTS[2], id=f"m{n}") for n in range(50)])
    counter.asked.clear()
    assert talk.recommended_config().tokens == 50 * 72
    talk.forget(["m1", "m2"])
    assert talk.recommended_config().tokens == 48 * 72
    assert counter.asked == []


def test_a_context_counts_what_may_be_in_it_and_not_the_history(talk, counter):
    talk.add([Message("user", TEXTS[2], id=f"m{n}") for n in range(400)])
    counter.asked.clear()
    made = talk.context("", 500)
    assert made.history_tokens == 400 * 72
    old = {f"m{n}" for n in range(1, 300)}  # the first is the goal
    assert old.isdisjoint(counter.asked)


def test_a_file_opened_with_another_counter_keeps_what_was_counted(memory, talk, opened):
    talk.add([Message("user", TEXTS[2], id=f"m{n}") for n in range(10)])
    before = held(talk)
    memory.close()
    other = Counted()
    again = opened(counter=other, embedder=None).conversation("acme", "ann", "monday")
    assert again.recommended_config().tokens == before
    assert other.asked == []


# ---- A database of the schema before ---------------------------------------------------------

TABLES = ("message_sizes", "session_sizes", "summaries", "folds")
SAID = ["Where is the piano?", "In the hall, by the window. " * 20, "", "Thanks"]


@pytest.fixture
def old(tmp_path):
    """A file as schema 2 left it: no sizes, no summaries, no passages of the vectors."""
    path = tmp_path / "memory.db"
    with open_memory(path, embedder=None, background=False) as memory:
        for session in ("monday", "tuesday"):
            talk = memory.conversation("acme", "ann", session)
            talk.add([Message("user", text, id=f"m{n}") for n, text in enumerate(SAID)])
        memory.conversation("acme", "bob", "monday").add("hello", id="b0")
    file = sqlite3.connect(path, isolation_level=None)
    for table in TABLES:
        file.execute(f"DROP TABLE {table}")
    for _, name, *_ in file.execute("PRAGMA table_info(vectors)").fetchall():
        if name in ("passages", "width", "spans"):
            file.execute(f"ALTER TABLE vectors DROP COLUMN {name}")
    file.execute("DELETE FROM schema_migrations WHERE version > 2")
    file.close()
    return path


ESTIMATE = sum(len(text) // 4 + 4 for text in SAID)
"""What a migration makes of `SAID`: four characters a token, and four for the message."""


def test_old_messages_get_an_estimate_and_the_counter_is_not_asked(old, memory, talk, counter):
    assert talk.recommended_config().tokens == ESTIMATE
    assert counter.asked == []
    assert sizes_of(old) == [(ESTIMATE, ESTIMATE, ESTIMATE)] * 2 + [(5, 5, 5)]


def test_old_messages_stand_one_after_the_other_in_what_was_said(old, memory):
    said = "SELECT said FROM message_sizes WHERE session_id = 1 ORDER BY seq"
    sizes = [len(text) // 4 + 4 for text in SAID]
    assert [row[0] for row in rows(old, said)] == [sum(sizes[:n]) for n in range(len(SAID))]


def test_a_migrated_session_grows_and_shrinks_from_there(old, memory, talk):
    talk.add("yes", id="new")
    assert held(talk) == ESTIMATE + 5
    talk.add(SAID[1], id="m1")  # stored before: a retry
    assert held(talk) == ESTIMATE + 5
    talk.forget(["m1"])
    assert held(talk) == ESTIMATE + 5 - (len(SAID[1]) // 4 + 4)
    talk.erase("user")
    assert sizes_of(old) == [(5, 5, 5)]


def test_a_migrated_session_is_summarised(old, opened):
    from rag_memory_plugins import Modes

    memory = opened(embedder=None, modes=Modes(full_up_to=100, balanced_up_to=200))
    talk = memory.conversation("acme", "ann", "monday")
    for n in range(60):
        talk.add(f"We settle that room {n} is painted in shade {n}. " * 3, id=f"n{n}")
    memory.settle()
    assert talk.summary() is not None


def test_a_migration_is_done_once(old, opened):
    for _ in range(2):
        opened(embedder=None).close()
    versions = "SELECT version FROM schema_migrations ORDER BY version"
    assert rows(old, versions) == [(number,) for number in range(1, len(MIGRATIONS) + 1)]
    assert sizes_of(old) == [(ESTIMATE, ESTIMATE, ESTIMATE)] * 2 + [(5, 5, 5)]
