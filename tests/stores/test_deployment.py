"""What stands in deploy/: the compose file's form, and rights that are enough and not too many."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
import yaml

from rag_memory_plugins import open_memory
from rag_memory_plugins.errors import StoreReadOnly
from rag_memory_plugins.options import INDEX_SCHEMES, SHARED_SCHEMES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("deployment.md", "engines.md")}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_the_compose_file_has_the_three_servers_and_only_words_of_the_specification(compose):
    assert set(compose) <= {"name", "services", "volumes", "networks", "configs", "secrets"}
    assert set(compose["services"]) == {"postgres", "qdrant", "redis"}
    words = {"image", "restart", "user", "environment", "command", "shm_size", "ports", "volumes"}
    for service in compose["services"].values():
        assert set(service) <= words | {"healthcheck"}


@pytest.mark.parametrize("name", ["postgres", "qdrant", "redis"])
def test_a_server_is_pinned_checked_and_open_on_this_machine_alone(compose, name):
    service = compose["services"][name]
    assert re.fullmatch(r"[\w./]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"])
    check = service["healthcheck"]
    assert set(check) == {"test", "interval", "timeout", "retries"}
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_what_must_last_stands_in_named_volumes(compose):
    named = [
        place.split(":")[0] for s in compose["services"].values() for place in s.get("volumes", [])
    ]
    assert sorted(named) == sorted(compose["volumes"]) == ["postgres", "qdrant"]


def test_no_password_stands_in_a_file_and_none_may_be_empty(compose):
    asked = set()
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|KEY|AUTH", name):
                found = re.fullmatch(r"\$\{(\w+):\?[^}]+\}", value)
                assert found, (name, value)
                asked.add(found.group(1))
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == {f"{name}=" for name in asked}


def test_redis_evicts_nothing(compose):
    command = compose["services"]["redis"]["command"][-1]
    assert "maxmemory-policy noeviction" in command


def test_the_table_of_urls_names_every_scheme():
    for scheme in (*INDEX_SCHEMES, *SHARED_SCHEMES):
        assert f"`{scheme}://" in PAGES["engines.md"], scheme


def _points(raw):
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'rag_memory_vectors' AND tablename ~ 'points'"
    (table,) = raw.execute(query).fetchone()
    return raw.execute(f"SELECT count(*) FROM rag_memory_vectors.{table}").fetchone()[0]


def test_the_rights_of_the_two_roles_are_enough_and_the_second_wall_holds(postgres, words):
    name = postgres.create_database()
    url = postgres.url(name)
    statements = (DEPLOY / "roles.sql").read_text().replace("DATABASE memory", f"DATABASE {name}")
    owner, app = (url.replace("postgres@", f"{role}@") for role in ("memory_owner", "memory_app"))
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(statements)
        try:
            with pytest.raises(StoreReadOnly, match=r"docs/deployment\.md"):
                open_memory(app, embedder=words)
            open_memory(owner, index="pgvector", embedder=words).close()
            with open_memory(app, index="pgvector", embedder=words, background=False) as memory:
                assert memory.health()["row_level_security"] == "on"
                ann = memory.conversation("acme", "ann", "monday")
                ann.add("the parrot is green")
                assert memory.settle() == 0
                assert _points(raw) == 1
                assert ann.search("parrot", 1)[0].message.content == "the parrot is green"
                with psycopg.connect(app) as other:
                    assert other.execute("SELECT 1 FROM rag_memory.messages").fetchall() == []
                log = len(postgres.log)
                assert ann.erase(level="user").complete
            refused = [line for line in postgres.log[log:] if "permission denied" in line]
            assert refused == []
            assert _points(raw) == 0
            with psycopg.connect(app) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute("DROP TABLE rag_memory.messages")
        finally:
            raw.execute("DROP OWNED BY memory_app, memory_owner CASCADE")
            raw.execute("DROP ROLE memory_app, memory_owner")
