"""Claims beside labels: each case has one judgement that a careless judge would get wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.facts_labels import SURE, Counts, judged, message, read, score
from benchmarks.report import BadData
from rag_memory_plugins import Message
from rag_memory_plugins.ports.facts import Claim

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
HOME = Claim("user", "lives in", "Leuven")
LIVES = {"subject": "user", "predicate": "lives in", "object": "Leuven"}
SISTER = {
    "subject": "user",
    "predicate": "sister's birthday",
    "object": "3 May",
    "also": [{"subject": ["user's sister", "sister"], "predicate": ["birthday", "born on"]}],
}
PORK = {
    "subject": "user",
    "predicate": "eats",
    "object": "pork",
    "negated": True,
    "also": [{"predicate": "avoids", "negated": False}],
}


def row(*labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"text": "I said this.", "said": "2025-03-01T10:00:00+01:00", "half": "made"}
    return {**base, "claims": list(labels), **more}


def counts(claims: Sequence[Claim], labels: dict[str, Any]) -> tuple[int, int, int]:
    found = judged(claims, labels)
    return len(found.right), len(found.wrong), len(found.missed)


@pytest.mark.parametrize(
    "claim",
    [HOME, Claim("The user", "is living in", "leuven"), replace(HOME, confidence=0.1)],
    ids=["as labelled", "another wording", "not sure"],
)
def test_a_claim_that_says_the_same_is_right(claim: Claim) -> None:
    assert counts([claim], row(LIVES)) == (1, 0, 0)


@pytest.mark.parametrize(
    "claim",
    [
        replace(HOME, subject="Anna"),
        replace(HOME, predicate="works in"),
        replace(HOME, object="Ghent"),
        replace(HOME, negated=True),
    ],
    ids=["subject", "predicate", "object", "negated"],
)
def test_one_part_that_differs_makes_it_wrong_and_the_label_missed(claim: Claim) -> None:
    assert counts([claim], row(LIVES)) == (0, 1, 1)


def test_another_reading_is_as_right_as_the_label() -> None:
    for subject, predicate in (("user's sister", "birthday"), ("sister", "born on")):
        assert counts([Claim(subject, predicate, "3 May")], row(SISTER)) == (1, 0, 0)


def test_a_reading_is_taken_whole() -> None:
    assert counts([Claim("user", "birthday", "3 May")], row(SISTER)) == (0, 1, 1)
    assert counts([Claim("user's sister", "birthday", "4 May")], row(SISTER)) == (0, 1, 1)


def test_a_reading_may_turn_the_negation() -> None:
    assert counts([Claim("user", "eats", "pork", negated=True)], row(PORK)) == (1, 0, 0)
    assert counts([Claim("user", "avoids", "pork")], row(PORK)) == (1, 0, 0)
    assert counts([Claim("user", "eats", "pork")], row(PORK)) == (0, 1, 1)
    assert counts([Claim("user", "avoids", "pork", negated=True)], row(PORK)) == (0, 1, 1)


def test_a_second_claim_for_one_label_is_wrong_and_the_more_confident_one_is_kept() -> None:
    unsure, sure = replace(HOME, confidence=0.3), replace(HOME, confidence=0.9)
    found = judged([unsure, sure], row(LIVES))
    assert (found.right, found.wrong, found.missed) == ((sure,), (unsure,), ())


def test_the_label_as_it_is_worded_comes_before_its_other_readings() -> None:
    plain, other = (
        Claim("user", "sister's birthday", "3 May", 0.2),
        Claim("sister", "birthday", "3 May"),
    )
    assert judged([other, plain], row(SISTER)).right == (plain,)


def test_one_claim_meets_one_label_though_it_reads_as_two() -> None:
    loose = {**LIVES, "object": "Ghent", "also": [{"object": "Leuven"}]}
    for both in ((LIVES, loose), (loose, LIVES)):
        found = judged([HOME], row(*both))
        assert (found.right, found.wrong, found.missed) == ((HOME,), (), (loose,))


def test_a_claim_makes_room_for_one_that_has_no_other_label() -> None:
    first = {**LIVES, "also": [{"object": ["Ghent", "Bruges"]}]}
    second = {**LIVES, "object": "Antwerp", "also": [{"object": "Ghent"}]}
    ghent, bruges = replace(HOME, object="Ghent"), replace(HOME, object="Bruges", confidence=0.5)
    assert counts([ghent, bruges], row(first, second)) == (2, 0, 0)


def test_what_a_row_accepts_is_neither_right_nor_wrong_nor_missed() -> None:
    labels = row(LIVES, accepts=[{"subject": "user", "predicate": "has", "object": ["cat", "dog"]}])
    dog = Claim("user", "has", "dog")
    assert counts([HOME, dog], labels) == (1, 0, 0)
    assert counts([], labels) == (0, 0, 1)
    assert counts([HOME, replace(dog, negated=True)], labels) == (1, 1, 0)
    assert counts([HOME, replace(dog, object="bird")], labels) == (1, 1, 0)


def test_any_claim_is_wrong_where_nothing_is_stated() -> None:
    assert counts([HOME], row()) == (0, 1, 0)
    assert counts([], row()) == (0, 0, 0)


def test_an_empty_object_is_a_value_of_its_own() -> None:
    smokes = {"subject": "user", "predicate": "smokes", "object": "", "negated": True}
    assert counts([Claim("user", "smokes", "", negated=True)], row(smokes)) == (1, 0, 0)
    assert counts([Claim("user", "smokes", "cigars", negated=True)], row(smokes)) == (0, 1, 1)


SAMPLE = read(DATA / "statements.jsonl")


@given(st.data())
def test_every_reading_of_every_label_is_right_in_any_order(data: st.DataObject) -> None:
    labels = data.draw(st.sampled_from([one for one in SAMPLE if one["claims"]]))
    plain = [
        Claim(one["subject"], one["predicate"], one["object"], negated=one.get("negated", False))
        for one in labels["claims"]
    ]
    said = data.draw(st.permutations(plain))
    assert counts(said, labels) == (len(plain), 0, 0)
    kept = said[: data.draw(st.integers(0, len(said)))]
    assert counts(kept, labels) == (len(kept), 0, len(said) - len(kept))
    stray = Claim("nobody in particular", "hums along to", "an unheard tune")
    assert counts([*kept, stray], labels) == (len(kept), 1, len(said) - len(kept))


def test_shares_come_from_sums_over_rows_and_not_from_means_of_rows() -> None:
    made = row(LIVES, {**LIVES, "object": "Ghent"}, {**LIVES, "object": "Bruges"}, text="Three.")
    kept = row(text="None.", half="kept")
    wrong = replace(HOME, object="Paris", confidence=0.5)
    said = {"Three.": [HOME, wrong], "None.": [replace(wrong, confidence=SURE)]}
    total = score(lambda heard: said[heard.content], [made, kept])
    assert total.total == Counts(right=1, wrong=2, missed=2)
    assert (total.total.precision, total.total.recall) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert total.halves == {"made": Counts(1, 1, 2), "kept": Counts(0, 1, 0)}
    assert total.sure == Counts(right=1, wrong=1, missed=2)
    assert total.sure_halves == {"made": Counts(1, 0, 2), "kept": Counts(0, 1, 0)}


def test_among_sure_claims_an_unsure_one_meets_no_label() -> None:
    total = score(lambda _: [replace(HOME, confidence=SURE - 0.01)], [row(LIVES)])
    assert (total.total, total.sure) == (Counts(1, 0, 0), Counts(0, 0, 1))


def test_an_extractor_hears_what_was_said_and_no_label() -> None:
    heard: list[Message] = []

    def extract(one: Message) -> list[Claim]:
        heard.append(one)
        return []

    score(extract, [row(LIVES, name="Anna"), row(role="assistant")])
    assert [(one.role, one.content, one.name) for one in heard] == [
        ("user", "I said this.", "Anna"),
        ("assistant", "I said this.", None),
    ]
    assert {one.time for one in heard} == {datetime(2025, 3, 1, 9, tzinfo=timezone.utc)}


def test_nothing_claimed_is_precise_and_finds_nothing() -> None:
    empty = score(lambda _: [], [row(LIVES)]).total
    assert (empty.precision, empty.recall) == (1, 0)


@pytest.mark.parametrize(
    "broken",
    [
        {"half": "other"},
        {"said": "yesterday"},
        {"claims": [{"subject": "user", "predicate": "is"}]},
        {"claims": [{**LIVES, "also": [{"object": 3}]}]},
        {"accepts": [{**LIVES, "subject": []}]},
    ],
    ids=["half", "said", "no object", "a number", "no subject"],
)
def test_a_row_of_another_shape_is_named_by_its_line(
    tmp_path: Path, broken: dict[str, Any]
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = (row(LIVES), row(LIVES, **broken) if "claims" not in broken else row() | broken)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    with pytest.raises(BadData, match=r"rows\.jsonl line 2"):
        read(path)


def test_a_file_that_is_not_there_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read"):
        read(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("name", ["statements.jsonl", "statements_2.jsonl"])
def test_no_reading_that_is_right_is_also_taken_the_other_way_round(name: str) -> None:
    """A label's readings must not accept the negation of the label itself."""
    for labels in read(DATA / name):
        for one in labels["claims"]:
            claim = Claim(
                one["subject"], one["predicate"], one["object"], negated=one.get("negated", False)
            )
            assert judged([claim], labels).right, labels["text"]
            turned = judged([replace(claim, negated=not claim.negated)], labels)
            assert turned.wrong, (labels["text"], one["predicate"])


def test_the_second_file_has_even_halves_in_every_family() -> None:
    rows = read(DATA / "statements_2.jsonl")
    families = Counter((one["kind"], one["half"]) for one in rows)
    assert len({one["text"] for one in rows}) == 300
    assert sum(1 for one in rows if one["claims"]) == 190
    assert all(families[kind, "made"] == families[kind, "kept"] for kind, _ in families)
    assert {one["half"] for one in SAMPLE} == {"made"}
    assert not {one["text"] for one in rows} & {one["text"] for one in SAMPLE}
    assert message(rows[0]).content == rows[0]["text"]
