"""Contexts: never over budget, in order, whole tool calls, data inside a fence."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_memory_plugins import Message, Modes, Summary, SummaryLine, TokenBudget, ToolCall
from rag_memory_plugins.budget import PARTS, RESERVES
from rag_memory_plugins.config import STRATEGIES
from rag_memory_plugins.errors import BudgetTooSmall, InvalidBudget
from rag_memory_plugins.memory.context import Material, Settings, assemble
from rag_memory_plugins.memory.rendering import Fence
from rag_memory_plugins.ports import SessionView, StoredMessage
from rag_memory_plugins.results import Hit
from rag_memory_plugins.retrieval.sentences import passages
from rag_memory_plugins.retrieval.traits import index_text
from rag_memory_plugins.tokens import make_counter

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
COUNTER = make_counter("cl100k_base")
said = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300) | st.sampled_from(
    [
        "",
        "\u4f60\u597d\u4e16\u754c" * 40,
        "\U0001f600" * 50,
        "def f(x):\n    return {x: 1}\n" * 9,
        "word " * 200,
    ]
)
long = st.lists(
    st.sampled_from(
        [
            "The pier is closed on Monday. ",
            "\u6211\u4f4f\u5728\u91cc\u65af\u672c\u3002",
            "| row | 7 |\n",
            "\U0001f600 And so on!\n\n",
            "unbroken" * 30,
            "  \n",
        ]
    ),
    min_size=12,
    max_size=60,
).map("".join)
"""Of many sentences: what is recalled of these is shown by passage."""


def turns(texts, tools):
    """Stored messages in one session; after some a tool call, its two results and the answer."""
    items, said = [], 0

    def put(message, group=None):
        nonlocal said
        tokens = COUNTER.count_messages([message]) - 3
        items.append(StoredMessage(len(items) + 1, "s", message, group, tokens, said))
        said += tokens

    for number, text in enumerate(texts):
        when = START + timedelta(hours=5 * number)
        put(Message("user" if number % 2 else "assistant", text, id=f"m{number}", time=when))
        if number in tools:
            calls = tuple(ToolCall(f"c{number}-{n}", "look", '{"q": 1}') for n in range(2))
            group = len(items) + 1
            put(Message("assistant", "", id=f"a{number}", time=when, tool_calls=calls), group)
            for call in calls:
                result = text * tools[number]
                put(
                    Message("tool", result, id=f"r{call.id}", time=when, tool_call_id=call.id),
                    group,
                )
            put(Message("assistant", f"so {text[:80]}", id=f"s{number}", time=when), group)
    return items


@functools.cache
def encoding():
    """tiktoken's own encoding, from the file that llama-index-core ships."""
    found = importlib.util.find_spec("llama_index").submodule_search_locations[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(Path(found, "core", "_static", "tiktoken_cache")))
        return tiktoken.get_encoding("cl100k_base")


def recounted(messages):
    """OpenAI's rule for a chat request, counted by tiktoken itself: what a budget promises."""

    def count(text):
        return len(encoding().encode_ordinary(text))

    total = 3 if messages else 0
    for message in messages:
        total += 4 + count(message.content) + (1 + count(message.name) if message.name else 0)
        total += sum(3 + count(call.name) + count(call.arguments) for call in message.tool_calls)
    return total


@st.composite
def budgets(draw):
    """Budgets that can be kept, from far too small to ample."""
    total = draw(st.integers(1, 1200) | st.integers(1200, 6000))
    reserves = {name: draw(st.just(0) | st.integers(0, total // 4)) for name in RESERVES}
    left = total - sum(reserves.values())
    if left < 1:
        reserves, left = {}, total
    shares, most, least = {}, {}, {}
    for name in ("recent", "retrieved", "summary", "facts", "anchors"):
        share = draw(st.none() | st.just(0) | st.integers(0, left))
        shares[name] = share
        left -= share or 0
        if draw(st.booleans()):
            most[name] = (share or 0) + draw(st.integers(0, 500))
        if share and draw(st.booleans()):
            least[name] = draw(st.integers(0, share))
    return TokenBudget(total, **shares, **reserves, most=most, least=least)


def texts_of(prefix, count):
    when = START - timedelta(days=9)
    return [
        SummaryLine(f"{prefix} {n} is {n * 7}", when + timedelta(hours=9 * n), (f"m{n}",))
        for n in range(count)
    ]


@settings(
    max_examples=2000 if os.environ.get("RAG_MEMORY_LONG") == "1" else 200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
@given(
    texts=st.lists(said | long, max_size=25),
    tools=st.dictionaries(st.integers(0, 24), st.sampled_from([0, 1, 1, 9]), max_size=6),
    pins=st.sets(st.integers(0, 60), max_size=3),
    budget=budgets(),
    mode=st.sampled_from(["auto", "full", "balanced", "safe"]),
    strategy=st.sampled_from(list(STRATEGIES.values())),
    system=st.sampled_from(["", "You are kind.", "You are terse. " * 40]),
    lines=st.integers(0, 12),
    facts=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_a_context_keeps_every_promise(
    texts, tools, pins, budget, mode, strategy, system, lines, facts, order
):
    items = turns(texts, tools)
    hits = [
        Hit(
            i.message,
            i.session,
            order.uniform(-2, 2),
            {},
            seq=i.seq,
            group=i.group,
            tokens=i.tokens,
            passages=tuple(order.uniform(-1, 1) for _ in passages(index_text(i.message))),
        )
        for i in items
    ]
    order.shuffle(hits)
    size = items[-1].said + items[-1].tokens if items else 0
    view = SessionView(
        tokens=size,
        said=size,
        peak=size,
        goal=[i for i in items if i.message.role == "user"][: strategy.goal],
        pins=[items[n] for n in sorted(pins) if n < len(items)],
        recent=items[-12:],
        summary=Summary(tuple(texts_of("room", lines)), 1, 3, "test") if lines else None,
    )
    material = Material(
        view, hits, [i for i in items if i.group is not None], texts_of("fact", facts)
    )
    wanted = Settings(budget, mode, strategy, Modes(300, 900), system)
    last = items[-1].message if items else None
    asked = last is not None and last.role == "user" and budget.recent != 0
    room = budget.total - budget.completion - (0 if system else budget.system)
    room -= 0 if asked else budget.question
    must = [Message("system", system)] if system else []
    must += [last] if asked else []
    try:
        context = assemble("q", material, wanted, COUNTER, Fence("secret", "key"))
    except BudgetTooSmall:
        assert recounted(must) > room
        return
    # The budget, counted again by tiktoken.
    assert context.tokens == recounted(context.messages) <= room
    # The user's last message and the system message, whole.
    assert not asked or last in context.messages
    assert not system or (context.messages[0].role, context.messages[0].content) == (
        "system",
        system,
    )
    names = [part.name for part in context.parts]
    assert names == [name for name in ("system", *PARTS) if name in names]
    for part in context.parts:
        when = [message.time for message in part.messages]
        assert part.name == "system" or when == sorted(when)
        most = budget.most.get(part.name)
        only_last = [*part.messages] == [last]
        assert (
            most is None
            or part.name == "anchors"
            or only_last
            or part.tokens
            <= most + 3 + (recounted([last]) if asked and part.name == "recent" else 0)
        )
        # A tool group is whole or not there: call, both results, and the answer that used them.
        for group in {i.group for i in items if i.group is not None}:
            members = {i.message.id for i in items if i.group == group}
            held = members & {message.id for message in part.messages}
            assert held in (set(), members)
    # Of a long message nothing is shown but what it says, and where something is left out, a mark.
    whole = {i.message.id: "".join(i.message.content.split()) for i in items}
    for piece in context.pieces:
        if piece.included and piece.reason.endswith(" passages"):
            shown = "".join(piece.message.content.split())
            assert all(part in whole[piece.message.id] for part in shown.split("\u2026"))
            assert shown == whole[piece.message.id] or "\u2026" in shown
    # Nothing said stands in two parts.
    ids = [
        message.id
        for part in context.parts
        if part.name in ("anchors", "recent", "retrieved")
        for message in part.messages
    ]
    assert len(ids) == len(set(ids))
    # Pins and the first goal are in, or it is said that they are not.
    for item in view.pins:
        assert item.message.id in ids or context.degraded
    again = assemble("q", material, wanted, COUNTER, Fence("secret", "key"))
    assert again.text == context.text
    assert again.messages == context.messages


def test_recalled_turns_stand_under_their_dates_in_order(opened):
    memory = opened()
    old = memory.conversation("acme", "ann", "spring")
    old.add(
        [
            Message("user", "The parrot is called Kiko", name="Ann", time=START),
            Message(
                "user", "Kiko the parrot eats nuts", name="Ann", time=START + timedelta(days=2)
            ),
        ]
    )
    context = memory.conversation("acme", "ann", "summer").context("what of the parrot?", 300)
    assert re.fullmatch(
        r"<(memory-\d{9})>\nRecalled [^\n]+\n1 May 2026\nAnn: The parrot is called Kiko\n"
        r"3 May\nAnn: Kiko the parrot eats nuts\n</\1>",
        context.text,
    )
    assert context.messages[-1].role == "user"
    assert context.lanes["dense"] == "ok"


def test_pins_are_always_in_and_shortened_where_they_must_be(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add("The goal is a tracker for plants. " + "It counts leaves. " * 40, id="goal")
    ann.add([f"chatter number {n}" for n in range(300)])
    ann.pin("goal")
    context = ann.context("chatter", 800)
    assert context.parts[0].name == "anchors"
    assert "tracker for plants" in context.messages[0].content
    assert context.degraded == ()
    small = ann.context("chatter", 150)
    assert "tracker for plants" in small.messages[0].content
    assert "[… shortened, message goal]" in small.messages[0].content
    assert [reason.split(" from ")[0] for reason in small.degraded] == ["a pin shortened"]
    ann.unpin("goal")
    assert "anchors" not in [part.name for part in ann.context("chatter", 200, mode="full").parts]


def test_a_pin_that_cannot_fit_is_refused_when_it_is_pinned(opened):
    memory = opened(budget=TokenBudget(1_000, anchors=60))
    ann = memory.conversation("acme", "ann", "monday")
    ann.add("The goal is a tracker for plants", id="goal")
    ann.add("It counts leaves. " * 40, id="long")
    ann.pin("goal")
    with pytest.raises(BudgetTooSmall, match=r"pin: got 60; with it the pins take \d+ tokens"):
        ann.pin("long")
    anchors = ann.context("", mode="safe").parts[0]
    assert [message.id for message in anchors.messages] == ["goal"]


def test_a_pin_of_the_user_is_in_every_session_and_one_of_a_session_is_not(opened):
    memory = opened()
    monday = memory.conversation("acme", "ann", "monday")
    monday.add("My name is Ann", id="name")
    monday.add("Today is about plants", id="today")
    monday.pin("name", level="user")
    monday.pin("today")
    tuesday = memory.conversation("acme", "ann", "tuesday").context("", 200)
    assert [m.id for m in tuesday.parts[0].messages] == ["name"]
    assert "anchors" not in [
        p.name for p in memory.conversation("acme", "bob", "monday").context("").parts
    ]


def test_a_short_history_is_taken_whole_when_nothing_else_wants_the_room(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add([f"turn {n} about the piano" for n in range(30)])
    context = ann.context("piano", 4000)
    assert [len(part.messages) for part in context.parts] == [30]


def test_a_call_without_its_result_is_left_out_with_the_reason(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add(
        [Message("user", "hi"), Message("assistant", "", tool_calls=(ToolCall("c", "x"),), id="a")]
    )
    context = ann.context("", 500)
    assert "a" not in [m.id for m in context.messages]
    out = {piece.message.id: piece.reason for piece in context.explain() if not piece.included}
    assert out == {"a": "out: a tool call without its result"}


@pytest.mark.parametrize("budget", [0, -5, 2.5, "many", True])
def test_a_budget_that_is_none_is_refused(opened, budget):
    ann = opened().conversation("acme", "ann", "monday")
    with pytest.raises(InvalidBudget):
        ann.context("x", budget)


def test_every_value_shows_itself_in_one_line_and_in_escaped_html(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add("<script>parrot</script>")
    for value in (ann.search("parrot"), ann.search("parrot")[0], ann.context("parrot", 300)):
        assert "\n" not in repr(value)
        assert "<script>" not in value._repr_html_()
        assert "&lt;script&gt;" in value._repr_html_()


def test_what_the_user_just_said_is_in_whatever_its_length(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add([f"chatter about the piano {n}" for n in range(50)])
    ann.add("piano " * 300, id="long")
    context = ann.context("piano", 500)
    assert "long" in [m.id for m in context.messages]
    with pytest.raises(BudgetTooSmall, match="last message"):
        ann.context("piano", 200)


def test_a_blank_query_recalls_nothing(opened):
    ann = opened().conversation("acme", "ann", "monday")
    ann.add("hello")
    assert [part.name for part in ann.context("  \n", 100).parts] == ["recent"]


def test_what_fits_does_not_depend_on_the_databases_secret():
    items = turns([f"the piano stands in room {n}" for n in range(40)], {})
    hits = [Hit(i.message, i.session, -float(i.seq), {}, seq=i.seq) for i in items]
    wanted = Settings(TokenBudget(200, recent=0), "auto", STRATEGIES["chat"], Modes())
    packed = {
        tuple(
            piece.message.id
            for piece in assemble(
                "q", Material(SessionView(), hits), wanted, COUNTER, Fence(f"secret {n}", "key")
            ).pieces
            if piece.included
        )
        for n in range(20)
    }
    assert len(packed) == 1
