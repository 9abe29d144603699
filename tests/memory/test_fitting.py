"""One whole request made to fit its tokens: what stays, what goes, and in which order."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_memory_plugins import Message
from rag_memory_plugins.errors import BudgetTooSmall, InvalidInput
from rag_memory_plugins.memory.fitting import Fitted, fitted
from rag_memory_plugins.memory.units import SHORTENED
from rag_memory_plugins.tokens import make_counter
from rag_memory_plugins.types import ToolCall

WORDS = make_counter("words")
LONG = "the harbour crane is green and the boat was old " * 30


def said(role: str, text: str) -> Message:
    return Message(role, text)


def called(*ids: str, arguments: str = "{}") -> Message:
    calls = tuple(ToolCall(call_id, "look", arguments) for call_id in ids)
    return Message("assistant", "", tool_calls=calls)


def result(call_id: str, text: str) -> Message:
    return Message("tool", text, tool_call_id=call_id)


def turn(*results: str) -> list[Message]:
    """A question and a round of one call for each of `results`."""
    messages = [said("user", "which crane?")]
    for at, text in enumerate(results):
        messages += [called(f"c{at}"), result(f"c{at}", text)]
    return messages


def tokens(messages: list[Message]) -> int:
    return WORDS.count_messages(messages)


def kept(made: Fitted) -> list[str]:
    return [message.content for message in made.messages]


HISTORY = [
    said("system", "be brief"),
    said("user", "hello there"),
    said("assistant", "good day to you"),
    said("user", "it rains"),
    said("assistant", "so it does"),
]


def test_a_request_that_fits_comes_back_as_it_is() -> None:
    messages = [*HISTORY, *turn("green")]
    made = fitted(messages, tokens(messages), WORDS)
    assert all(mine is theirs for mine, theirs in zip(made.messages, messages, strict=True))
    assert (made.tokens, made.dropped, made.shortened) == (tokens(messages), (), ())


def test_the_oldest_of_the_history_goes_first() -> None:
    messages = [*HISTORY, *turn("green")]
    made = fitted(messages, tokens(messages) - 1, WORDS)
    assert (made.dropped, made.shortened) == ((1, 2), ())


def test_history_begins_with_a_user_message_after_a_cut() -> None:
    messages = [*HISTORY, said("user", "and now?")]
    # Room for the assistant's "good day to you" without the user's "hello there" before it.
    made = fitted(messages, tokens(messages) - tokens(messages[1:2]) + 3, WORDS)
    assert made.dropped == (1, 2)


def test_history_goes_before_a_result_of_the_turn_is_shortened() -> None:
    messages = [*HISTORY, *turn(LONG)]
    made = fitted(messages, tokens(messages) - 12, WORDS)
    assert (made.dropped, made.shortened) == ((1, 2), ())
    made = fitted(messages, tokens(messages) - tokens(HISTORY) - 1, WORDS)
    assert (made.dropped, made.shortened) == ((1, 2, 3, 4), (7,))


def test_the_oldest_result_is_shortened_first_and_the_latest_last() -> None:
    messages = turn(LONG, LONG, LONG)
    whole = tokens(messages)
    by_room = {}
    for cut in (100, 400, 800, 1000):
        by_room[cut] = fitted(messages, whole - cut, WORDS).shortened
    assert by_room == {100: (2,), 400: (2, 4), 800: (2, 4, 6), 1000: (2, 4, 6)}


def test_a_shortened_result_says_so_and_how_long_it_was() -> None:
    messages = turn(LONG)
    made = fitted(messages, 200, WORDS)
    short = made.messages[-1]
    assert "[… shortened" in short.content
    assert short.metadata[SHORTENED] == WORDS.count(LONG)
    assert short.content.startswith("the harbour crane")
    assert (made.degraded, made.tokens <= 200) == (("results of tools shortened: 1",), True)


def test_results_of_one_round_are_shortened_to_one_length() -> None:
    messages = [said("user", "?"), called("a", "b", "c")]
    messages += [result("a", LONG), result("b", "green"), result("c", LONG)]
    made = fitted(messages, 300, WORDS)
    first, short, last = (WORDS.count(message.content) for message in made.messages[2:])
    assert (made.shortened, short) == ((2, 4), WORDS.count("green"))
    assert abs(first - last) <= 2
    assert first > 100


def test_rounds_that_cannot_be_shortened_enough_go_oldest_first() -> None:
    messages = turn(*["it is green " * 4] * 20)
    made = fitted(messages, tokens(messages) // 2, WORDS)
    places = list(made.places)
    assert places == [0, *range(places[1], 41)]
    assert places[1] % 2 == 1  # a call, with its result behind it
    assert made.degraded[-1] == f"rounds of tools left out: {(places[1] - 1) // 2}"


def test_the_latest_round_gets_what_dropped_rounds_leave() -> None:
    messages = turn(*[LONG] * 40)
    made = fitted(messages, 400, WORDS)
    sizes = [WORDS.count(message.content) for message in made.messages if message.role == "tool"]
    assert len(sizes) > 2
    assert sizes[-1] >= 90
    assert all(size <= 40 for size in sizes[:-1])


def test_the_latest_round_goes_only_when_its_call_alone_is_too_long() -> None:
    messages = [said("user", "?"), called("a", arguments=LONG), result("a", LONG)]
    assert fitted(messages, tokens(messages[:2]) + 40, WORDS).places == (0, 1, 2)
    made = fitted(messages, tokens(messages[:2]), WORDS)
    assert (made.places, made.degraded) == ((0,), ("rounds of tools left out: 1",))


def test_system_messages_stay_where_they_are() -> None:
    messages = [*HISTORY, *turn(LONG, LONG), said("system", "answer now")]
    made = fitted(messages, 60, WORDS)
    assert (kept(made)[0], kept(made)[-1]) == ("be brief", "answer now")


def test_what_must_stay_and_does_not_fit_is_refused_with_the_numbers() -> None:
    messages = [said("system", "be brief"), said("user", "one two three four five")]
    needed = tokens(messages)
    with pytest.raises(BudgetTooSmall, match=rf"got {needed - 1}; .* take {needed} tokens"):
        fitted([*HISTORY, messages[1]], needed - 1, WORDS)


def test_a_user_message_may_be_the_result_of_a_tool() -> None:
    messages = [
        said("user", "which crane?"),
        said("assistant", "Action: look"),
        said("user", f"Observation: {LONG}"),
    ]
    made = fitted(messages, 100, WORDS, question=0)
    assert (made.places, made.shortened) == ((0, 1, 2), (2,))
    with pytest.raises(BudgetTooSmall):
        fitted(messages, 100, WORDS)


def test_a_question_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="question"):
        fitted([said("user", LONG)], 100, WORDS, question=1)


def test_a_result_far_from_its_call_stands_or_falls_with_it() -> None:
    messages = [
        called("old"),
        said("user", LONG),
        said("assistant", LONG),
        said("user", "?"),
        result("old", "green"),
    ]
    made = fitted(messages, tokens([messages[0], *messages[3:]]), WORDS)
    assert made.places == (0, 3, 4)


def test_a_result_without_a_call_goes_with_the_answer_before_it() -> None:
    messages = [said("user", LONG), said("assistant", "hm"), result("x", "a"), said("user", "?")]
    assert fitted(messages, 40, WORDS).places == (3,)


def test_a_request_without_a_user_message_keeps_its_latest_round() -> None:
    messages = [called("a"), result("a", LONG), called("b"), result("b", LONG)]
    made = fitted(messages, 60, WORDS)
    assert made.places[-2:] == (2, 3)


def test_a_counter_by_which_messages_cost_more_together_is_kept_to() -> None:
    class Dear:
        """A request costs a fifth more than its messages."""

        name, exact = "dear", False
        count = staticmethod(WORDS.count)
        count_batch = staticmethod(WORDS.count_batch)

        def count_messages(self, messages: list[Message]) -> int:
            tokens = WORDS.count_messages(messages)
            return tokens if len(messages) == 1 else tokens * 6 // 5

    made = fitted([*HISTORY, *turn(LONG, LONG)], 300, Dear())
    assert 150 < Dear().count_messages(made.messages) <= 300


@st.composite
def requests(draw: st.DrawFn) -> list[Message]:
    texts = st.integers(0, 60).map(lambda size: " ".join(["crane"] * size))
    messages: list[Message] = []
    for number in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["system", "user", "assistant", "round", "round"]))
        if kind != "round":
            messages.append(said(kind, draw(texts)))
            continue
        ids = [f"c{number}-{at}" for at in range(draw(st.integers(1, 3)))]
        messages.append(called(*ids, arguments=draw(st.sampled_from(["{}", '{"of": "a crane"}']))))
        messages += [result(call_id, draw(texts)) for call_id in ids]
    return messages


def wholes(messages: list[Message]) -> set[tuple[str, ...]]:
    """(call, its results) of every call."""
    results = [m.tool_call_id for m in messages if m.role == "tool"]
    calls = [call.id for m in messages for call in m.tool_calls]
    return {(call, *(r for r in results if r == call)) for call in {*calls, *results}}


@given(requests(), st.integers(1, 400), st.sampled_from(["words", "cl100k_base", "upper"]))
def test_whatever_the_request_the_room_is_kept_and_nothing_is_parted(
    messages: list[Message], room: int, name: str
) -> None:
    counter = make_counter(name)
    try:
        made = fitted(messages, room, counter)
    except BudgetTooSmall:
        asked = [m for m in messages if m.role == "user"][-1:]
        must = [m for m in messages if m.role == "system" or m in asked]
        assert counter.count_messages(must) > room
        return
    assert counter.count_messages(made.messages) == made.tokens <= room
    assert wholes(list(made.messages)) <= wholes(messages)
    assert sorted([*made.places, *made.dropped]) == list(range(len(messages)))
    assert list(made.places) == sorted(made.places)
    for at, message in zip(made.places, made.messages, strict=True):
        assert (message is messages[at]) == (at not in made.shortened)
        assert message.tool_call_id == messages[at].tool_call_id
    assert fitted(messages, room, counter) == made


@given(requests(), st.integers(1, 400))
def test_whatever_the_request_history_is_not_begun_in_the_middle(
    messages: list[Message], room: int
) -> None:
    try:
        made = fitted(messages, room, WORDS)
    except BudgetTooSmall:
        return
    asked = [at for at, message in enumerate(messages) if message.role == "user"]
    history = [at for at in made.places if asked and at < asked[-1]]
    spoken = [messages[at].role for at in history if messages[at].role != "system"]
    if any(at < asked[-1] for at in made.dropped if asked) and spoken:
        assert spoken[0] == "user"


def test_two_hundred_messages_take_a_few_milliseconds() -> None:
    messages = [*HISTORY * 4, *turn(*[LONG] * 90)]
    fitted(messages, 4000, WORDS)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        fitted(messages, 4000, WORDS)
        times.append(time.perf_counter() - start)
    assert (len(messages), min(times) < 0.05) == (201, True)
