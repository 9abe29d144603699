"""What a process keeps of texts between turns does not outlive their erasure."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import types
from datetime import datetime, timezone

import pytest

from rag_memory_plugins import Filter, SummaryLine
from rag_memory_plugins.retrieval.embedding import CachedEmbedder
from rag_memory_plugins.testing.fakes import WordEmbedder

SECRET = "QZX4821"
LONG = f"The gate is locked, and {SECRET} is the code. It rained on the hills. " * 6
START = datetime(2026, 5, 1, tzinfo=timezone.utc)
NO_TEXTS = {
    "langchain.foreign._keywords",
    "memory.rendering.day_line",
    "router.evidence.bounds",
    "router.evidence.share",
    "router.present._pattern",
    "router.prices.price_of",
    "tokens._load",
    "windows._found",
    "windows._pattern",
    "windows._table",
}
"""Caches of what ships with the package, of models' names, of numbers, and of days."""


class Facts:
    """A `FactSource` that repeats what was said."""

    async def acurrent(self, namespace, query, limit):
        return [SummaryLine(f"The code is {SECRET}", START, ("secret",))]


def filled():
    """The package's caches that hold something."""
    wrapper = type(functools.lru_cache(len))
    return {
        f"{module.__name__.removeprefix('rag_memory_plugins.')}.{name}"
        for module in [*sys.modules.values()]
        if getattr(module, "__name__", "").startswith("rag_memory_plugins")
        for name, value in [*vars(module).items()]
        if isinstance(value, wrapper)
        and value.__module__ == module.__name__
        and value.cache_info().currsize
    }


def texts_in(value):
    """Every str that a value leads to, classes and code apart."""
    seen, waiting, found = set(), [value], []
    code = (type, types.FunctionType, types.MethodType, types.ModuleType, types.BuiltinFunctionType)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, code):
            continue
        seen.add(id(item))
        found += [item] if isinstance(item, str) else []
        waiting += gc.get_referents(item)
    return found


ERASES = {
    "forget": lambda ann: ann.forget("secret"),
    "filter": lambda ann: ann.forget(Filter(roles="user")),
    "session": lambda ann: ann.erase(),
    "user": lambda ann: ann.erase(level="user"),
}


@pytest.mark.parametrize("erase", ERASES.values(), ids=ERASES)
def test_an_erase_empties_every_cache_of_texts(opened, erase):
    ann = opened(facts=Facts()).conversation("acme", "ann", "monday")
    ann.add(LONG, id="secret")
    ann.add("Good morning, what was said yesterday?")
    ann.memory.settle()
    assert SECRET in ann.context("Which code opens the gate?", 200).text
    kept = {"memory.draft.line_message", "retrieval.lexical._term"}
    assert kept <= filled()
    assert erase(ann).messages >= 1
    assert filled() <= NO_TEXTS


def test_passages_of_a_long_message_are_not_kept_after_it_is_forgotten(opened):
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    ann = opened(embedder="default").conversation("acme", "ann", "monday")
    ann.add(LONG, id="secret")
    ann.memory.settle()
    assert SECRET in ann.context("Which code opens the gate?", 200).text
    assert "retrieval.sentences._known_passages" in filled()
    ann.forget("secret")
    assert filled() <= NO_TEXTS


def test_a_question_is_remembered_by_its_digest():
    class Model(WordEmbedder):
        """The same without a list of what it was asked."""

        async def aembed_query(self, text):
            return self._vector(text)

    embedder = CachedEmbedder(Model())
    asyncio.run(embedder.aembed_query(f"What is {SECRET} for?"))
    assert not any(SECRET in text for text in texts_in(vars(embedder)))
