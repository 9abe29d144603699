"""What was said around a message: windows by place, of one session, each message once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Message, open_memory
from rag_memory_plugins.errors import InvalidMessage, InvalidQuery, StoreClosed


@pytest.fixture
def ann(opened):
    """Session monday of ten messages, m0 to m9, with other sessions' and tenants' between."""
    memory = opened(embedder=None)
    session = memory.conversation("acme", "ann", "monday")
    others = [
        memory.conversation("acme", "ann", "tuesday"),
        memory.conversation("acme", "bob", "monday"),
        memory.conversation("globex", "ann", "monday"),
    ]
    for number in range(10):
        session.add(f"monday {number}", id=f"m{number}")
        others[number % 3].add(f"other {number}", id=f"m{number}")
    return session


def ids(windows):
    return [[int(message.id[1:]) for message in window] for window in windows]


def test_a_window_holds_the_message_and_those_beside_it_in_the_order_they_were_said(ann):
    assert ids(ann.around("m4")) == [[2, 3, 4, 5, 6]]
    assert ids(ann.around("m4", before=1, after=0)) == [[3, 4]]
    assert ids(ann.around("m4", 0, 0)) == [[4]]
    assert {message.content for message in ann.around("m4")[0]} == {
        f"monday {number}" for number in range(2, 7)
    }


def test_a_window_ends_where_the_session_does(ann):
    assert ids(ann.around(["m0", "m9"])) == [[0, 1, 2], [7, 8, 9]]


def test_windows_that_overlap_or_touch_are_one(ann):
    assert ids(ann.around(["m2", "m4"], 1, 1)) == [[1, 2, 3, 4, 5]]
    assert ids(ann.around(["m2", "m5"], 1, 1)) == [[1, 2, 3, 4, 5, 6]]
    assert ids(ann.around(["m2", "m6"], 1, 1)) == [[1, 2, 3], [5, 6, 7]]


def test_ids_of_other_sessions_users_and_tenants_have_none(ann):
    tuesday = ann.memory.conversation("acme", "ann", "tuesday")
    assert ids(tuesday.around(["m1", "m3"], 0, 0)) == [[3]]
    (window,) = tuesday.around("m3")
    assert [message.content for message in window] == [f"other {n}" for n in (0, 3, 6, 9)]


def test_an_id_that_is_not_stored_has_none_and_nothing_stored_gives_nothing(ann):
    assert ann.around(["unknown", "m99"]) == ()
    assert ann.memory.conversation("acme", "ann", "new").around("m1") == ()
    assert ann.around([]) == ()


def test_a_message_that_was_forgotten_leaves_a_gap_that_the_next_one_fills(ann):
    ann.forget("m5")
    assert ids(ann.around("m4", 1, 2)) == [[3, 4, 6, 7]]
    assert ann.around("m5") == ()


def test_more_ids_than_a_statement_takes(ann):
    ann.add([Message("user", "x", id=f"m{number}") for number in range(10, 1300)])
    assert ids(ann.around([f"m{number}" for number in range(1300)], 0, 0)) == [list(range(1300))]


async def test_it_is_there_for_any_loop(ann):
    assert ids(await ann.aaround("m4", 1, 1)) == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"ids": 4}, InvalidMessage, "ids"),
        ({"ids": [4]}, InvalidMessage, "ids"),
        ({"ids": {"m4": 1}}, InvalidMessage, "ids"),
        ({"ids": None}, InvalidMessage, "ids"),
        ({"ids": ["m4", "\ud800"]}, InvalidMessage, "ids"),
        ({"before": -1}, InvalidQuery, "before"),
        ({"after": 21}, InvalidQuery, "after"),
        ({"after": True}, InvalidQuery, "after"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(ann, arguments, error, field):
    with pytest.raises(error) as caught:
        ann.around(**{"ids": "m4", **arguments})
    assert caught.value.field == field


def test_forgetting_an_id_that_cannot_be_stored_is_refused_by_name_too(ann):
    with pytest.raises(InvalidMessage, match="lone surrogate"):
        ann.forget(["m4", "\ud800"])
    assert len(ann.messages()) == 10


def test_a_closed_memory_says_so(tmp_path):
    with open_memory(tmp_path / "closed.db", embedder=None) as memory:
        session = memory.conversation("acme", "ann", "monday")
    with pytest.raises(StoreClosed):
        session.around("m1")


@given(
    wanted=st.sets(st.integers(0, 9), max_size=5),
    before=st.integers(0, 4),
    after=st.integers(0, 4),
)
def test_windows_are_the_runs_of_all_that_is_near(shared_session, wanted, before, after):
    near = {
        place
        for number in wanted
        for place in range(max(0, number - before), min(9, number + after) + 1)
    }
    got = ids(shared_session.around([f"m{number}" for number in wanted], before, after))
    assert [place for window in got for place in window] == sorted(near)
    assert all(window == list(range(window[0], window[-1] + 1)) for window in got)
    assert all(one[-1] + 1 < other[0] for one, other in pairwise(got))


@pytest.fixture(scope="module")
def shared_session(tmp_path_factory):
    with open_memory(tmp_path_factory.mktemp("around") / "memory.db", embedder=None) as memory:
        session = memory.conversation("acme", "ann", "monday")
        for number in range(10):
            session.add("x", id=f"m{number}")
            memory.conversation("acme", "bob", "monday").add("x")
        yield session
