"""The made-up conversations: always the same for a seed, answerable, and not by words alone."""

from __future__ import annotations

import hashlib
from statistics import fmean

import pytest

from benchmarks.evidence import answered, bm25, keywords, recent
from benchmarks.scenarios import HISTORY, SCENARIOS, Dialogue, dialogue
from benchmarks.scenarios.dialogue import wrong
from benchmarks.scenarios.vocabulary import blocks, vocabulary
from rag_memory_plugins.tokens import make_counter

pytest.importorskip("tiktoken", reason="the extra `llama-index` is not installed")
EVERY = [(name, 100) for name in SCENARIOS] + [("ui", 50), (HISTORY, 400)]
ROOM = 5_400


@pytest.fixture(scope="module")
def talks() -> dict[tuple[str, int], Dialogue]:
    counter = make_counter("cl100k_base")
    return {(name, turns): dialogue(name, turns, 1, counter) for name, turns in EVERY}


def digest(talk: Dialogue) -> str:
    said = "\n".join(f"{m.id} {m.time} {m.content}" for m in talk.messages)
    asked = "\n".join(f"{p.question} {p.answer} {sorted(p.evidence)}" for p in talk.probes)
    return hashlib.sha256(f"{said}\n{asked}".encode()).hexdigest()[:16]


def test_a_seed_gives_the_same_conversation_on_every_python(
    talks: dict[tuple[str, int], Dialogue],
) -> None:
    assert digest(talks["ui", 50]) == "d3e2aac327614054"


def test_another_seed_gives_another_conversation(talks: dict[tuple[str, int], Dialogue]) -> None:
    other = dialogue("ui", 50, 2, make_counter("cl100k_base"))
    assert digest(other) != digest(talks["ui", 50])


@pytest.mark.parametrize("key", EVERY)
def test_every_answer_stands_in_its_evidence_and_nowhere_else(
    talks: dict[tuple[str, int], Dialogue], key: tuple[str, int]
) -> None:
    assert wrong(talks[key]) == []


@pytest.mark.parametrize("key", EVERY)
def test_a_turn_has_350_tokens_on_average(
    talks: dict[tuple[str, int], Dialogue], key: tuple[str, int]
) -> None:
    count = make_counter("cl100k_base").count
    assert sum(count(m.content) for m in talks[key].messages) / key[1] == pytest.approx(
        350, rel=0.1
    )


@pytest.mark.parametrize("key", EVERY)
def test_half_of_the_questions_share_no_word_with_their_evidence(
    talks: dict[tuple[str, int], Dialogue], key: tuple[str, int]
) -> None:
    assert fmean(not probe.lexical for probe in talks[key].probes) >= 0.5


def test_decisions_are_told_proposed_dropped_in_passing_and_hidden_in_code(
    talks: dict[tuple[str, int], Dialogue],
) -> None:
    kinds = {probe.kind for talk in talks.values() for probe in talk.probes}
    assert kinds == {"told", "passing", "proposed", "code"}


def test_a_proposal_is_accepted_in_the_next_message(
    talks: dict[tuple[str, int], Dialogue],
) -> None:
    talk = talks["code", 100]
    ids = [message.id for message in talk.messages]
    gaps = [
        ids.index(max(probe.support)) - ids.index(min(probe.evidence))
        for probe in talk.probes
        if probe.kind == "proposed"
    ]
    assert set(gaps) == {1}


def test_outdated_values_are_older_than_the_current_one(
    talks: dict[tuple[str, int], Dialogue],
) -> None:
    pairs = [
        (max(old.evidence), min(probe.evidence))
        for talk in talks.values()
        for probe in talk.probes
        for old in probe.outdated
    ]
    assert len(pairs) > 20
    assert all(old < current for old, current in pairs)


def test_evidence_has_every_age(talks: dict[tuple[str, int], Dialogue]) -> None:
    probes = talks["ui", 100].probes
    quarters = {int(min(probe.evidence)[:5]) // 26 for probe in probes}
    assert quarters == {0, 1, 2, 3}


def test_neither_the_last_turns_nor_bm25_alone_answer_most_questions(
    talks: dict[tuple[str, int], Dialogue],
) -> None:
    count = make_counter("cl100k_base").count_messages
    shares: dict[str, list[bool]] = {"recent": [], "bm25": []}
    for talk in [talks[name, 100] for name in SCENARIOS]:
        messages = {message.id: message for message in talk.messages}
        texts = {key: message.content for key, message in messages.items()}
        ranked = keywords(talk.messages)
        for probe in talk.probes:
            for name, given in (
                ("recent", recent(talk.messages, ROOM, count)),
                ("bm25", bm25(ranked, messages, probe.question, ROOM, count)),
            ):
                shares[name].append(answered(given, probe.answer, probe.evidence, texts))
    assert max(map(fmean, shares.values())) <= 0.6


def test_every_field_of_every_sentence_and_block_can_be_filled() -> None:
    from random import Random

    from benchmarks.scenarios.values import fields, names_of
    from benchmarks.scenarios.vocabulary import said

    random = Random(1)
    some = {**fields(random), **names_of("the sign-in form"), "s": "it", "v": "this"}
    sentences = [
        text
        for name in SCENARIOS
        for slot in vocabulary(name).slots
        for text in (*slot.told, *slot.passing, *slot.proposed, *slot.asked)
    ]
    left = [text for text in sentences if "@" in said(random, text, some)]
    assert (left, len(blocks()) >= 10) == ([], True)
