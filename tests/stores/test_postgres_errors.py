"""What a Postgres server or its client may refuse: each a `StoreError` that says what to do."""

from __future__ import annotations

import inspect
import logging
import threading
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from psycopg import errors as theirs

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from rag_memory_plugins.stores.postgres import PostgresDatabase
from tests.stores.servers import PostgresServer

KEY = "hunter2-secret"
URL = f"postgresql://ann:{KEY}@db.example/app"
GENERAL = "the server's log says more"


def kinds(module):
    """The client's public errors."""
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass)]
    return sorted(
        {kind for kind in found if issubclass(kind, psycopg.Error) and kind.__name__[0] != "_"},
        key=lambda kind: kind.__name__,
    )


def of_state(kind):
    """Its SQLSTATE, "" for what the client raises by itself."""
    state = vars(kind).get("sqlstate")
    return state if isinstance(state, str) else ""


@pytest.mark.parametrize("module", [psycopg, theirs])
def test_every_error_of_the_client_is_one_of_ours_with_a_remedy(module):
    database = PostgresDatabase(URL)
    assert len(kinds(module)) >= 9
    for kind in kinds(module):
        with pytest.raises(StoreError, match=r"^database db\.example/app: it broke; \w") as caught:
            with database.translated():
                raise kind("it broke")
        assert isinstance(caught.value.__cause__, kind)
        assert KEY not in str(caught.value)


def test_the_clients_errors_are_known():
    """One that is new here has to be looked at."""
    assert {kind.__name__ for kind in kinds(theirs) if not of_state(kind)} == {
        *("CancellationTimeout", "ConnectionTimeout", "DataError", "DatabaseError", "Error"),
        *("IntegrityError", "InterfaceError", "InternalError", "NotSupportedError"),
        *("OperationalError", "PipelineAborted", "ProgrammingError"),
    }
    assert {of_state(kind)[:2] for kind in kinds(theirs)} - {""} == set(
        "02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 "
        "42 44 53 54 55 57 58 72 F0 HV P0 XX".split()
    )


@pytest.mark.parametrize(
    ("state", "kind", "remedy"),
    [
        ("08006", StoreUnreachable, "check that the server runs"),
        ("57P01", StoreUnreachable, "check that the server runs"),
        ("57P03", StoreUnreachable, "check that the server runs"),
        ("25P03", StoreUnreachable, "check that the server runs"),
        ("53300", StoreUnreachable, "max_connections"),
        ("53100", StoreFull, "make room"),
        ("53200", StoreFull, "make room"),
        ("55P03", StoreLocked, "busy_timeout"),
        ("57014", StoreLocked, "busy_timeout"),
        ("40P01", StoreLocked, "busy_timeout"),
        ("40001", StoreLocked, "busy_timeout"),
        ("25006", StoreReadOnly, "write to the primary"),
        ("42501", StoreReadOnly, "docs/deployment.md"),
        ("42P01", StoreCorrupt, "a role that may create"),
        ("XX001", StoreCorrupt, "restore a backup"),
        ("28P01", StoreError, "the password"),
        ("3D000", StoreError, "create the database"),
        ("22021", StoreError, GENERAL),
    ],
)
def test_what_a_state_means_and_what_to_do(state, kind, remedy):
    with pytest.raises(StoreError, match=remedy) as caught:
        with PostgresDatabase(URL).translated():
            raise theirs.lookup(state)("it broke")
    assert type(caught.value) is kind


def test_a_unit_that_fails_by_something_else_tells_that(opened_there):
    """A bug of ours must not look like a store's."""
    memory = opened_there()

    def unit(_connection):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.portal.call(memory.log.database.awrite(unit))


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    """A server that asks a role of ours for its password."""
    with PostgresServer(max_connections=20) as server:
        rules = server.folder / "data" / "pg_hba.conf"
        ours = "host all walled 127.0.0.1/32 scram-sha-256\nhost all shut 127.0.0.1/32 reject\n"
        rules.write_text(ours + rules.read_text())
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute(f"CREATE ROLE walled LOGIN PASSWORD '{KEY}'")
            owner.execute("CREATE ROLE shut LOGIN")
            owner.execute("CREATE ROLE narrow LOGIN CONNECTION LIMIT 0")
            owner.execute("CREATE ROLE poor LOGIN")
            owner.execute("GRANT CREATE ON DATABASE postgres TO walled, narrow")
            owner.execute("SELECT pg_reload_conf()")
        yield server


def refusal(url, caplog, kind=StoreError):
    """What opening says, which is nowhere the password."""
    told = []
    caplog.set_level(logging.DEBUG)
    hooks = [lambda event: told.append(repr(event))]
    with pytest.raises(StoreError) as caught:
        open_memory(url, embedder=None, busy_timeout=2, hooks=hooks).close()
    assert type(caught.value) is kind
    error: BaseException | None = caught.value
    shown = [caplog.text, *told]
    while error is not None:
        shown.append(f"{error} {error!r}")
        error = error.__cause__
    assert KEY not in "".join(shown)
    assert "wrong-one" not in "".join(shown)
    return str(caught.value)


def test_the_right_password_opens_and_is_nowhere_to_be_read(walled, caplog):
    caplog.set_level(logging.DEBUG)
    told = []
    url = walled.url().replace("postgres@", f"walled:{KEY}@")
    hooks = [lambda event: told.append(repr(event))]
    with open_memory(url, embedder=None, hooks=hooks) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add("hello")
        facts = memory.health()
        assert facts["row_level_security"] == "on"
        shown = (*told, caplog.text, repr(memory), memory.name, repr(memory.log.database), facts)
    assert KEY not in "".join(map(str, shown))


@pytest.mark.parametrize("password", ["", ":wrong-one"])
def test_a_wrong_password_is_said_to_be_wrong(walled, caplog, password):
    url = walled.url().replace("postgres@", f"walled{password}@")
    assert "check the user and the password" in refusal(url, caplog)


@pytest.mark.parametrize("role", ["nobody_at_all", "shut"])
def test_a_role_that_may_not_come_in_is_told_so(walled, caplog, role):
    url = walled.url().replace("postgres@", f"{role}:{KEY}@")
    assert "check the user and the password" in refusal(url, caplog)


def test_a_database_that_is_not_there_is_named_with_what_to_do(walled, caplog):
    said = refusal(walled.url("nowhere").replace("postgres@", f"postgres:{KEY}@"), caplog)
    assert 'database "nowhere" does not exist' in said
    assert "create the database first" in said


def test_too_many_connections_of_a_role_are_told_as_that(walled, caplog):
    url = walled.url().replace("postgres@", f"narrow:{KEY}@")
    assert "raise max_connections" in refusal(url, caplog, StoreUnreachable)


def test_a_server_that_is_full_is_told_as_that(walled, caplog):
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(walled.url()))
        assert "raise max_connections" in refusal(walled.url(), caplog, StoreUnreachable)


def test_a_role_without_rights_is_told_which_page_lists_them(walled, caplog):
    url = walled.url().replace("postgres@", f"poor:{KEY}@")
    assert "docs/deployment.md" in refusal(url, caplog, StoreReadOnly)


def test_an_option_that_libpq_does_not_know_is_told_as_that(walled, caplog):
    assert "check the options of the URL" in refusal(f"{walled.url()}?no_such_option=1", caplog)


def test_a_server_that_only_reads_says_so_and_is_read(opened_there, log_url):
    opened_there().conversation("acme", "ann", "monday").add("the parrot")
    name = log_url.rpartition("/")[2]
    with psycopg.connect(log_url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with open_memory(log_url, embedder=None, background=False) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        assert len(ann.search("parrot")) == 1
        with pytest.raises(StoreReadOnly, match="replica or read-only; write to the primary"):
            ann.add("more")


@contextmanager
def held_lock(url, statement):
    with psycopg.connect(url) as other:
        other.execute(statement)
        yield


def test_a_lock_that_is_held_too_long_is_told_in_time(opened_there, log_url):
    memory = opened_there(busy_timeout=0.2)
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("one", id="m1")
    with held_lock(log_url, "LOCK TABLE rag_memory.messages IN ACCESS EXCLUSIVE MODE"):
        with pytest.raises(StoreLocked, match="raise busy_timeout or try again"):
            ann.add("two", id="m2")
        with pytest.raises(StoreLocked):
            ann.messages()
    ann.add("two", id="m2")
    assert [message.id for message in ann.messages()] == ["m1", "m2"]


def test_a_deadlock_of_two_memories_ends_well_for_both(opened_there, log_url):
    with psycopg.connect(log_url, autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE public.pairs AS SELECT n, 0 AS said FROM generate_series(1, 2) n"
        )
        name = log_url.rpartition("/")[2]
        owner.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    memories = [opened_there(), opened_there()]
    both, first_time = threading.Barrier(2), threading.Lock()
    met = set()

    def unit(order):
        def run(connection):
            for number in order:
                connection.exec_driver_sql(
                    f"UPDATE public.pairs SET said = said + 1 WHERE n = {number}"
                )
                with first_time:
                    meets = order not in met
                    met.add(order)
                if meets:
                    both.wait(10)

        return run

    def write(memory, order):
        memory.portal.call(memory.log.database.awrite(unit(order)))

    threads = [
        threading.Thread(target=write, args=pair)
        for pair in zip(memories, [(1, 2), (2, 1)], strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(log_url) as owner:
        assert owner.execute("SELECT said FROM public.pairs ORDER BY n").fetchall() == [(2,), (2,)]
