"""A context explained: what is in it, what is not and why; as text, as data, in a notebook."""

from rag_memory_plugins.explaining.explanation import Explanation
from rag_memory_plugins.explaining.rows import source_link, visible

__all__ = ["Explanation", "source_link", "visible"]
