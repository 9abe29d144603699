"""Points and names for the tests of vector stores: users that are each other's look-alikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rag_memory_plugins.namespace import SHARED, Scope
from rag_memory_plugins.ports import Point

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Vectors

__all__ = [
    "ANN",
    "AWKWARD",
    "along",
    "awkward_scopes",
    "leaning",
    "message",
    "ranked",
    "stacked",
    "text_of",
    "units",
    "vector_of",
]

# fmt: off
AWKWARD: Final = (
    "a", "ab", "A", "a ", " a", "a/b", "a:b", "a_b", "a-b", "a.b", "a%", "a*", "*", "a?", "[a]",
    "a\\", "a'", 'a"', "a' OR '1'='1", '{"$ne": null}', "a\u0301", "\u00e1", "\uff41", "\u0430",
    "a\u200b", "%00", "a%2Fb", "None", "null", "0", "\u4e00", "\U0001f600", "a" * 256,
)
# fmt: on
"""Names that a pattern, a separator, a quote or a fold would take for another one."""
ANN: Final = Scope("acme", "ann")


def awkward_scopes() -> list[Scope]:
    """Users whose names are each other's look-alikes, in every part of the name."""
    users = [Scope("acme", name) for name in AWKWARD]
    tenants = [Scope(name, "ann") for name in AWKWARD]
    others = [
        Scope("acme", SHARED),
        Scope("acme", "ann", items=True),
        Scope("acme", "ann@"),
        Scope("acme", "@"),
        Scope("acme/a", "b"),
        Scope("acm", "eann"),
    ]
    return [ANN, *users, *tenants, *others]


def message(seq: int, vectors: Vectors, scope: Scope = ANN, session: str = "monday") -> Point:
    """A message of this number; its text says its first vector."""
    import numpy as np

    return Point(scope, session, seq, text_of(vectors), np.atleast_2d(vectors))


def along(axis: int, dimension: int) -> Vectors:
    """The unit vector along an axis."""
    import numpy as np

    vector = np.zeros(dimension, np.float32)
    vector[axis % dimension] = 1.0
    return vector


def leaning(axis: int, other: int, share: float, dimension: int) -> Vectors:
    """A unit vector along an axis that leans towards another."""
    import numpy as np

    vector = along(axis, dimension) + np.float32(share) * along(other, dimension)
    unit: Vectors = vector / np.linalg.norm(vector)
    return unit


def stacked(*vectors: Vectors) -> Vectors:
    """Vectors as the pieces of one message."""
    import numpy as np

    return np.stack(vectors)


def units(count: int, dimension: int, seed: int = 7) -> Vectors:
    """Random unit vectors, of shape (count, dimension)."""
    import numpy as np

    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def ranked(vectors: Vectors, question: Vectors) -> list[int]:
    """The rows of unit vectors, nearest first, by comparing them all."""
    return [int(row) for row in (-(vectors @ question)).argsort(kind="stable")]


def text_of(vector: Vectors) -> str:
    """A text that says a vector, or the first of several.

    >>> import numpy as np
    >>> text_of(np.array([0.5, -1.0], np.float32))
    '0.5 -1.0'
    """
    import numpy as np

    return " ".join(str(float(number)) for number in np.atleast_2d(vector)[0])


def vector_of(text: str) -> Vectors:
    """The vector that a text of `text_of` says.

    >>> vector_of("0.5 -1.0").tolist()
    [0.5, -1.0]
    """
    import numpy as np

    return np.array(text.split(), np.float32)
