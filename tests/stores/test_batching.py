"""Appends that are committed together store what they would have stored one by one."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from rag_memory_plugins import Message, Namespace, ToolCall, open_memory
from rag_memory_plugins.errors import MessageConflict
from rag_memory_plugins.portal import get_portal
from rag_memory_plugins.stores.batching import Append
from rag_memory_plugins.stores.rows import keyword_row
from rag_memory_plugins.stores.schema import (
    folds,
    keywords,
    message_sizes,
    messages,
    outbox,
    scopes,
    session_sizes,
    sessions,
)

NUMBERS = itertools.count()
KINDS = ("user", "assistant", "system", "call", "tool", "two")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def memory(request, tmp_path_factory):
    """One for all examples, each of which has tenants of its own."""
    from rag_memory_plugins.testing.fakes import WordEmbedder

    if request.param == "sqlite":
        url = str(tmp_path_factory.mktemp("log") / "memory.db")
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
    with open_memory(url, embedder=WordEmbedder(), background=False, drain_seconds=0) as opened:
        yield opened


def said(kind, key, tokens):
    """(message, keyword columns, tokens) of one turn; "two" are two of them."""
    call = ToolCall("call-1", "look")
    made = {
        "call": [Message("assistant", "I look", id=key, tool_calls=(call,))],
        "tool": [Message("tool", "found", id=key, tool_call_id="call-1")],
        "two": [Message("user", "first", id=key), Message("assistant", "next", id=f"{key}+")],
    }.get(kind) or [Message(kind, f"said by {kind}", id=key)]
    return [(message, keyword_row(message), tokens) for message in made]


def written(memory, unit):
    return get_portal().call(memory.log.database.awrite(unit, "everybody"))


def stored(memory, tenant):
    """All that is kept of a tenant, without the numbers that a database gives."""
    talks = {}

    def read(connection):
        named = select(scopes.c.key, sessions.c.name, sessions.c.id).join_from(
            scopes, sessions, sessions.c.scope_id == scopes.c.id
        )
        for key, name, session in connection.execute(named).all():
            if not key.startswith(tenant):
                continue
            mine = select(messages.c.seq, messages.c.id, messages.c.group_seq)
            rows = connection.execute(
                mine.where(messages.c.session_id == session).order_by(messages.c.seq)
            ).all()
            ids = {row.seq: row.id for row in rows}
            columns = [
                (message_sizes, ("tokens", "said")),
                (keywords, ("flags", "terms", "days")),
                (outbox, ("due",)),
            ]
            derived = [
                [
                    tuple(row)
                    for row in connection.execute(
                        select(*(table.c[name] for name in names))
                        .where(table.c.seq.in_(list(ids)))
                        .order_by(table.c.seq)
                    )
                ]
                for table, names in columns
            ]
            size = connection.execute(
                select(session_sizes).where(session_sizes.c.session_id == session)
            ).one()
            due = connection.execute(select(folds).where(folds.c.session_id == session)).all()
            talks[key.removeprefix(tenant), name] = (
                [(row.id, ids.get(row.group_seq)) for row in rows],
                derived,
                tuple(size)[1:],
                len(due),
            )

    get_portal().call(memory.log.database.aread(read))
    return talks


turns = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["monday", "tuesday"]),
    st.sampled_from(KINDS),
    st.integers(0, 5),
    st.sampled_from([1, 7, 499, 501]),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.lists(turns, min_size=1, max_size=12), min_size=1, max_size=3))
def test_together_is_as_one_by_one(memory, batches):
    number = next(NUMBERS)

    def units(tenant, batch):
        return [
            Append(
                Namespace(f"{tenant}{number}.", f"u{user}", session),
                # The same id with the same content is a retry.
                said(kind, f"{kind}-{key}", tokens),
            )
            for user, session, kind, key, tokens in batch
        ]

    for batch in batches:
        one, many = units("one", batch), units("many", batch)
        expected = written(memory, lambda c, some=one: [unit(c) for unit in some])
        assert written(memory, lambda c, some=many: Append.together(c, some)) == expected
    assert stored(memory, f"many{number}.") == stored(memory, f"one{number}.")


def test_a_conflict_among_many_fails_alone(memory):
    tenant = f"conflict{next(NUMBERS)}"
    talks = [memory.conversation(tenant, f"u{user}", "s") for user in range(8)]
    for talk in talks[:3]:
        talk.add("held", id="m")

    async def all_at_once():
        adding = [talk.aadd("new" if at else "held", id="m") for at, talk in enumerate(talks)]
        return await asyncio.gather(*adding, return_exceptions=True)

    came_to = asyncio.run(all_at_once())
    assert [type(result) is MessageConflict for result in came_to] == [
        False,
        *[True] * 2,
        *[False] * 5,
    ]
    texts = [[message.content for message in talk.messages()] for talk in talks]
    assert texts == [["held"]] * 3 + [["new"]] * 5


def test_twenty_appends_together_are_no_more_statements_than_three_apart(memory):
    def count(names, run):
        units = [Append(Namespace(*name), said("user", "m", 3)) for name in names]
        ran = []

        def unit(connection):
            def note(*_):
                ran.append(1)

            event.listen(connection, "before_cursor_execute", note)
            run(connection, units)
            event.remove(connection, "before_cursor_execute", note)

        written(memory, unit)
        return len(ran)

    tenant = f"count{next(NUMBERS)}"
    apart = count(
        [(tenant, f"u{user}", "a") for user in range(3)], lambda c, some: [each(c) for each in some]
    )
    together = count([(tenant, f"u{user}", "b") for user in range(20)], Append.together)
    assert together <= apart
