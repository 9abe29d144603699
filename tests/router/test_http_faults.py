"""A router through real HTTP: which faults move on to the next model, and which do not."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone

import pytest

from rag_memory_plugins.errors import (
    AllModelsFailed,
    BadRequest,
    ContentFiltered,
    ContextOverflow,
    ProviderAuth,
)
from rag_memory_plugins.router.models import Timeouts
from rag_memory_plugins.testing import refusals
from rag_memory_plugins.testing.fault_replies import (
    Answer,
    Cut,
    ErrorEvent,
    Garbage,
    NoChoices,
    Raw,
    Stall,
    half_tool_call,
    hang,
    html_page,
    unfinished,
)
from tests.router.faulty import (
    CLOUDS,
    PRESETS,
    ask,
    asked,
    entry,
    never_accepted,
    nobody_there,
    nothing_held,
    outcomes,
    says,
    serving,
    two,
)

pytest.importorskip("openai")

EVERY = pytest.mark.parametrize("preset", PRESETS)
OVER_OPENAI = pytest.mark.parametrize("preset", CLOUDS)


@pytest.fixture(scope="module")
def server():
    with serving("a", "b", "c") as each:
        yield each


@pytest.fixture(autouse=True)
def _afresh(server):
    yield
    server._scripts.clear()
    server._requests.clear()


PASSING = {
    "429": refusals.rate_limited(),
    "500": refusals.server_error(),
    "502": refusals.server_error(502),
    "503": refusals.overloaded(),
    "504": refusals.server_error(504),
    "529": refusals.overloaded(529),
    "402": refusals.out_of_credit(),
    "404": refusals.model_missing(),
    "408": Raw(408, b"too slow"),
    "out of memory": refusals.out_of_memory(),
    "closed unanswered": Cut("request"),
    "reset unanswered": Cut("request", reset=True),
    "closed after the headers": Cut("headers"),
    "reset after the headers": Cut("headers", reset=True),
    "closed after the role": Cut("role"),
    "an error event": ErrorEvent("headers", code=503),
    "garbage": Garbage("headers"),
    "nothing": NoChoices(),
    "a page for people": html_page(),
}


@EVERY
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_moves_on_and_is_written_down(make, server, ledger, preset, fault):
    if (preset, fault) == ("ollama", "nothing"):
        pytest.skip("its last line alone is an answer without a word")
    says(server, "a", PASSING[fault])
    router = two(make, server, preset, ledger=ledger)
    request = ask()
    assert router.answer(request).message.content == "Hello there."
    assert asked(server) == ["a", "b"]
    assert outcomes(ledger) == [("a", "failed"), ("b", "ok")]
    assert [tried.outcome for tried in router.explain(request.id).attempts] == ["failed", "ok"]
    nothing_held(router)


@EVERY
@pytest.mark.parametrize(
    "cut",
    [Cut(1), Cut(2, reset=True), ErrorEvent(1), Garbage(1), unfinished("Hello")],
    ids=["closed", "reset", "error event", "garbage", "no end"],
)
def test_an_answer_that_nobody_has_seen_is_asked_of_another_though_half_had_come(
    make, server, ledger, preset, cut
):
    says(server, "a", cut)
    assert two(make, server, preset, ledger=ledger).answer(ask()).model == "b"
    assert outcomes(ledger) == [("a", "failed"), ("b", "ok")]
    assert ledger.entries[0].output_tokens > 0  # it came, so it is paid for


@EVERY
def test_half_a_tool_call_is_rejected_and_the_model_stays_well(make, server, ledger, preset):
    if preset == "ollama":
        pytest.skip("arguments are an object there, so half of one is bad JSON")
    says(server, "a", half_tool_call(finished=True), Answer("a"))
    router = two(make, server, preset, ledger=ledger)
    assert router.answer(ask()).model == "b"
    assert outcomes(ledger) == [("a", "rejected"), ("b", "ok")]
    assert router.answer(ask()).model == "a"


STOPS = {
    "401": (refusals.unauthorized(), ProviderAuth),
    "403": (refusals.forbidden(), ProviderAuth),
    "400": (refusals.bad_request(), BadRequest),
    "filtered": (refusals.content_filtered(), ContentFiltered),
    "flagged": (refusals.content_filtered(status=403), ContentFiltered),
}


@EVERY
@pytest.mark.parametrize("fault", STOPS)
def test_what_another_cannot_do_better_is_raised_and_opens_no_breaker(
    make, server, ledger, preset, fault
):
    refusal, error = STOPS[fault]
    says(server, "a", *[refusal] * 4, Answer("well"))
    router = two(make, server, preset, ledger=ledger)
    for _ in range(4):
        with pytest.raises(error):
            router.answer(ask())
    assert outcomes(ledger) == [("a", "failed")] * 4
    assert router.answer(ask()).model == "a"


@OVER_OPENAI
def test_an_answer_that_the_filter_stopped_at_once_is_not_asked_of_another(make, server, preset):
    says(server, "a", Answer("", finish="content_filter"))
    with pytest.raises(ContentFiltered):
        two(make, server, preset).answer(ask())
    assert asked(server) == ["a"]


@OVER_OPENAI
def test_an_overflow_moves_on_to_a_larger_window_alone(make, server, ledger, preset):
    says(server, "a", refusals.context_exceeded())
    windows = {"a": 8_192, "b": 8_192, "c": 32_000}
    models = [entry(server, preset, name, window=size) for name, size in windows.items()]
    router = make(models, ledger=ledger)
    assert router.answer(ask()).model == "c"
    assert asked(server) == ["a", "c"]


@OVER_OPENAI
def test_an_overflow_of_the_largest_window_is_raised(make, server, preset):
    says(server, "b", refusals.context_exceeded())
    models = [entry(server, preset, name, window=8_192) for name in "ba"]
    with pytest.raises(ContextOverflow):
        make(models).answer(ask())
    assert asked(server) == ["b"]


@OVER_OPENAI
def test_4167_a_request_over_the_limit_of_a_minute_is_not_sent_again(make, server, preset):
    says(server, "a", refusals.too_large())
    models = [entry(server, preset, "a", window=8_192), entry(server, preset, "b", window=32_000)]
    assert make(models).answer(ask()).model == "b"
    assert asked(server) == ["a", "b"]


TIMEOUTS = {
    "first": (hang(), Timeouts(first=0.5), "no first piece|nothing"),
    "first, after the headers": (Stall("headers"), Timeouts(first=0.5), "no first piece"),
    "first, with pings": (Stall("role", ping_seconds=0.01), Timeouts(first=0.5), "no first piece"),
    "between": (Stall(1), Timeouts(between=0.05), "no further piece"),
    "total": (Stall(1, ping_seconds=0.01), Timeouts(total=0.8), "no whole answer|no end"),
}


@EVERY
@pytest.mark.parametrize("kind", TIMEOUTS)
def test_each_time_out_moves_on_and_closes_the_connection(make, server, ledger, preset, kind):
    stall, times, said = TIMEOUTS[kind]
    says(server, "a", stall)
    router = two(make, server, preset, a_timeouts=times, ledger=ledger)
    request = ask()
    assert router.answer(request).model == "b"
    assert server.chats[0].closed_by_client.wait(5)
    assert outcomes(ledger) == [("a", "failed"), ("b", "ok")]
    assert ledger.entries[0].error == "ProviderTimeout"
    assert re.search(said, router.explain(request.id).attempts[0].error)
    nothing_held(router)


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse where Linux lets one wait")
@EVERY
def test_a_connection_that_is_never_made_moves_on(make, server, ledger, preset):
    with never_accepted() as url:
        away = _at(url, preset, timeouts=Timeouts(connect=0.05))
        router = make([away, entry(server, preset, "b")], ledger=ledger)
        assert router.answer(ask()).model == "b"
    if preset == "ollama":
        assert outcomes(ledger) == [("b", "ok")]  # its health was asked before
    else:
        assert [each.error for each in ledger.entries] == ["ProviderTimeout", ""]


@EVERY
def test_a_refused_connection_moves_on_and_is_left_alone(make, server, ledger, preset):
    with nobody_there() as url:
        router = make([_at(url, preset), entry(server, preset, "b")], ledger=ledger)
        for _ in range(3):
            assert router.answer(ask()).model == "b"
    failed = [] if preset == "ollama" else [("a", "failed")]
    assert outcomes(ledger) == failed + [("b", "ok")] * 3


def _at(url, preset, **values):
    class Elsewhere:
        openai_url = f"{url}/v1"

    Elsewhere.url = url
    return entry(Elsewhere, preset, "a", **values)


LIMITED = {
    "retry-after-ms": (refusals.rate_limited(retry_after_ms=2_500, retry_after=9), 2.5),
    "seconds": (refusals.rate_limited(retry_after=7), 7.0),
    "a fraction": (refusals.rate_limited(retry_after="2.5"), 2.5),
    "requests": (refusals.rate_limited(reset_requests="6m0s"), 360.0),
    "tokens": (refusals.rate_limited(reset_tokens="7.66s"), 7.66),
    "the longer": (refusals.rate_limited(reset_requests="1s", reset_tokens="1m2.5s"), 62.5),
    "text": (refusals.rate_limited(try_again_in="5.289s"), 5.289),
    "nothing": (refusals.rate_limited(), 60.0),
    "nonsense": (refusals.rate_limited(retry_after="soon"), 60.0),
}


@EVERY
@pytest.mark.parametrize("form", LIMITED)
def test_a_limited_model_is_left_alone_as_long_as_it_said(make, server, time, preset, form):
    refusal, seconds = LIMITED[form]
    says(server, "a", refusal)
    router = two(make, server, preset, clock=time, now=time)
    router.models[0].chat._clock = time  # what is left of a limit is told by the model's own
    assert router.answer(ask()).model == "b"
    assert _wait(router) == pytest.approx(seconds, abs=0.002)
    time.seconds += seconds - 0.01
    assert _wait(router) == pytest.approx(0.01, abs=0.002)
    time.seconds += 0.02
    assert router.answer(ask()).model == "a"


@EVERY
def test_a_limited_model_is_left_alone_until_the_date_it_said(make, server, time, preset):
    when = datetime.now(timezone.utc) + timedelta(seconds=45)
    says(server, "a", refusals.rate_limited(retry_after=when))
    router = two(make, server, preset, clock=time, now=time)
    router.answer(ask())
    assert 35 < _wait(router) <= 45


def _wait(router):
    """How long `a` is left alone, as the next request is told."""
    request = ask()
    assert router.answer(request).model == "b"
    (skipped,) = router.explain(request.id).rounds[0].skipped
    assert skipped.model == "a"
    return skipped.wait


@EVERY
def test_40130_the_longer_of_two_cool_downs_stands(make, server, time, preset):
    says(server, "a", refusals.rate_limited(retry_after=30), Answer("x"))
    router = two(make, server, preset, clock=time, now=time)
    permit = _permit(router)
    router.answer(ask())
    router._parts.breakers.failed(permit, at_once=True, cool_down=5.0)
    assert _wait(router) == pytest.approx(30, abs=0.01)


def _permit(router):
    import asyncio

    return asyncio.run(router._parts.breakers.aallow(router.models[0].key))


@EVERY
def test_the_second_round_waits_as_long_as_the_provider_said(make, server, time, preset):
    says(server, "a", refusals.rate_limited(retry_after=12))
    says(server, "b", refusals.rate_limited(retry_after_ms=6_250))
    router = two(make, server, preset, clock=time, now=time, sleep=time.sleep)
    request = ask()
    assert router.answer(request).model == "b"
    assert time.slept == [6.25]
    assert asked(server) == ["a", "b", "b"]
    assert len(router.explain(request.id).rounds) == 2


@EVERY
def test_it_says_when_to_come_back_rather_than_wait_too_long(make, server, time, preset):
    says(server, "a", refusals.rate_limited(retry_after=40))
    says(server, "b", refusals.rate_limited(retry_after=30))
    router = two(make, server, preset, clock=time, now=time, sleep=time.sleep)
    with pytest.raises(AllModelsFailed) as caught:
        router.answer(ask())
    assert (time.slept, caught.value.retry_after) == ([], 30.0)


@OVER_OPENAI
def test_one_deadline_holds_for_all_attempts_together(make, server, ledger, time, preset):
    def later(request):
        time.seconds += 4.0
        return refusals.server_error()

    names = "abcdefgh"
    router = make(
        [entry(server, preset, name) for name in names],
        timeout=10.0, clock=time, now=time, sleep=time.sleep, ledger=ledger,
    )  # fmt: skip
    server.reply = later
    try:
        with pytest.raises(AllModelsFailed):
            router.answer(ask())
    finally:
        server.reply = Answer()
    assert asked(server) == ["a", "b", "c"]
    assert time.slept == []


@EVERY
def test_the_last_attempt_ends_with_the_deadline(make, server, preset):
    says(server, "a", refusals.server_error())
    says(server, "b", hang())
    router = two(make, server, preset)
    with pytest.raises(AllModelsFailed, match=r"no (whole answer|first piece)"):
        router.answer(ask(timeout=0.3))
    assert server.chats[-1].closed_by_client.wait(5)
    nothing_held(router)
