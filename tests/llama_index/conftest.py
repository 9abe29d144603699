from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rag_memory_plugins import Conversation, Event, Memory, open_memory

HERE: Final = Path(__file__).parent
OF_THE_FRAMEWORK: Final = (
    # Workflows look at every attribute of an agent, pydantic's deprecated ones included.
    "ignore::pydantic.warnings.PydanticDeprecationWarning",
    # ReActAgent asks its Context whether it is running, from within a step.
    "ignore:is_running called from within a step:DeprecationWarning",
    # Every workflow of version 1 makes what that version warns of.
    "ignore:ServiceManager is deprecated:DeprecationWarning",
    # An index imports LangChain's integrations where they are installed.
    "ignore:`langchain-community` is being sunset:DeprecationWarning",
)
"""Warnings that LlamaIndex gives of itself; its versions differ in them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for warning in OF_THE_FRAMEWORK:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def memory(tmp_path: Path, events: list[Event]) -> Iterator[Memory]:
    with open_memory(tmp_path / "memory.db", embedder=None, hooks=[events.append]) as opened:
        yield opened


@pytest.fixture
def ann(memory: Memory) -> Conversation:
    """A user's conversation, and what she said before."""
    memory.conversation("acme", "ann", "monday").add("I moved to Lisbon in May")
    return memory.conversation("acme", "ann", "tuesday")


@pytest.fixture
def bob(memory: Memory) -> Conversation:
    """The same of another tenant's."""
    memory.conversation("globex", "bob", "monday").add("I moved to Oslo in June")
    return memory.conversation("globex", "bob", "tuesday")


@pytest.fixture(autouse=True)
def closed_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """LlamaIndex's sync side makes an event loop where there is none, and never closes it."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield  # pytest-asyncio brings its own
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
