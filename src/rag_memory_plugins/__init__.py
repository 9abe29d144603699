"""A durable, tenant-isolated memory for LlamaIndex and LangChain.

>>> import tempfile, pathlib
>>> folder = tempfile.TemporaryDirectory()
>>> with open_memory(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
...     ann = memory.conversation("acme", "ann", "monday")
...     _ = ann.add("I moved to Lisbon in May")
...     ann.search("where did I move?")[0].message.content
'I moved to Lisbon in May'
>>> folder.cleanup()

Names are loaded at first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag_memory_plugins.budget import TokenBudget
    from rag_memory_plugins.config import Modes, Recall, Strategy
    from rag_memory_plugins.errors import RagMemoryError
    from rag_memory_plugins.events import Event
    from rag_memory_plugins.facts.comparing import (
        StatePair,
        acompare_states_batch,
        compare_states_batch,
    )
    from rag_memory_plugins.facts.llm_extractor import LLMExtractor
    from rag_memory_plugins.facts.rules import RuleExtractor
    from rag_memory_plugins.filters import Filter
    from rag_memory_plugins.ingest.results import Ingested
    from rag_memory_plugins.llm.batching import BatchAnswer, LLMBatcher
    from rag_memory_plugins.memory.calibrating import Calibrated
    from rag_memory_plugins.memory.conversation import Conversation
    from rag_memory_plugins.memory.entities import Entities
    from rag_memory_plugins.memory.extractive import ExtractiveSummarizer
    from rag_memory_plugins.memory.facts import FactResult, Facts
    from rag_memory_plugins.memory.graph import Graph
    from rag_memory_plugins.memory.llm_summary import LLMSummarizer
    from rag_memory_plugins.memory.memory import Memory
    from rag_memory_plugins.memory.timeline import Timeline
    from rag_memory_plugins.namespace import SHARED, Namespace, Scope
    from rag_memory_plugins.opening import aopen_ledger, aopen_memory, open_ledger, open_memory
    from rag_memory_plugins.ports import Claim, Entity, Fact, FactDecision, Said
    from rag_memory_plugins.prompt_json import minify, restore
    from rag_memory_plugins.results import (
        Context,
        EraseReceipt,
        Hit,
        SearchResult,
        Stats,
        Summary,
        SummaryLine,
    )
    from rag_memory_plugins.retrieval.cohere_rerank import CohereReranker
    from rag_memory_plugins.retrieval.cross_encoder import CrossEncoderReranker
    from rag_memory_plugins.retrieval.packing import Node, Packed, pack
    from rag_memory_plugins.retrieval.rerank import LLMReranker, WeightedReranker
    from rag_memory_plugins.router.router import Router
    from rag_memory_plugins.types import Image, Message, Messages, ToolCall

__all__ = [
    "SHARED",
    "BatchAnswer",
    "Calibrated",
    "Claim",
    "CohereReranker",
    "Context",
    "Conversation",
    "CrossEncoderReranker",
    "Entities",
    "Entity",
    "EraseReceipt",
    "Event",
    "ExtractiveSummarizer",
    "Fact",
    "FactDecision",
    "FactResult",
    "Facts",
    "Filter",
    "Graph",
    "Hit",
    "Image",
    "Ingested",
    "LLMBatcher",
    "LLMExtractor",
    "LLMReranker",
    "LLMSummarizer",
    "Memory",
    "Message",
    "Messages",
    "Modes",
    "Namespace",
    "Node",
    "Packed",
    "RagMemoryError",
    "Recall",
    "Router",
    "RuleExtractor",
    "Said",
    "Scope",
    "SearchResult",
    "StatePair",
    "Stats",
    "Strategy",
    "Summary",
    "SummaryLine",
    "Timeline",
    "TokenBudget",
    "ToolCall",
    "WeightedReranker",
    "acompare_states_batch",
    "aopen_ledger",
    "aopen_memory",
    "compare_states_batch",
    "minify",
    "open_ledger",
    "open_memory",
    "pack",
    "restore",
]

__version__ = "0.1.0"

_ROOMS = {
    "SHARED": "namespace",
    "BatchAnswer": "llm.batching",
    "Calibrated": "memory.calibrating",
    "Claim": "ports",
    "CohereReranker": "retrieval.cohere_rerank",
    "Context": "results",
    "Conversation": "memory.conversation",
    "CrossEncoderReranker": "retrieval.cross_encoder",
    "Entities": "memory.entities",
    "Entity": "ports",
    "EraseReceipt": "results",
    "Event": "events",
    "ExtractiveSummarizer": "memory.extractive",
    "Fact": "ports",
    "FactDecision": "ports",
    "FactResult": "memory.facts",
    "Facts": "memory.facts",
    "Filter": "filters",
    "Graph": "memory.graph",
    "Hit": "results",
    "Ingested": "ingest.results",
    "LLMBatcher": "llm.batching",
    "LLMExtractor": "facts.llm_extractor",
    "LLMReranker": "retrieval.rerank",
    "LLMSummarizer": "memory.llm_summary",
    "Memory": "memory.memory",
    "Modes": "config",
    "Namespace": "namespace",
    "Node": "retrieval.packing",
    "Packed": "retrieval.packing",
    "RagMemoryError": "errors",
    "Recall": "config",
    "Router": "router.router",
    "RuleExtractor": "facts.rules",
    "Said": "ports",
    "Scope": "namespace",
    "SearchResult": "results",
    "StatePair": "facts.comparing",
    "Stats": "results",
    "Strategy": "config",
    "Summary": "results",
    "SummaryLine": "results",
    "Timeline": "memory.timeline",
    "TokenBudget": "budget",
    "WeightedReranker": "retrieval.rerank",
    "acompare_states_batch": "facts.comparing",
    "aopen_ledger": "opening",
    "aopen_memory": "opening",
    "compare_states_batch": "facts.comparing",
    "minify": "prompt_json",
    "open_ledger": "opening",
    "open_memory": "opening",
    "pack": "retrieval.packing",
    "restore": "prompt_json",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_ROOMS.get(name, 'types')}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
