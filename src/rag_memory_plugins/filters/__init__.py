"""Which messages a search, a find or a forget is about, stated the same for every engine.

A statement is true or false of a message, never unknown:
- A comparison of a field that the message lacks is False; `~` is the plain opposite of what it
  stands before, so `~(stars == 5)` is True of a message without stars, and `stars != 5` is not.
- Numbers compare with numbers and strings with strings, exactly as written, strings by code point.
  True is not 1. Values of two kinds are not equal, and neither is greater.
- A list or an object as metadata equals nothing; it can only be asked for with `exists`.

Whoever writes an engine translates the tree in `Filter.expression`: `AllOf`, `AnyOf`, `Not` and
`Comparison`, nothing else. `Filter.matches` is what every engine must agree with.
"""

from rag_memory_plugins.filters.expression import AllOf, AnyOf, Comparison, Expression, Not
from rag_memory_plugins.filters.filter import Filter, combined
from rag_memory_plugins.filters.stating import When

__all__ = ["AllOf", "AnyOf", "Comparison", "Expression", "Filter", "Not", "When", "combined"]
