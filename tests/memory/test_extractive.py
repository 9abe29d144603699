"""The summary of sentences that were said."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_memory_plugins.errors import InvalidInput
from rag_memory_plugins.memory.extractive import ExtractiveSummarizer
from rag_memory_plugins.ports import Summarizer
from rag_memory_plugins.results import SummaryLine
from rag_memory_plugins.testing.fakes import WordEmbedder
from rag_memory_plugins.tokens import make_counter
from rag_memory_plugins.types import Message, ToolCall

START = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
COUNTER = make_counter()


def said(*turns, start=0):
    """Messages m0, m1, ...: a str is Ann's, ("assistant", text) another role's."""
    made = []
    for number, turn in enumerate(turns, start):
        role, text = turn if isinstance(turn, tuple) else ("user", turn)
        made.append(
            Message(
                role,
                text,
                id=f"m{number}",
                name="Ann" if role == "user" else None,
                time=START + timedelta(minutes=number),
                tool_call_id="call" if role == "tool" else None,
            )
        )
    return made


def tokens(lines):
    return sum(COUNTER.count(f"{line.text}\n") for line in lines)


async def folded(*turns, embedder=None, limit=400, lines=()):
    return await ExtractiveSummarizer(embedder, COUNTER).afold(lines, said(*turns), limit)


async def texts(*turns, **options):
    return [line.text for line in (await folded(*turns, **options)).lines]


# --- what is worth a line ---


def test_it_is_a_summarizer(words):
    assert isinstance(ExtractiveSummarizer(words), Summarizer)


async def test_a_decision_is_kept_before_code_logs_and_courtesies():
    turns = [
        "Hello there!",
        "We decided to use Postgres for the orders.",
        ("assistant", "Great, happy to help.\n```python\nconnection = connect(url, 5432)\n```"),
        ("tool", "2026-03-02 10:00:01 INFO pool of 12 connections\n2026-03-02 10:00:02 INFO ok"),
        "Thanks a lot!",
    ]
    assert await texts(*turns, limit=20) == ["Ann: We decided to use Postgres for the orders."]


@pytest.mark.parametrize("courtesy", ["Hi!", "Thanks a lot!", "Good morning.", "ok", "OK, great."])
async def test_courtesies_are_not_kept_even_where_there_is_room(courtesy):
    assert await texts(courtesy) == []


@pytest.mark.parametrize(
    "told",
    [
        "Let's go with the blue theme.",
        "The password must never be logged.",
        "I want a page for the garden club.",
        "My sister Irene lives in Ghent.",
        "The invoice 4711 was 320 euros.",
        "Write the result to /var/log/run.txt please.",
    ],
)
async def test_what_is_told_is_kept_before_small_talk(told):
    talk = ["It rained a lot.", "How does one write that?", "The tests looked odd to some people."]
    assert f"Ann: {told}" in await texts(*talk, told, *talk, limit=COUNTER.count(f"Ann: {told}\n"))


async def test_the_user_is_heard_before_the_assistant():
    turns = ["The harbour tour takes 90 minutes.", ("assistant", "A museum tour takes 45 minutes.")]
    assert await texts(*turns, limit=12) == ["Ann: The harbour tour takes 90 minutes."]


async def test_a_proposal_that_is_accepted_stands_with_the_answer():
    line, *more = (
        await folded(("assistant", "Shall we store it in Parquet?"), "Yes, do that")
    ).lines
    assert more == []
    assert line.text == "assistant: Shall we store it in Parquet? [Ann: Yes, do that]"
    assert line.ids == ("m0", "m1")


async def test_a_proposal_that_is_turned_down_is_left_out():
    turns = [("assistant", "I suggest we store it in Parquet."), "No, CSV is what they can open."]
    assert await texts(*turns) == ["Ann: No, CSV is what they can open."]


async def test_an_answer_with_a_statement_of_its_own_is_kept_as_a_statement():
    turns = [("assistant", "Shall we look at the guests?"), "OK! The wedding cake must be lemon."]
    assert "Ann: The wedding cake must be lemon." in await texts(*turns)


async def test_items_of_a_list_keep_the_words_above_them():
    assert await texts("We decided:\n- Postgres for orders\n- Redis for sessions") == [
        "Ann: We decided: Postgres for orders",
        "Ann: We decided: Redis for sessions",
    ]


async def test_of_a_long_tool_result_little_is_kept():
    rows = "\n".join(f"Row {n} holds the value {n * 7}." for n in range(200))
    assert len(await texts(("tool", rows))) <= 3


async def test_a_tool_call_is_told_when_there_is_room():
    call = Message(
        "assistant", "", id="m0", time=START, tool_calls=(ToolCall("c", "deploy", '{"to": "eu"}'),)
    )
    kept = await ExtractiveSummarizer(None, COUNTER).afold((), [call], 100)
    assert [line.text for line in kept.lines] == ['assistant: [called deploy {"to": "eu"}]']


async def test_what_we_injected_and_system_messages_are_not_summarised():
    injected = Message("user", "We use Redis.", id="x", metadata={"rag_memory": "recalled"})
    system = Message("system", "Always use tabs.", id="y")
    kept = await ExtractiveSummarizer(None, COUNTER).afold((), [injected, system], 100)
    assert kept.lines == ()


async def test_a_long_sentence_is_cut_around_what_it_decides():
    long = " ".join(["and the wind blew over the hills"] * 9) + ", so we decided to use oak wood."
    (line,) = (await folded(long)).lines
    assert COUNTER.count(line.text) <= 50
    assert "decided to use oak" in line.text
    assert "…" in line.text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Das Budget für die Küche beträgt genau 4000 Euro inklusive aller Geräte.", "4000"),
        ("キッチンの予算は4000ユーロです。", "4000"),
        ("ميزانية المطبخ 4000 يورو فقط", "4000"),
    ],
)
async def test_texts_in_other_languages_are_kept_by_numbers_and_centrality(first, second):
    assert any(second in text for text in await texts(first))


# --- what holds no more ---

CORRECTED = [
    ("The launch is on 3 June.", "Actually, move the launch to 10 June."),
    ("We'll use SQLite for the orders.", "Let's use Postgres for the orders instead of SQLite."),
    ("The save button must be blue.", "Change the save button to green, please."),
    ("The kitchen budget is 40,000 euros.", "The kitchen budget is 55,000 euros."),
    ("The mascot is an otter.", "Correction: the mascot is a badger now."),
    ("I work at Siemens.", "I quit Siemens, I work at Bosch these days."),
    ("Deploy to the Oregon region.", "Let's deploy to the Ireland region instead."),
    ("The project is called Alpha.", "The project is called Beta."),
    ("We should cache the pages.", "We should not cache the pages."),
    ("My flight leaves at 7:40.", "The airline rescheduled my flight, it leaves at 11:15."),
    ("I live in Porto.", "We moved last month, I live in Lisbon now."),
    ("The workshop has 20 seats.", "Only 15 people fit, so the workshop has 15 seats."),
    ("The exam is in hall B.", "The hall is booked, so the exam moves to hall D."),
    ("We take the train to Vienna.", "The train is sold out, we take the bus to Vienna."),
    ("The frontend is in Vue.", "We decided against Vue, the frontend gets rewritten in Svelte."),
    ("The rent is 900 euros.", "The owner wrote to us: the rent is 980 euros."),
]


@pytest.mark.parametrize(("old", "new"), CORRECTED)
async def test_a_correction_takes_the_place_of_what_it_corrects(old, new):
    kept = await folded(old, "It rained a lot in the hills.", new)
    assert [line.ids for line in kept.lines if line.text in {f"Ann: {old}", f"Ann: {new}"}] == [
        ("m2",)
    ]


@pytest.mark.parametrize(("old", "new"), CORRECTED)
async def test_a_correction_in_a_later_fold_takes_the_place_of_the_line(old, new):
    first = await folded(old)
    later = await ExtractiveSummarizer(None, COUNTER).afold(first.lines, said(new, start=5), 400)
    assert [(line.text, line.ids) for line in later.lines] == [(f"Ann: {new}", ("m5",))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The save button must be blue.", "Actually, the cancel button must be red."),
        ("Room 4 has 20 seats.", "Room 5 has 30 seats."),
        ("We use React for the frontend.", "We use Tailwind for the frontend."),
        ("I live in Porto.", "My brother lives in Ghent."),
        ("The kitchen must have an island.", "Change the kitchen floor to oak."),
        ("The launch is on 3 June.", "The launch party is on 5 June."),
        ("The March invoice is 300 euros.", "The April invoice is 450 euros."),
        ("Ann must sign the contract.", "Bob must sign the contract."),
        ("The header is 80 pixels high.", "The footer is 60 pixels high."),
        ("Our cat Momo takes 2 pills.", "Our dog Rex takes 3 pills."),
        ("Bed 7 holds carrots sown on 3 May.", "Bed 111 holds carrots sown on 9 May."),
        ("Bus 12 leaves the station every 10 minutes.", "Bus 14 leaves it every 20 minutes."),
        ("Version 2 drops support for Python 3.8.", "Version 3 drops support for Python 3.9."),
        ("In room 4 we put 20 chairs.", "In room 5 we put 30 chairs."),
        ("On Monday the shop opens at 9.", "On Sunday the shop opens at 11."),
        ("We pay Anna 30 euros per hour.", "We pay Boris 25 euros per hour."),
        ("The launch party is on 5 June.", "Actually, the launch is on 10 June."),
        (
            "Marta pays 40 euros for the key of the wooden shed at the lake.",
            "Omar pays 50 euros for the key of the wooden shed at the lake.",
        ),
    ],
)
@pytest.mark.parametrize("embedder", [None, WordEmbedder()], ids=["keywords", "vectors"])
async def test_statements_about_two_things_both_stay(one, other, embedder):
    assert await texts(one, other, embedder=embedder) == [f"Ann: {one}", f"Ann: {other}"]


async def test_of_many_statements_of_one_pattern_each_about_its_own_thing_all_stay():
    beds = [f"Bed {n} holds {n % 7 + 2} rows of carrots." for n in range(1, 31)]
    first = await folded(*beds[:15], limit=2_000)
    new = said(*beds[15:], start=15)
    later = await ExtractiveSummarizer(None, COUNTER).afold(first.lines, new, 2_000)
    assert [line.ids for line in later.lines] == [(f"m{n}",) for n in range(30)]


async def test_what_happened_is_not_outdated_by_what_happened_later():
    kept = await texts("I ran 5 km on the beach on Monday.", "I ran 8 km on the beach on Friday.")
    assert len(kept) == 2


async def test_a_correction_without_a_subject_says_what_it_is_about():
    kept = await folded("The header of the page must be green.", "Actually, make it blue instead.")
    (line,) = kept.lines
    assert line.text == (
        "Ann: Actually, make it blue instead. [was: The header of the page must be green.]"
    )
    assert line.ids == ("m0", "m1")


async def test_what_such_a_correction_is_about_can_be_corrected_again():
    first = await folded("The page header must be green.", "Actually, make it blue instead.")
    new = said("Change the page header to red.", start=7)
    later = await ExtractiveSummarizer(None, COUNTER).afold(first.lines, new, 400)
    assert [line.text for line in later.lines] == ["Ann: Change the page header to red."]


async def test_a_statement_said_again_is_one_line_with_both_ids():
    (line,) = (await folded("The launch is on 3 June.", "The launch is on 3 June!")).lines
    assert line.ids == ("m0", "m1")


async def test_a_number_said_again_is_one_line():
    (line,) = (await folded("4711-23!", "4711-23.")).lines
    assert line.ids == ("m0", "m1")


async def test_what_is_said_every_day_cites_few_ids():
    (line,) = (await folded(*["The launch is on 3 June."] * 100)).lines
    assert line.ids == ("m0", *(f"m{n}" for n in range(93, 100)))


async def test_the_same_words_of_two_people_about_themselves_are_two_lines():
    two = [
        Message("user", "I live in Lisbon.", id=name, name=name, time=START)
        for name in ("Ann", "Bob")
    ]
    kept = await ExtractiveSummarizer(None, COUNTER).afold((), two, 100)
    assert [line.text for line in kept.lines] == [
        "Ann: I live in Lisbon.",
        "Bob: I live in Lisbon.",
    ]


# --- room ---


async def test_lines_cover_different_things():
    trains = [f"The train was late by {n} minutes in total." for n in range(10, 30)]
    kept = await texts(*trains, "The boat is moored at the old pier.", limit=60)
    assert "Ann: The boat is moored at the old pier." in kept


async def test_nothing_fits_into_nothing():
    assert (await folded("We decided to use Postgres.", limit=0)).lines == ()


async def test_without_anything_new_the_lines_stay_as_they_are(words):
    lines = (SummaryLine("Ann: the launch is on 3 June", START, ("m1",)),)
    assert (await folded(lines=lines, embedder=words)).lines == lines
    assert words.calls == 0


async def test_lines_are_cut_to_a_smaller_limit():
    first = await folded(*(f"We decided that plan {c} is for team {c}." for c in "ABCDEFGH"))
    less = await ExtractiveSummarizer(None, COUNTER).afold(first.lines, [], 40)
    assert 0 < tokens(less.lines) <= 40


@pytest.mark.parametrize("limit", [-1, 1.5, None, True])
async def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(InvalidInput, match="limit"):
        await folded("We use Redis.", limit=limit)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"embedder": "default"}, "embedder"),
        ({"every": 0}, "every"),
        ({"cache_bytes": -1}, "cache"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(options, field):
    with pytest.raises(InvalidInput, match=field):
        ExtractiveSummarizer(**options)


WORDS = st.sampled_from(
    "we use the Postgres Redis actually must 3 17 June blue it is not instead launch I 好 🙂 ? . : - [ ]"
    " ``` \n\n no yes let's change to from".split(" ")
)
TURNS = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant", "tool", "system"]),
        st.lists(WORDS, max_size=25).map(" ".join),
    ),
    max_size=12,
)


@given(TURNS, TURNS, st.integers(0, 120))
@settings(max_examples=60)
async def test_whatever_is_said_lines_fit_and_cite_what_was_at_hand(first, second, limit):
    embedder = WordEmbedder(dimension=8)
    warm, cold = ExtractiveSummarizer(embedder, COUNTER), ExtractiveSummarizer(embedder, COUNTER)
    begun = await warm.afold((), said(*first), limit)
    new = said(*second, start=len(first))
    done = await warm.afold(begun.lines, new, limit)
    assert done == await cold.afold(begun.lines, new, limit)
    assert tokens(done.lines) <= limit
    assert COUNTER.count("".join(f"{line.text}\n" for line in done.lines)) <= limit
    ids = {item for line in begun.lines for item in line.ids} | {message.id for message in new}
    assert all(line.ids and set(line.ids) <= ids for line in done.lines)
    assert [line.time for line in done.lines] == sorted(line.time for line in done.lines)
    assert not any("\n" in line.text for line in done.lines)


# --- the embedder ---


async def test_only_new_sentences_are_embedded(words):
    summarizer = ExtractiveSummarizer(words, COUNTER)
    first = await summarizer.afold((), said("We decided to use Postgres for the orders."), 200)
    words.embedded.clear()
    await summarizer.afold(first.lines, said("The boat must be blue.", start=3), 200)
    assert words.embedded == ["The boat must be blue."]


async def test_the_cache_is_bounded_in_bytes(words):
    one = 4 * words.dimension
    summarizer = ExtractiveSummarizer(words, COUNTER, cache_bytes=one)
    kept = await summarizer.afold((), said("We use Redis.", "The boat must be blue."), 200)
    words.embedded.clear()
    await summarizer.afold(kept.lines, said("Lunch is at 12.", start=4), 200)
    assert words.embedded == ["We use Redis.", "Lunch is at 12."]


async def test_a_closed_summarizer_has_forgotten_its_vectors(words):
    summarizer = ExtractiveSummarizer(words, COUNTER)
    kept = await summarizer.afold((), said("We decided to use Redis."), 200)
    await summarizer.aclose()
    words.embedded.clear()
    await summarizer.afold(kept.lines, said("Lunch is at 12.", start=4), 200)
    assert words.embedded == ["We decided to use Redis.", "Lunch is at 12."]


async def test_an_embedder_that_works_leaves_nothing_degraded(words):
    assert (await folded("We decided to use Redis.", embedder=words)).degraded == ()


async def test_without_an_embedder_keywords_tell_and_it_is_said():
    kept = await folded("We decided to use Redis.")
    assert kept.degraded == ()


async def test_an_embedder_that_fails_leaves_keywords_and_a_reason(words):
    words.fail = True
    kept = await folded("We decided to use Redis.", embedder=words)
    assert [line.text for line in kept.lines] == ["Ann: We decided to use Redis."]
    assert "told to fail" in kept.degraded[0]


@pytest.mark.parametrize(
    "rows",
    [
        lambda made: made[:-1],
        lambda made: [row * np.nan for row in made],
        lambda made: [row[:, :5] for row in made],
        lambda _: None,
    ],
    ids=["too few", "NaN", "too short", "nothing"],
)
async def test_vectors_that_cannot_be_used_leave_keywords(words, monkeypatch, rows):
    whole = words.aembed_documents

    async def broken(texts):
        return rows(await whole(texts))

    monkeypatch.setattr(words, "aembed_documents", broken)
    kept = await folded("We decided to use Redis.", "The boat must be blue.", embedder=words)
    assert len(kept.lines) == 2
    assert kept.degraded[0].startswith("summary by keywords alone: ")


# --- a long talk ---

SUBJECTS = [
    ("save button", "blue", "green"),
    ("launch", "3 June", "17 June"),
    ("kitchen budget", "40,000 euros", "55,000 euros"),
    ("order database", "SQLite", "Postgres"),
    ("login timeout", "15 minutes", "45 minutes"),
    ("guest list", "30 people", "42 people"),
    ("cache", "Memcached", "Valkey"),
    ("invoice export", "CSV", "Parquet"),
    ("team lunch", "Friday", "Wednesday"),
    ("footer", "grey", "white"),
    ("search index", "Lucene", "Tantivy"),
    ("wedding cake", "lemon", "hazelnut"),
    ("message queue", "RabbitMQ", "NATS"),
    ("error page", "orange", "purple"),
    ("reading list", "8 books", "12 books"),
    ("garden fence", "cedar", "larch"),
    ("product name", "Kestrel", "Merlin"),
    ("discount", "10 percent", "15 percent"),
]
DECIDE = [
    "The {s} must be {v}.",
    "Let's make the {s} {v}.",
    "I want the {s} to be {v}.",
    "We decided: the {s} is {v}.",
    "As for the {s}, we're going with {v}.",
    "My choice for the {s} is {v}.",
]
CORRECT = [
    "Actually, make the {s} {w} instead.",
    "Change the {s} to {w}, please.",
    "The {s} should no longer be {v} but {w}.",
    "I changed my mind about the {s}: it should be {w}.",
    "Sorry, the {s} must be {w}, not {v}.",
    "About the {s}, let's switch to {w}.",
]
ANN = [
    "How do I centre a box in a page?",
    "I met {p} at the station this morning.",
    "The weather was awful, {n} degrees and rain.",
    "Thanks, that looks good!",
    "{p} told me a story about {n} sheep.",
    "My train was {n} minutes late today.",
    "Why does the loop stop after {n} rounds?",
]
BOT = [
    "A box can be centred in several ways, and the simplest is usually a flexible container.",
    "It reports around {n} milliseconds for the first call.",
    "For example, {p} wrote an article about this pattern in 2019.",
    "Let me know if you want a longer explanation.",
    "The loop stops because the condition becomes false.",
    "```python\nprint(area({n}, 4))\n```",
]


def talk(turns, seed):
    """(messages, facts): decisions planted among small talk, every second one corrected later."""
    pick = random.Random(seed)
    plan, facts = {}, []
    for number, (subject, value, other) in enumerate(SUBJECTS):
        at = pick.randrange(turns // 2)
        plan.setdefault(at, []).append(pick.choice(DECIDE).format(s=subject, v=value))
        if number % 2:
            later = pick.randrange(at + 1, turns)
            told = pick.choice(CORRECT).format(s=subject, v=value, w=other)
            plan.setdefault(later, []).append(told)
        facts.append((subject, value, other if number % 2 else None))
    messages = []
    for at in range(turns):
        small = [pick.choice(ANN), *(pick.choice(BOT) for _ in range(3))]
        small = [t.format(p=pick.choice(["Tom", "Irene"]), n=pick.randrange(60)) for t in small]
        ann = " ".join([small[0], *plan.get(at, [])])
        time = START + timedelta(minutes=at)
        messages.append(Message("user", ann, id=f"u{at}", name="Ann", time=time))
        messages.append(Message("assistant", "\n".join(small[1:]), id=f"a{at}", time=time))
    return messages, facts


async def test_after_1000_turns_decisions_are_there_and_outdated_ones_are_not():
    messages, facts = talk(1000, seed=3)
    summarizer = ExtractiveSummarizer(None, COUNTER)
    lines = ()
    for start in range(0, len(messages), 40):
        lines = (await summarizer.afold(lines, messages[start : start + 40], 1200)).lines
    kept = [line.text for line in lines]
    present = [any(s in t and (w or v) in t for t in kept) for s, v, w in facts]
    stale = [any(s in t and v in t and w not in t for t in kept) for s, v, w in facts if w]
    assert sum(present) >= 0.95 * len(facts)
    assert sum(stale) <= 0.12 * len(stale)
