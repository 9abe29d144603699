"""Language models asked and read: JSON out of what one wrote, many small questions in one prompt."""

from __future__ import annotations

from rag_memory_plugins.llm.batching import BatchAnswer, LLMBatcher
from rag_memory_plugins.llm.reading import json_values

__all__ = ["BatchAnswer", "LLMBatcher", "json_values"]
