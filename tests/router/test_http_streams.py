"""A router's streams through real HTTP: the commit point, and what breaks off behind it."""

from __future__ import annotations

import asyncio

import pytest

from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    ProviderTimeout,
    StreamInterrupted,
)
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    OPENROUTER_COMMENT,
    PING_COMMENT,
    PING_EVENT,
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    Slow,
    Stall,
    half_tool_call,
    hang,
    unfinished,
)
from rag_memory_plugins.types import ToolCall
from tests.router.faulty import (
    CLOUDS,
    PRESETS,
    PRICE,
    ask,
    asked,
    nothing_held,
    outcomes,
    says,
    serving,
    two,
)

pytest.importorskip("openai")

EVERY = pytest.mark.parametrize("preset", PRESETS)
OVER_OPENAI = pytest.mark.parametrize("preset", CLOUDS)
ALIVE = (PING_COMMENT, OPENROUTER_COMMENT, PING_EVENT)
SHORT = Timeouts(first=0.1)
SILENT = Timeouts(between=0.05)


@pytest.fixture(scope="module")
def server():
    with serving() as each:
        yield each


@pytest.fixture(autouse=True)
def _afresh(server):
    yield
    server._scripts.clear()
    server._requests.clear()


def text(pieces):
    return "".join(piece.text for piece in pieces)


BEFORE = {
    "closed": Cut("role"),
    "reset": Cut("role", reset=True),
    "error event": ErrorEvent("role", code=503),
    "garbage": Garbage("role"),
    "an end": Answer("", finish=None, done=False),
    "silence": Stall("role"),
    "nothing at all": hang(),
    "503": refusals.overloaded(),
}


@EVERY
@pytest.mark.parametrize("fault", BEFORE)
def test_before_the_first_content_another_takes_over(make, server, ledger, preset, fault):
    says(server, "a", BEFORE[fault])
    router = two(make, server, preset, a_timeouts=SHORT, ledger=ledger)
    assert text(router.stream(ask())) == "Hello there."
    assert outcomes(ledger) == [("a", "failed"), ("b", "ok")]
    assert ledger.entries[0].output_tokens == 0
    nothing_held(router)


@OVER_OPENAI
@pytest.mark.parametrize("sign", ALIVE, ids=["ping", "openrouter", "event"])
def test_a_sign_of_life_is_no_content(make, server, preset, sign):
    says(server, "a", Cut("role", reply=Answer(keepalives=(sign, sign))))
    router = two(make, server, preset)
    assert text(router.stream(ask())) == "Hello there."
    assert asked(server) == ["a", "b"]


CONTENT = {
    "text": Answer(("Once", " upon", " a", " time")),
    "reasoning": Answer("So", reasoning=("Let", " me", " think")),
    "tool": Answer(tool_calls=(ToolCall("1", "weather", '{"city": "Lisbon"}'),)),
}
AFTER = {
    "closed": lambda reply: Cut(1, reply=reply),
    "reset": lambda reply: Cut(1, reset=True, reply=reply),
    "error event": lambda reply: ErrorEvent(1, reply=reply),
    "garbage": lambda reply: Garbage(1, reply=reply),
    "silence": lambda reply: Stall(1, reply=reply),
    "silence with pings": lambda reply: Stall(1, reply=reply, ping_seconds=0.01),
}


@EVERY
@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("fault", AFTER)
def test_after_the_first_content_nobody_takes_over(make, server, ledger, preset, content, fault):
    says(server, "a", AFTER[fault](CONTENT[content]))
    router = two(make, server, preset, a_timeouts=SILENT, ledger=ledger)
    came = []
    with pytest.raises(StreamInterrupted) as caught:
        came.extend(router.stream(ask()))
    seen = [piece for piece in came if piece.has_content]
    assert len(seen) == 1
    assert caught.value.text == ("Once" if content == "text" else "")
    assert asked(server) == ["a"]
    assert outcomes(ledger) == [("a", "interrupted")]
    nothing_held(router)


@OVER_OPENAI
@pytest.mark.parametrize("form", ["plain", "openrouter", "vllm"])
def test_an_error_event_of_any_form_ends_the_stream(make, server, preset, form):
    says(server, "a", ErrorEvent(2, form=form))
    with pytest.raises(StreamInterrupted, match="disconnected unexpectedly"):
        list(two(make, server, preset).stream(ask()))


@EVERY
def test_1797_a_stream_that_ends_in_good_order_without_an_end_is_interrupted(make, server, preset):
    says(server, "a", unfinished("Hel"))
    with pytest.raises(StreamInterrupted, match="ended without") as caught:
        list(two(make, server, preset).stream(ask()))
    assert caught.value.text == "Hel"


@EVERY
def test_an_interruption_carries_text_tokens_and_cost(make, server, ledger, preset):
    says(server, "a", Cut(3, reply=Answer(("Once", " upon", " a", " time"))))
    router = two(make, server, preset, ledger=ledger)
    with pytest.raises(StreamInterrupted) as caught:
        list(router.stream(ask()))
    error, (row,) = caught.value, ledger.entries
    assert (error.text, error.model) == ("Once upon a", "a")
    assert (error.output_tokens, row.output_tokens, row.exact) == (3, 3, False)
    assert error.input_tokens == row.input_tokens > 0
    cost = (error.input_tokens * PRICE.input + 3 * PRICE.output) / 1e6
    assert error.cost == pytest.approx(cost)
    assert row.cost == round(cost * 1e9)
    assert error.__cause__ is not None


@EVERY
def test_a_stall_says_which_time_out_it_was(make, server, preset):
    says(server, "a", Stall(1))
    with pytest.raises(StreamInterrupted) as caught:
        list(two(make, server, preset, a_timeouts=Timeouts(between=0.05)).stream(ask()))
    assert isinstance(caught.value.__cause__, ProviderTimeout)
    assert caught.value.__cause__.stage == "between"
    assert server.chats[0].closed_by_client.wait(5)


@OVER_OPENAI
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "cut off"])
def test_half_a_tool_call_is_an_interruption(make, server, ledger, preset, finished):
    says(server, "a", half_tool_call(finished=finished))
    with pytest.raises(StreamInterrupted):
        list(two(make, server, preset, ledger=ledger).stream(ask()))
    assert outcomes(ledger) == [("a", "interrupted")]


@EVERY
def test_what_no_other_does_better_is_raised_before_the_first_piece(make, server, preset):
    says(server, "a", refusals.bad_request())
    with pytest.raises(BadRequest):
        list(two(make, server, preset).stream(ask()))
    assert asked(server) == ["a"]


@EVERY
def test_all_that_fail_are_named(make, server, preset):
    for name in "ab":
        says(server, name, Cut("role"))
    with pytest.raises(AllModelsFailed) as caught:
        list(two(make, server, preset, patience=0.0).stream(ask()))
    assert [error.model for error in caught.value.errors] == ["a", "b"]


@EVERY
async def test_pieces_come_as_they_are_made(make, server, ledger, preset):
    says(server, "a", Slow((1, 2), Answer(("one", " two", " three"))))
    router = two(make, server, preset, ledger=ledger)
    stream = router.astream(ask())
    seen = []
    while len(seen) < 3:
        piece = await asyncio.wait_for(anext(stream), 5)
        if piece.text:
            seen.append(piece.text)
            (request,) = server.chats
            assert not request.finished.is_set() or len(seen) == 3
            server.release()
    assert [piece async for piece in stream if piece.text] == []
    assert seen == ["one", " two", " three"]
    (row,) = ledger.entries
    assert (row.outcome, row.input_tokens, row.output_tokens, row.exact) == ("ok", 12, 3, True)
    assert 0 < row.first_seconds <= row.seconds


@EVERY
def test_three_that_break_off_open_the_breaker(make, server, preset):
    says(server, "a", *[Cut(1)] * 3)
    router = two(make, server, preset)
    for _ in range(3):
        with pytest.raises(StreamInterrupted):
            list(router.stream(ask()))
    assert text(router.stream(ask())) == "Hello there."
    assert asked(server) == ["a", "a", "a", "b"]
