"""Filters and messages that databases read otherwise than Python does, as hypothesis strategies."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import cycle
from typing import Any, Final

from hypothesis import strategies as st

from rag_memory_plugins.filters import Filter
from rag_memory_plugins.types import Message

__all__ = [
    "KEYS",
    "NUMBERS",
    "TEXTS",
    "filters",
    "moments",
    "numbers",
    "operations",
    "samples",
    "scalars",
    "stored",
    "texts",
    "turns",
]

NOON: Final = datetime(2026, 5, 8, 12, tzinfo=timezone.utc)
KEYS: Final = [
    "a", "A", "a.b", "$", "$.a", "a[0]", 'a"b', "a\\", "a\\u0062", "", " ", "'", "metadata", "%", "_",
    "caf\u00e9", "cafe\u0301", "\U0001f600", "a\nb", "a\x7f", "tool_calls", '": 1, "a',
]  # fmt: skip
NUMBERS: Final = [
    0, 1, -1, 5, 5.0, 4.5, 0.1, 0.1 + 0.2, 0.3, -0.0, 1e300, 1.7976931348623157e308, 5e-324, 1e-320,
    2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, 2**63 + 1, 2.0**63, -(2**63) - 1, 10**30, 10**400,
    1 - 2**-53, 1.0000000001,
]  # fmt: skip
TEXTS: Final = [
    "a", "A", "b", "", "5", "true", "null", "[1]", '{"b": 1}', "'", '"', "\\", "a\nb", "\x01", "%",
    "\u00e9", "e\u0301", "\uffff", "\U0001f600", "' OR 1=1 --", '"a": 1', "\\u0000",
]  # fmt: skip
SESSIONS: Final = ["monday", "Monday", "%", "caf\u00e9", "cafe\u0301"]

numbers: Final = st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False)
texts: Final = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=4
)
scalars: Final[st.SearchStrategy[Any]] = numbers | texts | st.booleans() | st.none()
stored: Final = (
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(KEYS), scalars)
)
moments: Final = st.integers(-3, 3).map(lambda n: NOON + timedelta(microseconds=n))
operations: Final[st.SearchStrategy[tuple[str, Any]]] = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), scalars),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers | texts),
    st.tuples(st.sampled_from(["in", "not_in"]), st.lists(scalars, max_size=4)),
    st.tuples(st.just("exists"), st.booleans()),
)
_leaves: Final = st.one_of(
    st.builds(
        lambda key, operation: Filter(metadata={key: dict([operation])}),
        st.sampled_from(KEYS),
        operations,
    ),
    st.builds(lambda moment: Filter(since=moment), moments),
    st.builds(lambda moment: Filter(until=moment), moments),
    st.builds(
        lambda roles: Filter(roles=roles), st.sets(st.sampled_from(["user", "assistant", "system"]))
    ),
    st.builds(lambda names: Filter(names=names), st.lists(st.sampled_from(["Ann", "ann"]))),
    st.builds(lambda names: Filter(sessions=names), st.lists(st.sampled_from(SESSIONS))),
    st.builds(lambda ids: Filter(ids=ids), st.lists(st.sampled_from(["m0", "m1", "M1", "m"]))),
    st.just(Filter()),
)
filters: Final[st.SearchStrategy[Filter]] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=6,
)
turns: Final = st.tuples(
    st.sampled_from(SESSIONS),
    st.sampled_from(["user", "assistant"]),
    st.sampled_from([None, "Ann", "ann"]),
    moments,
    st.dictionaries(st.sampled_from(KEYS), stored, max_size=4),
)
"""Session, role, name, time and metadata of something that was said."""


def samples() -> list[tuple[str, Message]]:
    """(session, message): every awkward key and value once, and none of it twice.

    >>> len({message.id for _, message in samples()}) == len(samples())
    True
    """
    values = [*NUMBERS, *TEXTS, True, False, None, [1], ["a"], {}, {"a": 1}]
    parts = zip(
        values,
        cycle(KEYS),
        cycle(SESSIONS),
        cycle(["user", "assistant", "system"]),
        cycle(["Ann", None, "ann", None]),
        cycle(range(-3, 4)),
        strict=False,  # all but the values go round
    )
    return [
        (
            session,
            Message(
                role,
                f"plum number {number}",
                f"m{number}",
                name=name,
                time=NOON + timedelta(microseconds=step),
                metadata={key: value, "a": value, 'a"b': number},
            ),
        )
        for number, (value, key, session, role, name, step) in enumerate(parts)
    ]
