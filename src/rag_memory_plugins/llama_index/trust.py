"""Which memory a written reference may become: one that the caller trusts, and no other."""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from rag_memory_plugins.budget import TokenBudget
from rag_memory_plugins.errors import InvalidBudget, InvalidInput, InvalidNamespace
from rag_memory_plugins.forgetting import keeps_texts
from rag_memory_plugins.llama_index.compat import SEES_RUNS

if TYPE_CHECKING:
    from rag_memory_plugins.llama_index.memory import ScopedMemory

__all__ = [
    "alive",
    "budget_of",
    "check_run",
    "expect",
    "restoring",
    "trusted",
    "turns",
    "untrusted",
]

alive: Final[weakref.WeakValueDictionary[str, ScopedMemory]] = weakref.WeakValueDictionary()
"""Every memory of this process by its reference, which nobody else can guess."""
_trusted: Final[contextvars.ContextVar[tuple[ScopedMemory, ...]]] = contextvars.ContextVar(
    "rag_memory_trusted", default=()
)
"""The memories of the `restoring` around this code."""


@contextlib.contextmanager
def restoring(memory: ScopedMemory, *others: ScopedMemory) -> Iterator[ScopedMemory]:
    """Trust `memory` for references read back inside the block, a workflow's run included.

    A saved Context says whose memory it holds, but whoever kept it may have changed that: so the
    caller names the memory, and `others` where agents have memories of their own. A reference to
    any other namespace raises `InvalidNamespace`.
    """
    token = _trusted.set((memory, *others))
    try:
        yield memory
    finally:
        _trusted.reset(token)


def trusted(namespace: object) -> ScopedMemory | None:
    """The trusted memory of this namespace; None where nothing says whom to trust.

    Raises `InvalidNamespace` where others are trusted.
    """
    memories = _trusted.get()
    for memory in memories:
        if memory.namespace == namespace:
            return memory
    if memories:
        expect(memories[0], namespace)
    return None


def expect(memory: ScopedMemory, namespace: object) -> None:
    """Raise `InvalidNamespace` unless the trusted `memory` is of this namespace."""
    if namespace != memory.namespace:
        raise InvalidNamespace(
            "namespace", namespace, f"the trusted memory is {memory.namespace!r}"
        )


def check_run(held: ScopedMemory, given: object | None) -> None:
    """Raise `InvalidNamespace` if an agent's run was given another memory than its Context holds.

    LlamaIndex uses the Context's and drops the given one without a word.
    """
    if given is not None and getattr(given, "namespace", None) != held.namespace:
        raise InvalidNamespace(
            "memory",
            given,
            f"the run's Context holds the memory of {held.namespace!r}; "
            "give the run a Context of its own",
        )


def untrusted(namespace: str) -> InvalidInput:
    """The error of a reference of which nothing says what it may become."""
    given = "pass memory= to the agent's run, or " if SEES_RUNS else ""
    return InvalidInput(
        "memory",
        namespace,
        f"nothing says whose memory this reference may become; {given}run inside "
        "`with restoring(memory)`, memory being a ScopedMemory of the user you have authenticated",
    )


def budget_of(data: Mapping[str, Any]) -> TokenBudget:
    """The budget that a written reference states. Raises `InvalidBudget`."""
    given = data.get("budget", {"total": 4000})
    try:
        return TokenBudget(**given)
    except TypeError as error:
        raise InvalidBudget("budget", given, "pass what to_dict() wrote") from error


class _Turns:
    """The turns that memories keep, as a cache that an erase in this process empties."""

    def __init__(self) -> None:
        self.emptied = 0

    def cache_clear(self) -> None:
        self.emptied += 1
        for reference in list(alive.valuerefs()):
            memory = reference()
            if memory is not None:
                memory.forget_turn()


turns: Final = keeps_texts(_Turns())
"""`emptied` counts erases: what was read before one is not kept after it."""
