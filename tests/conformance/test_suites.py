"""Every store port has one suite, every method of it is asked for, and every engine joins it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path

import pytest

from rag_memory_plugins import ports, stores, testing
from rag_memory_plugins.ports import (
    FactStore,
    ItemStore,
    MessageLog,
    SharedCache,
    SharedState,
    VectorIndex,
    VectorStore,
)
from rag_memory_plugins.stores.database import Database
from rag_memory_plugins.testing.conforming import Conformance, methods_of

TESTS = Path(__file__).resolve().parents[1]
STORE_PORTS = [FactStore, ItemStore, MessageLog, SharedCache, SharedState, VectorIndex, VectorStore]
NO_SUITE = {
    "FactExtractor": "what a user brings; those of ours have tests of their own",
    "StateComparer": "what an extractor may be besides",
    "ReadingQueue": "the outbox under another name: tests/memory/test_extracting.py",
    "FactSource": "what a user brings; no store of ours is one",
}


def modules(package):
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def classes(package):
    for module in modules(package):
        for _, each in inspect.getmembers(module, inspect.isclass):
            if each.__module__ == module.__name__:
                yield each


def suites():
    """Port -> its suites."""
    found = {}
    for each in classes(testing):
        suite = issubclass(each, Conformance) and each.__name__.endswith("Conformance")
        if suite and each.port is not None:
            found.setdefault(each.port, []).append(each)
    return found


@cache
def joined():
    """(the name of what a class in the tests is derived from, its file's text)."""
    found = []
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "Conformance" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                found += [(ast.unparse(base), text) for base in node.bases]
    return found


def test_every_store_port_has_one_suite():
    files = ("facts", "index", "items", "log", "shared")
    of = [importlib.import_module(f"{ports.__name__}.{name}") for name in files]
    wanted = {
        each.__name__
        for module in of
        for _, each in inspect.getmembers(module, inspect.isclass)
        if getattr(each, "_is_protocol", False) and each.__module__ == module.__name__
    }
    found = suites()
    assert {port.__name__ for port in found} == wanted - NO_SUITE.keys()
    assert {len(each) for each in found.values()} == {1}


@pytest.mark.parametrize("port", STORE_PORTS)
def test_a_suite_asks_for_every_method_of_its_port(port):
    (suite,) = suites()[port]
    text = "".join(inspect.getsource(each) for each in suite.__mro__[:-1])
    missing = [name for name in methods_of(port) if f".{name}(" not in text]
    assert missing == []


@pytest.mark.parametrize("port", STORE_PORTS)
def test_every_engine_joins_the_suite_of_its_port(port):
    (suite,) = suites()[port]
    of_suite = {suite.__name__}
    texts = [text for base, text in joined() if base in of_suite]
    engines = [each for each in classes(stores) if set(methods_of(port)) <= set(dir(each))]
    if port in (
        FactStore,
        ItemStore,
        MessageLog,
        VectorIndex,
    ):  # one for all databases, so each of these too
        engines = [each for each in classes(stores) if each.__base__ is Database]
        # What subclasses of an index are made of is a store: see tests/conformance/test_mirrored.py.
    missing = [each.__name__ for each in engines if not any(each.__name__ in t for t in texts)]
    assert engines != []
    assert missing == []
