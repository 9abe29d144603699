"""`Graph`: entities and the facts between them, as values, as JSON and as GraphML."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from rag_memory_plugins.types import html_table

if TYPE_CHECKING:
    from rag_memory_plugins.ports import Relation

__all__ = ["Graph"]

_GRAPHML: Final = "http://graphml.graphdrawing.org/xmlns"
_KEYS: Final = ("predicate", "confidence", "valid_from", "valid_to", "fact")
_CONTROL: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), " ")


@dataclass(frozen=True, repr=False)
class Graph:
    """Relations between entities, each a fact from one to another.

    >>> Graph().nodes, Graph().to_dict()
    ((), {'nodes': [], 'edges': []})
    """

    edges: tuple[Relation, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the entities, in order of the alphabet."""
        return tuple(sorted({name for edge in self.edges for name in (edge.source, edge.target)}))

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Nodes and edges as plain values: the form that most graph libraries read."""
        edges = [
            {
                "source": edge.source,
                "target": edge.target,
                "predicate": edge.fact.predicate,
                "confidence": edge.fact.confidence,
                "valid_from": edge.fact.valid_from.isoformat(),
                "valid_to": edge.fact.valid_to.isoformat() if edge.fact.valid_to else None,
                "fact": edge.fact.id,
            }
            for edge in self.edges
        ]
        return {"nodes": [{"id": name} for name in self.nodes], "edges": edges}

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_graphml(self) -> str:
        """The graph as GraphML (graphml.graphdrawing.org), which Gephi, yEd and networkx read."""
        root = ET.Element("graphml", xmlns=_GRAPHML)
        for key in _KEYS:
            kind = "double" if key == "confidence" else "string"
            options = {"id": key, "for": "edge", "attr.name": key, "attr.type": kind}
            ET.SubElement(root, "key", options)
        graph = ET.SubElement(root, "graph", edgedefault="directed")
        for name in self.nodes:
            ET.SubElement(graph, "node", id=_clean(name))
        for edge in self.to_dict()["edges"]:
            ends = {"source": _clean(edge["source"]), "target": _clean(edge["target"])}
            made = ET.SubElement(graph, "edge", ends)
            for key in _KEYS:
                if edge[key] is not None:
                    ET.SubElement(made, "data", key=key).text = _clean(str(edge[key]))
        return ET.tostring(root, encoding="unicode", xml_declaration=True)

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} entities, {len(self.edges)} facts)"

    def _repr_html_(self) -> str:
        columns = ("from", "relation", "to", "since")
        return html_table(
            columns,
            [
                (edge.source, edge.fact.predicate, edge.target, f"{edge.fact.valid_from:%Y-%m-%d}")
                for edge in self.edges
            ],
        )


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 does not allow."""
    return text.translate(_CONTROL)
