"""Tenants of every engine at once, with hostile names, ids and filters, against a model in dicts.

```text
world    a memory on one engine, users whose names are look-alikes; for each user what it said, and
         what stands on its shelf
step     somebody calls a public method (one rule for each there is) with hostile ids and filters
after    what came back is the caller's own and what the model says; after whatever can erase,
         everybody else's is looked at too
```
"""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from rag_memory_plugins import open_memory
from rag_memory_plugins.memory.conversation import Conversation
from rag_memory_plugins.memory.entities import Entities
from rag_memory_plugins.memory.facts import Facts
from rag_memory_plugins.memory.memory import Memory
from rag_memory_plugins.memory.shelf import Shelf
from rag_memory_plugins.stores import mirrored
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.testing.pinecone_server import PineconeServer
from rag_memory_plugins.testing.qdrant_server import QdrantServer
from tests.isolation import World
from tests.isolation_actions import CONVERSATION, MEMORY, SHELF
from tests.isolation_facts import ENTITIES, FACTS
from tests.stores.conftest import postgres  # noqa: F401  # a fixture

LONG = os.environ.get("RAG_MEMORY_LONG") == "1"
LEAST = 1_430 if LONG else 40
"""Hostile ids and filters that each of the seven engines is tried with: 10,000 together."""

OFTEN = {
    "aforget": 8,
    "aadd": 3,
    "afind": 3,
    "asearch": 3,
    "apin": 2,
    "aunpin": 2,
    "achange": 2,
    "ainsert": 4,
}
"""How many rules a method has; one where it is not named."""


def public(cls):
    """Names of what a user may call; of a method in both faces the async one."""
    names = [name for name, value in vars(cls).items() if callable(value) and name[0] != "_"]
    return {name for name in names if f"a{name}" not in names}


@pytest.mark.parametrize(
    ("cls", "actions"),
    [
        (Conversation, CONVERSATION),
        (Memory, MEMORY),
        (Shelf, SHELF),
        (Facts, FACTS),
        (Entities, ENTITIES),
    ],
)
def test_every_public_method_has_an_action(cls, actions):
    assert public(cls) == set(actions)


def machine(world):
    """A machine with a rule for every public method of the five classes."""

    class Isolation(RuleBasedStateMachine):
        @initialize(data=st.data())
        def begin(self, data):
            world.begin(data.draw)

        def teardown(self):
            world.end()

    for cls, actions in (
        (Conversation, CONVERSATION),
        (Memory, MEMORY),
        (Shelf, SHELF),
        (Facts, FACTS),
        (Entities, ENTITIES),
    ):
        for name in sorted(public(cls)):

            def step(self, data, action=actions[name], name=f"{cls.__name__}.{name}"):
                world.step(name, functools.partial(action, world, data.draw))

            for often in range(OFTEN.get(name, 1)):
                each = functools.wraps(step)(lambda self, data, step=step: step(self, data))
                setattr(Isolation, f"{cls.__name__}_{name}_{often}", rule(data=st.data())(each))
    return Isolation


def in_sqlite(stack, folder, request):
    return {"url": folder / "memory.db"}


def in_postgres(stack, folder, request):
    server = request.getfixturevalue("postgres")
    return {"url": server.url(server.create_database())}


def with_edge(stack, folder, request):
    return {"url": folder / "memory.db", "index": f"edge:////{str(folder / 'edge').lstrip('/')}"}


def with_pgvector(stack, folder, request):
    return {**in_postgres(stack, folder, request), "index": "pgvector"}


def with_qdrant(stack, folder, request):
    server = stack.enter_context(QdrantServer())
    url = server.url.replace("http://", "qdrant://")
    return {"url": folder / "memory.db", "index": url}


def with_pinecone(stack, folder, request):
    pytest.importorskip("pinecone")
    from rag_memory_plugins.stores.pinecone import PineconeStore

    server = stack.enter_context(PineconeServer(dimension=64))
    store = PineconeStore(server.url, api_key="test-key")
    return {"url": folder / "memory.db", "index": store}


def with_langchain(stack, folder, request):
    vectorstores = pytest.importorskip("langchain_core.vectorstores")
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from rag_memory_plugins.langchain import as_index

    store = vectorstores.InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    return {"url": folder / "memory.db", "index": as_index(store)}


ENGINES = {
    "sqlite": in_sqlite,
    "postgres": in_postgres,
    "sqlite+edge": with_edge,
    "postgres+pgvector": with_pgvector,
    "sqlite+qdrant": with_qdrant,
    "sqlite+pinecone": with_pinecone,
    "sqlite+langchain": with_langchain,
}


SLOW = {"sqlite+pinecone", "postgres+pgvector"}
"""Engines that wait: for a write to be seen, for a table to be vacuumed."""


@pytest.mark.parametrize(
    "engine",
    [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in ENGINES],
)
def test_no_public_method_shows_or_touches_what_is_another_users(engine, tmp_path, request, capsys):
    with ExitStack() as stack:
        # Every user's vectors are asked of the store.
        stack.enter_context(mock.patch.object(mirrored, "EXACT_UP_TO", 0))
        options = ENGINES[engine](stack, tmp_path, request)
        owned = options.get("index")

        def opened():
            return open_memory(
                options["url"],
                index=owned,
                embedder=WordEmbedder(),
                counter="words",
                background=False,
                drain_seconds=0.0,
            )

        world = World(opened)
        stack.callback(world.close)
        seed = 1_000 * list(ENGINES).index(engine)
        while world.tried < LEAST:
            found = settings(
                max_examples=8 if LONG else 1,
                stateful_step_count=50,
                deadline=None,
                derandomize=False,
                database=None,
                suppress_health_check=list(HealthCheck),
                # To make what failed small takes minutes on an engine, and hides it till then.
                phases=tuple(Phase) if LONG else (Phase.generate,),
            )
            run_state_machine_as_test(seeded(seed)(machine(world)), settings=found)
            seed += 1
    with capsys.disabled():
        print(  # noqa: T201  # the counts are what this test is read for
            f"\n{engine}: {world.tried} hostile ids and filters in {world.steps} calls, "
            f"{world.leaks} leaks, {world.foreign} foreign deletes"
        )
    assert (world.leaks, world.foreign) == (0, 0)
    assert world.tried >= LEAST
