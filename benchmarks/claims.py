"""Scientific abstracts and claims that cite them, read from a folder of SciFact's shape.

`corpus.csv`: `doc_id`, `title`, `abstract` (its sentences, as numpy prints an array of strings).
`claims.csv`: `id`, `claim`, `cited_doc_ids` (numbers in brackets); a claim has a row for each
document that bears on it.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import BadData

__all__ = ["Abstract", "Claim", "read"]

ID: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class Abstract:
    """A document: its title, and its sentences after a blank line."""

    id: str
    text: str


@dataclass(frozen=True)
class Claim:
    """A claim and the ids of the documents it cites; at least one of the corpus."""

    text: str
    cited: frozenset[str]


def read(folder: str) -> tuple[list[Abstract], list[Claim]]:
    """The corpus, and the claims that cite some of it. Raises `BadData`, naming the file."""
    documents = [
        Abstract(row["doc_id"], f"{row['title'].strip()}\n\n{_abstract(row['abstract'])}".strip())
        for row in _rows(Path(folder, "corpus.csv"), "doc_id", "title", "abstract")
    ]
    known = {document.id for document in documents}
    if len(known) < len(documents):
        raise BadData(f"--data: {Path(folder, 'corpus.csv')} has a doc_id twice")
    texts: dict[str, str] = {}
    cited: dict[str, set[str]] = {}
    for row in _rows(Path(folder, "claims.csv"), "id", "claim", "cited_doc_ids"):
        texts[row["id"]] = row["claim"]
        cited.setdefault(row["id"], set()).update(ID.findall(row["cited_doc_ids"]))
    claims = [Claim(texts[key], frozenset(ids & known)) for key, ids in cited.items()]
    claims = [claim for claim in claims if claim.cited]
    if not claims:
        raise BadData(f"--data: {Path(folder, 'claims.csv')} has no claim that cites the corpus")
    return documents, claims


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                if any(row.get(name) is None for name in columns):
                    raise BadData(f"--data: {path} row {number} has not all of {columns}")
                yield row
    except OSError as error:
        raise BadData(f"--data: {path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadData(f"--data: {path} is not of SciFact's shape: {error}") from error


def _abstract(printed: str) -> str:
    """The sentences of `['One.' "Two's."]`, joined; a text that is none of that as it is."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(printed).readline))
        parts = [ast.literal_eval(t.string) for t in tokens if t.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError):
        parts = []
    return " ".join(part.strip() for part in parts) or printed
