"""What `attach` makes of a chain: its parts looked through, and replaced in copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableAssign,
    RunnableBranch,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase, RunnableEachBase
from langchain_core.runnables.history import RunnableWithMessageHistory

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.langchain.around import Around
from rag_memory_plugins.langchain.limited import LimitedModel, RememberingModel, is_model
from rag_memory_plugins.langchain.remembering import Keys, RememberingChain
from rag_memory_plugins.langchain.wanted import Wanted, record_of, recorded

__all__ = ["attached_chain", "is_chain"]

Step: TypeAlias = Runnable[Any, Any]
_HISTORIES: Final = ("history", "chat_history")
_QUESTIONS: Final = ("input", "question", "query")
_CHAINS: Final = (
    RunnableSequence,
    RunnableParallel,
    RunnableAssign,
    RunnableBranch,
    RunnableBindingBase,
    RunnableEachBase,
    RunnableWithFallbacks,
)


def is_chain(target: object) -> bool:
    """Whether a runnable is made of others that can be looked at."""
    return isinstance(target, _CHAINS)


def attached_chain(chain: Any, wanted: Wanted) -> Step:
    """`chain` with the memory in it: as history, beside what its retrievers find, or as a model.

    Raises `InvalidInput` for a chain that has no place for one.
    """
    parts = list(_parts(chain))
    if any(isinstance(part, RunnableWithMessageHistory) for part in parts):
        remedy = "it has a history of its own; attach to the chain inside it"
        raise InvalidInput("target", type(chain).__name__, remedy)
    if any(isinstance(part, Around) or record_of(part) is not None for part in parts):
        remedy = "a part of it has a memory already; detach that, or attach to the whole alone"
        raise InvalidInput("target", _names(parts), remedy)
    wanted.refuse("chain", nodes="nodes of a graph")
    history = _history_key(parts, wanted)
    if history is not None:
        return _with_history(chain, parts, history, wanted)
    if any(isinstance(part, BaseRetriever) for part in parts):
        keys = {"input_messages_key": "history", "output_messages_key": "history"}
        wanted.refuse("chain without a MessagesPlaceholder", **keys)
        found: Step = _rewritten(chain, _recalling(wanted))
        return found
    first = chain.first if isinstance(chain, RunnableSequence) else None
    if first is not None and is_model(first):
        return _with_model(chain, first, wanted)
    remedy = (
        "no place for a memory in it: no retriever, and no MessagesPlaceholder in a prompt (what "
        "functions hold is not seen); add MessagesPlaceholder('history'), or attach to its model"
    )
    raise InvalidInput("target", _names(parts), remedy)


def _with_history(chain: Step, parts: list[Step], history: str, wanted: Wanted) -> Step:
    if not any(is_model(part) for part in parts):
        remedy = "no chat model in it that a budget could be kept for; see LangChain's chat models"
        raise InvalidInput("target", _names(parts), remedy)
    if not any(isinstance(part, BaseRetriever) for part in parts):
        wanted.refuse("chain without a retriever", rerank="documents to rerank")
    asked = wanted.input_messages_key or _question_key(parts, history)
    keys = Keys(asked, history, wanted.output_messages_key)
    return RememberingChain(
        _rewritten(chain, _limiting(wanted, 1 / 4)), wanted.conversation, wanted.shares,
        wanted.level, keys,
    )  # fmt: skip


def _with_model(chain: RunnableSequence[Any, Any], first: Step, wanted: Wanted) -> Step:
    wanted.refuse("chain that begins with a model", rerank="documents to rerank")
    keys = ("input_messages_key", "output_messages_key", "history_messages_key")
    wanted.refuse("chain that begins with a model", **dict.fromkeys(keys, "such key"))
    asked = RememberingModel(first, wanted.middleware(), wanted.conversation)
    return chain.model_copy(update={"first": asked})


def _recalling(wanted: Wanted) -> Callable[[Step], Step | None]:
    """Retrievers that find what was said, too; models as `_limiting` has them."""
    limited = _limiting(wanted, 2 / 3)  # the rest is for templates and the question

    def change(part: Step) -> Step | None:
        if isinstance(part, BaseRetriever):
            found = wanted.compressed(wanted.retriever(part), 2 / 3)
            return recorded(found, part, wanted)
        return limited(part) if wanted.budget is not None else None

    return change


def _limiting(wanted: Wanted, documents: float) -> Callable[[Step], Step | None]:
    """Models within the budget, and documents within a part of it."""

    def change(part: Step) -> Step | None:
        if isinstance(part, BaseRetriever):
            return wanted.compressed(part, documents)
        if is_model(part) and not is_chain(part):
            return LimitedModel(part, wanted.limits, wanted.conversation)
        return None

    return change


def _history_key(parts: Sequence[Step], wanted: Wanted) -> str | None:
    """The variable that the prompts' history stands in; None if they have none."""
    places = [m for part in parts for m in _places(part)]
    found = list(dict.fromkeys(place.variable_name for place in places))
    stated = wanted.history_messages_key
    if stated is not None:
        if stated not in found:
            remedy = f"no MessagesPlaceholder has this name; there are: {', '.join(found) or None}"
            raise InvalidInput("history_messages_key", stated, remedy)
        return stated
    known = found if len(found) == 1 else [name for name in found if name in _HISTORIES]
    if len(known) > 1 or (found and not known):
        remedy = f"pass the name of one MessagesPlaceholder: {', '.join(found)}"
        raise InvalidInput("history_messages_key", stated, remedy)
    return known[0] if known else None


def _question_key(parts: Sequence[Step], history: str) -> str:
    """The variable that holds what the user says."""
    prompts = [
        part
        for part in parts
        if isinstance(part, ChatPromptTemplate)
        and any(place.variable_name == history for place in _places(part))
    ]
    places = {place.variable_name for part in parts for place in _places(part)}
    names = dict.fromkeys(name for prompt in prompts for name in prompt.input_variables)
    variables = [name for name in names if name not in places]
    if not variables:
        return history  # the history ends with what the user says
    known = variables if len(variables) == 1 else [n for n in variables if n in _QUESTIONS]
    if len(known) != 1:
        remedy = f"pass the key of what the user says, one of: {', '.join(variables)}"
        raise InvalidInput("input_messages_key", None, remedy)
    return known[0]


def _places(part: object) -> list[MessagesPlaceholder]:
    messages = part.messages if isinstance(part, ChatPromptTemplate) else []
    return [item for item in messages if isinstance(item, MessagesPlaceholder)]


def _names(parts: Sequence[Step]) -> str:
    kinds = [type(part).__name__ for part in parts if not is_chain(part)]
    return ", ".join(dict.fromkeys(kinds)) or type(parts[0]).__name__


def _parts(step: Step) -> Iterator[Any]:
    """A runnable and all that it is made of."""
    yield step
    for inner in _inner(step):
        yield from _parts(inner)


def _inner(step: Step) -> list[Step]:
    if isinstance(step, RunnableSequence):
        return [step.first, *step.middle, step.last]
    if isinstance(step, RunnableParallel):
        return list(step.steps__.values())
    if isinstance(step, RunnableAssign):
        return [step.mapper]
    if isinstance(step, (RunnableBindingBase, RunnableEachBase)):
        return [step.bound]
    if isinstance(step, RunnableBranch):
        return [*(inner for pair in step.branches for inner in pair), step.default]
    if isinstance(step, RunnableWithFallbacks):
        return [step.runnable, *step.fallbacks]
    return []


def _rewritten(step: Step, change: Callable[[Step], Step | None]) -> Any:
    """`step` with what `change` makes of its parts, in copies; itself where nothing changes."""
    made = change(step)
    if made is not None:
        return made
    inner = _inner(step)
    new = [_rewritten(part, change) for part in inner]
    if all(a is b for a, b in zip(inner, new, strict=True)):
        return step
    return step.model_copy(update=_update(step, new))  # type: ignore[attr-defined]  # all of these are


def _update(step: Step, new: list[Any]) -> dict[str, Any]:
    """The fields of `step` that hold its parts, with `new` ones."""
    if isinstance(step, RunnableSequence):
        return {"first": new[0], "middle": new[1:-1], "last": new[-1]}
    if isinstance(step, RunnableParallel):
        return {"steps__": dict(zip(step.steps__, new, strict=True))}
    if isinstance(step, RunnableAssign):
        return {"mapper": new[0]}
    if isinstance(step, RunnableBranch):
        return {"branches": list(zip(new[:-1:2], new[1:-1:2], strict=True)), "default": new[-1]}
    if isinstance(step, RunnableWithFallbacks):
        return {"runnable": new[0], "fallbacks": new[1:]}
    return {"bound": new[0]}
