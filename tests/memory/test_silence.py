"""`min_relevance`: a question about nothing stored gets nothing, and nobody guesses unasked."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import pytest

from rag_memory_plugins import Calibrated, Recall, open_memory
from rag_memory_plugins.errors import InvalidInput, InvalidQuery
from rag_memory_plugins.testing.fakes import WordEmbedder

TALK = [
    "My sister Clara moved to Lisbon in March and works in a bakery there.",
    "That sounds lovely! Does she like the bakery?",
    "She does. She starts at four in the morning and bakes rye bread.",
    "I adopted a grey cat from the shelter and named him Pepper.",
    "Our landlord raised the rent to 950 euros.",
    "The dentist told me to come back on Thursday.",
    "I am learning the cello, my teacher is Mr Novak.",
    "We repaired the garden fence with oak planks.",
]
ANSWERED = [
    ("What is the name of my cat?", "Pepper"),
    ("Where did Clara move?", "Lisbon"),
    ("Which instrument am I learning?", "cello"),
    ("What did we repair the fence with?", "oak"),
]
UNANSWERED = [
    "Which programming language does the billing service use?",
    "Who won the chess tournament in Reykjavik?",
    "What is the boiling point of tungsten?",
    "Which university did my grandfather attend?",
]

KNOWN = [
    "sister bakery", "rye bread", "grey cat", "shelter", "landlord rent", "dentist thursday",
    "cello teacher", "garden fence", "oak planks", "lisbon in march",
]  # fmt: skip
UNKNOWN = [
    "submarine", "volcano", "chess", "tungsten", "marathon", "saxophone", "passport", "glacier",
    "mortgage", "parliament",
]  # fmt: skip


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A memory with the local model, opened once: loading it is most of what a test takes."""
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    path = tmp_path_factory.mktemp("silence") / "memory.db"
    with open_memory(path, background=False, drain_seconds=0) as memory:
        ann = memory.conversation("acme", "ann", "monday")
        ann.add(TALK)
        memory.settle()
        yield ann


@pytest.fixture
def ann(opened):
    conversation = opened().conversation("acme", "ann", "monday")
    conversation.add(TALK)
    conversation.memory.settle()
    return conversation


# ---- The local model, with the calibration that comes with it -------------------------------


@pytest.mark.parametrize(("question", "answer"), ANSWERED)
def test_a_question_that_is_answered_finds_its_answer(local, question, answer):
    found = local.search(question, min_relevance=0.5)
    assert answer in found[0].message.content
    assert 0.5 <= found.relevance <= 1
    assert found.hits == local.search(question).hits


@pytest.mark.parametrize("question", UNANSWERED)
def test_a_question_about_nothing_stored_finds_nothing(local, question):
    found = local.search(question, min_relevance=0.5)
    assert len(found) == 0
    assert 0 <= found.relevance < 0.5
    assert found.lanes == {"keywords": "ok", "dense": "ok"}
    unasked = local.search(question)
    assert len(unasked) > 0
    assert unasked.relevance == found.relevance


@pytest.mark.parametrize("question", ["?", "a", "yes", "\u732b", "cat " * 200, "Pepper"])
def test_relevance_is_between_0_and_1_whatever_is_asked(local, question):
    assert 0 <= local.search(question).relevance <= 1


def test_everything_is_kept_at_0_and_next_to_nothing_at_1(local):
    question, _ = ANSWERED[0]
    assert local.search(question, min_relevance=0).hits == local.search(question).hits
    assert len(local.search(UNANSWERED[0], min_relevance=1)) == 0


def test_a_filter_that_leaves_nothing_out_changes_no_relevance(local):
    question, _ = ANSWERED[0]
    assert local.search(question, roles="user").relevance == local.search(question).relevance


def test_where_nothing_is_stored_nothing_is_relevant(local):
    found = local.memory.conversation("acme", "zoe", "x").search("cat?", min_relevance=0.5)
    assert (len(found), found.relevance) == (0, 0.0)


def test_in_a_session_that_holds_nothing_nothing_is_relevant(local):
    tuesday = local.memory.conversation("acme", "ann", "tuesday")
    found = tuesday.search("What is my cat called?", level="session", min_relevance=0.5)
    assert (len(found), found.relevance) == (0, 0.0)


def test_where_a_filter_leaves_nothing_nothing_is_relevant(local):
    found = local.search(ANSWERED[0][0], roles="tool", min_relevance=0.5)
    assert len(found) == 0
    assert 0 <= found.relevance < 0.5


def test_one_message_can_be_judged(local):
    bob = local.memory.conversation("acme", "bob", "monday")
    bob.add("hello")
    assert 0 <= bob.search("What is the boiling point of tungsten?").relevance <= 1


def test_messages_that_have_no_vector_yet_are_not_judged_by_their_words_alone(local):
    eve = local.memory.conversation("acme", "eve", "monday")
    eve.add([*TALK, *(f"{text} Again." for text in TALK)])  # more than a search embeds itself
    question, answer = ANSWERED[0]
    found = eve.search(question, min_relevance=0.5)
    assert found.lanes["dense"] == "ok, 16 pending"
    assert [answer in hit.message.content for hit in found][:1] == [True]
    local.memory.settle()
    assert answer in eve.search(question, min_relevance=0.5)[0].message.content


@pytest.mark.parametrize("recall", [Recall(late=0), Recall(candidates=0)])
def test_without_a_step_that_the_judgement_counts_on_it_answers_or_is_refused(local, recall):
    question, answer = ANSWERED[0]
    with suppress(InvalidQuery):
        found = local.search(question, recall=recall, min_relevance=0.5)
        assert [answer in hit.message.content for hit in found][:1] == [True]


def test_a_file_opened_to_read_without_the_models_vectors_is_not_judged(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra `local`")
    path = tmp_path / "memory.db"
    with open_memory(path, embedder=None, background=False) as memory:
        memory.conversation("acme", "ann", "monday").add(TALK)
    url = f"sqlite:////{str(path).lstrip('/')}?mode=ro"
    question, answer = ANSWERED[0]
    with open_memory(url) as memory:
        found = memory.conversation("acme", "ann", "monday").search(question, min_relevance=0.5)
        assert found.lanes["dense"].startswith("off: ")
        assert [answer in hit.message.content for hit in found][:1] == [True]


# ---- An embedder that brings no calibration -------------------------------------------------


@pytest.mark.parametrize("embedder", [WordEmbedder(), None])
def test_without_a_calibration_it_is_refused_with_the_remedy(opened, ann, embedder):
    fresh = opened(embedder=embedder).conversation("acme", "ann", "monday")
    with pytest.raises(InvalidQuery, match=r"^min_relevance: got 0\.5; .* run calibrate\(\)"):
        fresh.search("the grey cat", min_relevance=0.5)
    found = fresh.search("the grey cat")
    assert len(found) > 0
    assert found.relevance is None


@pytest.mark.parametrize("embedder", [WordEmbedder(), None])
def test_after_calibrating_what_is_stored_is_told_from_what_is_not(opened, ann, embedder):
    fresh = opened(embedder=embedder).conversation("acme", "ann", "monday")
    worth = fresh.calibrate(KNOWN, UNKNOWN)
    assert isinstance(worth, Calibrated)
    assert (worth.answered, worth.unanswered) == (10, 10)
    assert 0 < worth.threshold < 1
    assert worth.rejected == 1
    assert len(fresh.search("the oak fence", min_relevance=worth.threshold)) > 0
    assert len(fresh.search("a helicopter", min_relevance=worth.threshold)) == 0
    kept = [fresh.search(text, min_relevance=worth.threshold) for text in KNOWN]
    assert sum(len(found) > 0 for found in kept) >= 9


def test_a_calibration_is_there_after_closing_and_for_all_the_users_sessions(opened, ann):
    ann.calibrate(KNOWN, UNKNOWN)
    expected = ann.search("the oak fence").relevance
    ann.memory.close()
    again = opened().conversation("acme", "ann", "tuesday")
    assert again.search("the oak fence").relevance == expected


def test_a_calibration_is_of_one_embedder(opened, ann):
    ann.calibrate(KNOWN, UNKNOWN)
    other = opened(embedder=WordEmbedder(32, "other"))
    other.settle()
    assert other.conversation("acme", "ann", "monday").search("the oak fence").relevance is None
    assert ann.search("the oak fence").relevance is not None


def test_calibrating_again_replaces_what_was_there(opened, ann):
    ann.calibrate(KNOWN, UNKNOWN)
    first = ann.search("the oak fence").relevance
    ann.calibrate(UNKNOWN, KNOWN)
    assert ann.search("the oak fence").relevance < 0.5 < first
    ann.calibrate(KNOWN, UNKNOWN)
    assert ann.search("the oak fence").relevance == first


def test_a_users_own_calibration_stands_before_the_one_that_comes_with_the_model(local):
    dan = local.memory.conversation("acme", "dan", "monday")
    dan.add(TALK)
    local.memory.settle()
    before = dan.search("the oak fence").relevance
    dan.calibrate(UNKNOWN, KNOWN)
    assert dan.search("the oak fence").relevance < 0.5 < before
    assert local.search("the oak fence").relevance > 0.5


# ---- Whose calibration ----------------------------------------------------------------------


@pytest.mark.parametrize("place", [("acme", "bob"), ("evil", "ann"), ("acme/ann", "ann")])
def test_one_users_calibration_touches_no_other(opened, ann, place):
    memory = ann.memory
    other = memory.conversation(*place, "monday")
    other.add(TALK)
    memory.settle()
    ann.calibrate(KNOWN, UNKNOWN)
    mine = ann.search("the oak fence").relevance
    assert other.search("the oak fence").relevance is None
    with pytest.raises(InvalidQuery, match="calibrate"):
        other.search("the oak fence", min_relevance=0.5)
    other.calibrate(UNKNOWN, KNOWN)
    assert ann.search("the oak fence").relevance == mine
    other.erase(level="user")
    assert ann.search("the oak fence").relevance == mine


def test_a_calibration_is_erased_with_its_user_and_not_with_a_session(opened, ann, tmp_path):
    ann.calibrate(KNOWN, UNKNOWN)
    file = sqlite3.connect(tmp_path / "memory.db")
    kept = "SELECT data FROM calibrations"
    [(data,)] = file.execute(kept).fetchall()
    tuesday = ann.memory.conversation("acme", "ann", "tuesday")
    tuesday.add("a session of no weight")
    tuesday.erase()
    assert file.execute(kept).fetchall() == [(data,)]
    receipt = ann.erase(level="user")
    assert receipt.complete
    assert file.execute(kept).fetchall() == []
    file.close()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("memory.db*"))
    assert data[:40].encode() not in left
    ann.add(TALK)
    ann.memory.settle()
    assert ann.search("the oak fence").relevance is None


def test_who_has_stored_nothing_cannot_calibrate_and_nothing_is_kept(opened, tmp_path):
    zoe = opened().conversation("acme", "zoe", "monday")
    with pytest.raises(InvalidInput, match=r"^answered: got 0; "):
        zoe.calibrate(KNOWN, UNKNOWN)
    zoe.add(TALK)
    assert zoe.search("the oak fence").relevance is None


# ---- What cannot be judged or asked ---------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "unanswered", "field"),
    [
        (KNOWN[:9], UNKNOWN, "answered"),
        (KNOWN, UNKNOWN[:9], "unanswered"),
        (KNOWN, [], "unanswered"),
        ([], [], "answered"),
    ],
)
def test_too_few_questions_are_refused_and_keep_what_there_was(ann, answered, unanswered, field):
    with pytest.raises(InvalidInput, match=f"^{field}: got .*at least 10"):
        ann.calibrate(answered, unanswered)
    assert ann.search("the oak fence").relevance is None


@pytest.mark.parametrize("question", ["", "  ", None, 7, b"cat"])
def test_a_question_to_calibrate_by_that_is_none_is_refused(ann, question):
    with pytest.raises(InvalidQuery, match=r"^question: got "):
        ann.calibrate([*KNOWN, question], UNKNOWN)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True, [0.5]])
def test_a_min_relevance_that_is_no_share_is_refused(ann, value):
    with pytest.raises(InvalidQuery, match=r"^min_relevance: got "):
        ann.search("the grey cat", min_relevance=value)


def test_a_min_relevance_that_no_float_can_hold_is_refused(ann):
    with pytest.raises(InvalidQuery, match=r"^min_relevance: got "):
        ann.search("the grey cat", min_relevance=10**400)


def test_a_search_whose_lane_failed_is_not_judged_and_says_so(ann, words):
    ann.calibrate(KNOWN, UNKNOWN)
    words.fail = True
    found = ann.search("the oak fence", min_relevance=0.99)
    assert len(found) > 0
    assert found.relevance is None
    assert found.degraded[1:] == ("relevance: not judged, a lane failed",)
    assert len(ann.search("the oak fence").degraded) == 1
    words.fail = False
    assert ann.search("the oak fence").relevance is not None


def test_calibrating_with_an_embedder_that_fails_raises_and_keeps_nothing(ann, words):
    words.fail = True
    with pytest.raises(Exception, match="told to fail"):
        ann.calibrate(KNOWN, UNKNOWN)
    words.fail = False
    assert ann.search("the oak fence").relevance is None


def test_calibrating_embeds_what_waits_first(opened):
    fresh = opened().conversation("acme", "zoe", "monday")
    fresh.add(TALK)
    early = fresh.calibrate(KNOWN, UNKNOWN)
    fresh.memory.settle()
    assert fresh.calibrate(KNOWN, UNKNOWN) == early
